/* What the guests for both versions of Multiboot print in the same way. */
#include "multiboot.h"
#include "serial.h"

struct section_header {
    uint32_t name, type, flags, address, offset, size, link, info, align, entry_size;
};

struct section_header_64 {
    uint32_t name, type;
    uint64_t flags, address, offset, size;
    uint32_t link, info;
    uint64_t align, entry_size;
};

static inline void print_hex(const char *name, uint64_t value)
{
    serial_print(COM1, name);
    serial_put(COM1, ' ');
    serial_print_hex(COM1, value, value >> 32 ? 10 : 8);
}

static inline void print_text(const char *name, uint32_t address)
{
    serial_print(COM1, name);
    serial_print(COM1, " [");
    serial_print(COM1, (const char *)address);
    serial_print(COM1, "]\n");
}

static inline void print_region(uint64_t start, uint64_t length, uint32_t type)
{
    print_hex("memory", start);
    print_hex(" +", length);
    print_hex(" type", type);
    serial_put(COM1, '\n');
}

/* Prints the size of a module, how far behind a page it starts, and its first line. */
static inline void print_module(uint32_t start, uint32_t end, const char *command_line)
{
    print_hex("module of", end - start);
    print_hex(" offset", start & 4095);
    serial_print(COM1, " [");
    serial_print(COM1, command_line);
    serial_print(COM1, "] ");
    for (const char *text = (const char *)start; text < (const char *)end && *text != '\n'; text++)
        serial_put(COM1, *text);
    serial_put(COM1, '\n');
}

static inline int is_same(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

/* guest_main, which has another type in each guest. */
extern char guest_entry[] __asm__("guest_main");

/* Waits for a dot, if the command line says so. */
static inline void take_orders(const char *command_line)
{
    if (!is_same(command_line, "wait"))
        return;
    serial_print(COM1, "waiting\n");
    for (;;) {
        char order = serial_get(COM1);
        if (order == 'r')
            write_port(0xCF9, 6);
        if (order == '.')
            return;
    }
}

struct place {
    uint32_t type, address, size, link;
};

static inline struct place section(uint32_t sections, uint32_t entry_size, uint32_t index)
{
    if (entry_size == sizeof(struct section_header_64)) {
        const struct section_header_64 *header = (const struct section_header_64 *)sections + index;
        return (struct place){header->type, header->address, header->size, header->link};
    }
    const struct section_header *header = (const struct section_header *)sections + index;
    return (struct place){header->type, header->address, header->size, header->link};
}

/* Prints the address of guest_main according to the symbol table that was loaded. */
static inline void print_sections(uint32_t sections, uint32_t count, uint32_t entry_size, uint32_t names)
{
    serial_print(COM1, "section names ");
    struct place strings = section(sections, entry_size, names);
    serial_print(COM1, is_same((const char *)strings.address + 1, ".symtab") ? "found" : "not found");
    for (uint32_t i = 0; i < count; i++) {
        struct place table = section(sections, entry_size, i);
        if (table.type != 2)
            continue;
        const char *text = (const char *)section(sections, entry_size, table.link).address;
        uint32_t size = entry_size == sizeof(struct section_header_64) ? 24 : 16;
        for (uint32_t at = table.address; at < table.address + table.size; at += size) {
            const uint32_t *symbol = (const uint32_t *)at;
            uint32_t value = size == 24 ? symbol[2] : symbol[1];
            if (is_same(text + symbol[0], "guest_main"))
                serial_print(COM1, value == (uint32_t)guest_entry ? ", guest_main found" : ", wrong address");
        }
    }
    serial_put(COM1, '\n');
}

static inline uint8_t sum(const uint8_t *bytes, uint32_t length)
{
    uint8_t sum = 0;
    while (length--)
        sum += *bytes++;
    return sum;
}

/* Prints what the processor is in. */
static inline void print_state(void)
{
    uint32_t cr0, flags;
    uint16_t code, data, stack;
    struct __attribute__((packed)) {
        uint16_t limit;
        uint32_t base;
    } gdt;
    __asm__ volatile("movl %%cr0, %0" : "=r"(cr0));
    __asm__ volatile("pushfl; popl %0" : "=r"(flags));
    __asm__ volatile("movw %%cs, %0" : "=r"(code));
    __asm__ volatile("movw %%ds, %0" : "=r"(data));
    __asm__ volatile("movw %%ss, %0" : "=r"(stack));
    __asm__ volatile("sgdt %0" : "=m"(gdt));
    print_hex("cr0", cr0);
    print_hex(" if", flags & 0x200);
    print_hex(" cs", code);
    print_hex(" ds", data);
    print_hex(" ss", stack);
    print_hex(" gdt limit", gdt.limit);
    serial_put(COM1, '\n');
    /* The descriptors are there, too. */
    __asm__ volatile("movw %0, %%ds; movw %0, %%ss" : : "r"(data));
}
