/* acpi-dump: prints the ACPI tables that the start info leads to, in the format of acpidump. Result 0. */
#include "serial.h"
#include "start_info.h"

enum { RSDP_XSDT = 24, HEADER_SIZE = 36, FADT_DSDT = 140, BYTES_PER_LINE = 16 };

/* The signature of the FADT. */
enum { FACP = 0x50434146 };

static uint64_t number_at(uint64_t from, uint64_t offset)
{
    return *(const uint64_t *)(from + offset);
}

static void print_table(uint64_t table)
{
    const uint8_t *bytes = (const uint8_t *)table;
    uint32_t length = number_at(table, 4);
    for (int i = 0; i < 4; i++)
        serial_put(COM1, bytes[i]);
    serial_print(COM1, " @ ");
    serial_print_hex(COM1, table, 16);
    for (uint32_t i = 0; i < length; i++) {
        if (i % BYTES_PER_LINE == 0) {
            serial_print(COM1, "\n    ");
            for (int shift = 12; shift >= 0; shift -= 4)
                serial_put(COM1, "0123456789ABCDEF"[i >> shift & 15]);
            serial_put(COM1, ':');
        }
        serial_put(COM1, ' ');
        serial_put(COM1, "0123456789ABCDEF"[bytes[i] >> 4]);
        serial_put(COM1, "0123456789ABCDEF"[bytes[i] & 15]);
    }
    serial_print(COM1, "\n\n");
}

uint64_t guest_main(const struct start_info *info)
{
    uint64_t xsdt = number_at(info->acpi_root, RSDP_XSDT);
    print_table(xsdt);
    for (uint64_t at = HEADER_SIZE; at < (uint32_t)number_at(xsdt, 4); at += 8) {
        uint64_t table = number_at(xsdt, at);
        print_table(table);
        if (*(const uint32_t *)table == FACP)
            print_table(number_at(table, FADT_DSDT));
    }
    return 0;
}
