/* acpi: finds the ACPI tables, prints what a kernel needs of them, and powers the machine off.

   Run:   kvm acpi.elf
   See:   where the tables are, their signatures, the processors, the I/O APIC and the PM timer.
   Exit status 0: the machine is off. The debug exit status 3 if there are no tables, 5 if the machine
   is still on. */
#include "serial.h"
#include "start_info.h"

struct rsdp {
    char signature[8]; /* "RSD PTR " */
    uint8_t checksum;
    char maker[6];
    uint8_t revision;
    uint32_t rsdt;
} __attribute__((packed));

struct table {
    char signature[4];
    uint32_t length;
    uint8_t revision, checksum;
    char maker[6], name[8];
    uint32_t maker_revision, creator, creator_revision;
} __attribute__((packed));

/* Offsets in the FADT, and in the entries of the MADT. */
enum { FADT_DSDT = 40, FADT_PM1A_CONTROL = 64, FADT_PM_TIMER = 76 };
enum { MADT_ENTRIES = 44, MADT_PROCESSOR = 0, MADT_IO_APIC = 1, MADT_IO_APIC_ADDRESS = 4 };

enum { SLEEP_TYPE_SHIFT = 10, SLEEP_ENABLE = 1 << 13 };
enum { NAME_OP = 0x08, PACKAGE_OP = 0x12, BYTE_PREFIX = 0x0a };

static int same(const char *a, const char *b, int length)
{
    while (length && *a == *b)
        a++, b++, length--;
    return !length;
}

static uint32_t number_at(const void *from, uint32_t offset)
{
    return *(const uint32_t *)((const char *)from + offset);
}

/* The sum of all bytes is 0. */
static int is_sound(const void *structure, uint32_t length)
{
    uint8_t sum = 0;
    for (uint32_t i = 0; i < length; i++)
        sum += ((const uint8_t *)structure)[i];
    return !sum;
}

/* As on a PC without start info. */
static const struct rsdp *search_rsdp(void)
{
    for (uint64_t at = 0xe0000; at < 0x100000; at += 16)
        if (same((const char *)at, "RSD PTR ", 8) && is_sound((const void *)at, sizeof(struct rsdp)))
            return (const struct rsdp *)at;
    return 0;
}

static const struct table *find_table(const struct table *rsdt, const char *signature)
{
    for (uint32_t at = sizeof *rsdt; at < rsdt->length; at += 4) {
        const struct table *table = (const struct table *)(uint64_t)number_at(rsdt, at);
        if (same(table->signature, signature, 4))
            return table;
    }
    return 0;
}

static void print_tables(const struct table *rsdt)
{
    serial_print(COM1, "tables:");
    for (uint32_t at = sizeof *rsdt; at < rsdt->length; at += 4) {
        const struct table *table = (const struct table *)(uint64_t)number_at(rsdt, at);
        serial_put(COM1, ' ');
        for (int i = 0; i < 4; i++)
            serial_put(COM1, table->signature[i]);
        if (!is_sound(table, table->length))
            serial_print(COM1, " (wrong checksum)");
    }
    serial_put(COM1, '\n');
}

static void print_processors(const struct table *madt)
{
    uint64_t processors = 0, io_apic = 0;
    const uint8_t *entry = (const uint8_t *)madt + MADT_ENTRIES;
    for (; entry < (const uint8_t *)madt + madt->length; entry += entry[1]) {
        processors += entry[0] == MADT_PROCESSOR;
        if (entry[0] == MADT_IO_APIC)
            io_apic = number_at(entry, MADT_IO_APIC_ADDRESS);
    }
    serial_print(COM1, "processors: ");
    serial_print_decimal(COM1, processors);
    serial_print(COM1, "\nI/O APIC at ");
    serial_print_hex(COM1, io_apic, 8);
    serial_put(COM1, '\n');
}

static void print_timer(uint16_t port)
{
    serial_print(COM1, "PM timer at port ");
    serial_print_hex(COM1, port, 4);
    uint32_t first = read_port_dword(port);
    for (int i = 0; i < 1000000 && read_port_dword(port) == first; i++)
        ;
    serial_print(COM1, read_port_dword(port) == first ? ", which stands still\n" : ", which counts\n");
}

/* The number that powers the machine off, found without an interpreter of ACPI's language: it is the first
   element of the package \_S5. */
static int sleep_type(const struct table *dsdt)
{
    const uint8_t *end = (const uint8_t *)dsdt + dsdt->length;
    for (const uint8_t *at = (const uint8_t *)(dsdt + 1); at + 16 < end; at++) {
        if (at[0] != NAME_OP || !same((const char *)at + 1, "_S5_", 4) || at[5] != PACKAGE_OP)
            continue;
        const uint8_t *element = at + 6 + (at[6] >> 6) + 2; /* length, number of elements */
        return element[0] == BYTE_PREFIX ? element[1] : element[0];
    }
    return -1;
}

static void fail(const char *message, uint8_t status)
{
    serial_print(COM1, message);
    write_port(0xf4, status);
}

uint64_t guest_main(const struct start_info *info)
{
    const struct rsdp *rsdp = (const struct rsdp *)info->acpi_root;
    if (!rsdp)
        fail("no ACPI tables\n", 1);
    serial_print(COM1, "RSDP at ");
    serial_print_hex(COM1, (uint64_t)rsdp, 5);
    serial_print(COM1, search_rsdp() == rsdp ? ", found by search too\n" : ", named by the start info\n");

    const struct table *rsdt = (const struct table *)(uint64_t)rsdp->rsdt;
    print_tables(rsdt);
    print_processors(find_table(rsdt, "APIC"));
    const struct table *fadt = find_table(rsdt, "FACP");
    print_timer(number_at(fadt, FADT_PM_TIMER));

    int type = sleep_type((const struct table *)(uint64_t)number_at(fadt, FADT_DSDT));
    serial_print(COM1, "powering off\n");
    write_port_word(number_at(fadt, FADT_PM1A_CONTROL), type << SLEEP_TYPE_SHIFT | SLEEP_ENABLE);
    fail("the machine is still on\n", 2);
    return 0;
}
