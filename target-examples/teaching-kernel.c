/* teaching-kernel: what a small 32-bit kernel does first. A Multiboot loader brings it, its module and
   its initial file system into memory. It lists the memory it can use, handles exceptions and the
   timer's interrupts (IDT, 8259A, 8254), turns on paging, loads a relocatable module - which is an
   object file, linked here with the functions that the kernel exports - and calls it, and prints a file
   of the initial file system, a tar archive.

   Run:   kvm --initrd teaching-root.tar --module teaching-module.o=module --append "show=README.md" \
              teaching-kernel.elf
   See:   memory, three ticks, "paging is on", a line that the module prints, and the first line of
          README.md.
   The word no-paging in the command line leaves paging off: some hosts' KVM cannot run 32-bit paging
   (`kvm check` says so).
   Result 42, which the module returns. */
#include "interrupts.h"
#include "multiboot.h"
#include "serial.h"

static void print(const char *text)
{
    serial_print(COM1, text);
}

static void print_number(uint32_t value)
{
    char digits[11];
    int at = sizeof digits;
    digits[--at] = 0;
    do
        digits[--at] = '0' + value % 10;
    while (value /= 10);
    print(digits + at);
}

static void fail(const char *what)
{
    print(what);
    print("\n");
    write_port(0xf4, 1);
}

static int is_same(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

/* The text behind `name` in the command line, up to the next space; an empty one if it is not there. */
static const char *word(const char *line, const char *name)
{
    static char value[32];
    for (; *line; line++) {
        const char *at = line;
        const char *rest = name;
        while (*rest && *at == *rest)
            at++, rest++;
        if (*rest)
            continue;
        uint32_t length = 0;
        while (*at && *at != ' ' && length < sizeof value - 1)
            value[length++] = *at++;
        value[length] = 0;
        return value;
    }
    return 0;
}

/* Interrupts. */

static volatile uint32_t ticks;

__attribute__((interrupt)) static void on_tick(struct frame *frame)
{
    (void)frame;
    ticks++;
    end_of_interrupt(TIMER_LINE);
}

static void wait_for_ticks(uint32_t count)
{
    interrupts_setup();
    set_handler(FIRST_VECTOR + TIMER_LINE, on_tick);
    start_timer(100);
    unmask_line(TIMER_LINE);
    while (ticks < count)
        sleep_until_interrupt();
    write_port(PIC1 + 1, 0xFF);
    print_number(count);
    print(" ticks\n");
}

/* Memory. All that is in use lies in the first `MAPPED` bytes. */

enum { PAGE = 4096, ENTRIES = 1024, TABLES = 4, MAPPED = TABLES * ENTRIES * PAGE, PRESENT_WRITABLE = 3 };

static uint32_t directory[ENTRIES] __attribute__((aligned(PAGE)));
static uint32_t tables[TABLES][ENTRIES] __attribute__((aligned(PAGE)));
/* Where the module is seen once paging is on. */
static uint32_t module_table[ENTRIES] __attribute__((aligned(PAGE)));
static uint8_t module_memory[2 * PAGE] __attribute__((aligned(PAGE)));
enum { MODULE_ADDRESS = 0xE0000000 };

static void turn_paging_on(void)
{
    for (uint32_t table = 0; table < TABLES; table++) {
        for (uint32_t entry = 0; entry < ENTRIES; entry++)
            tables[table][entry] = (table * ENTRIES + entry) * PAGE | PRESENT_WRITABLE;
        directory[table] = (uint32_t)tables[table] | PRESENT_WRITABLE;
    }
    for (uint32_t page = 0; page < sizeof module_memory / PAGE; page++)
        module_table[page] = (uint32_t)(module_memory + page * PAGE) | PRESENT_WRITABLE;
    directory[MODULE_ADDRESS >> 22] = (uint32_t)module_table | PRESENT_WRITABLE;
    uint32_t cr0;
    __asm__ volatile("movl %0, %%cr3" : : "r"(directory) : "memory");
    __asm__ volatile("movl %%cr0, %0" : "=r"(cr0));
    __asm__ volatile("movl %0, %%cr0; jmp 1f; 1:" : : "r"(cr0 | 0x80000000) : "memory");
    print("paging is on\n");
}

static void list_memory(const struct multiboot_info *info)
{
    uint32_t available = 0;
    for (uint32_t at = info->map; at < info->map + info->map_length;) {
        const struct multiboot_region *region = (const struct multiboot_region *)at;
        if (region->type == REGION_AVAILABLE)
            available += region->length >> 10;
        at += region->size + sizeof region->size;
    }
    print_number(available);
    print(" KiB available\n");
}

/* The module: an ELF object (ELF gABI chapter 4, "Sections" and "Relocation"; psABI for i386). */

struct object_header {
    uint8_t identification[16];
    uint16_t type, machine;
    uint32_t version, entry, segments, sections, flags;
    uint16_t size, segment_size, segment_count, section_size, section_count, section_names;
};

struct section_header {
    uint32_t name, type, flags, address, offset, size, link, info, align, entry_size;
};

struct symbol {
    uint32_t name, value, size;
    uint8_t info, other;
    uint16_t section;
};

struct relocation {
    uint32_t offset, info;
};

enum { SECTION_SYMBOLS = 2, SECTION_ZEROS = 8, SECTION_RELOCATIONS = 9, SECTION_IN_MEMORY = 2 };
enum { RELOCATE_ABSOLUTE = 1, RELOCATE_RELATIVE = 2, RELOCATE_CALL = 4 };

static const struct {
    const char *name;
    void *function;
} exported[] = {{"print", print}, {"print_number", print_number}};

/* The address of a symbol; 0 for one that nothing defines. */
static uint32_t address_of(const struct symbol *symbol, const struct section_header *sections, const char *names)
{
    if (symbol->section)
        return sections[symbol->section].address + symbol->value;
    for (uint32_t i = 0; i < sizeof exported / sizeof *exported; i++)
        if (is_same(names + symbol->name, exported[i].name))
            return (uint32_t)exported[i].function;
    return 0;
}

/* Links the object at `object` to run at `base`, where module_memory is, and returns its function `name`. */
static uint32_t load_module(uint32_t object, uint32_t base, const char *name)
{
    const struct object_header *header = (const struct object_header *)object;
    struct section_header *sections = (struct section_header *)(object + header->sections);
    uint32_t used = 0, entry = 0;
    if (*(const uint32_t *)header->identification != 0x464C457F || header->type != 1 || header->machine != 3)
        fail("the module is no 32-bit object file");
    for (uint32_t i = 0; i < header->section_count; i++) {
        struct section_header *section = &sections[i];
        if (!(section->flags & SECTION_IN_MEMORY))
            continue;
        used = (used + section->align - 1) & -section->align;
        section->address = base + used;
        if (used + section->size > sizeof module_memory)
            fail("the module is too large");
        for (uint32_t at = 0; at < section->size && section->type != SECTION_ZEROS; at++)
            module_memory[used + at] = *(const uint8_t *)(object + section->offset + at);
        used += section->size;
    }
    for (uint32_t i = 0; i < header->section_count; i++) {
        const struct section_header *section = &sections[i];
        if (section->type == SECTION_RELOCATIONS && sections[section->info].flags & SECTION_IN_MEMORY) {
            const struct section_header *table = &sections[section->link];
            const char *names = (const char *)(object + sections[table->link].offset);
            for (uint32_t at = 0; at < section->size; at += sizeof(struct relocation)) {
                const struct relocation *relocation = (const void *)(object + section->offset + at);
                const struct symbol *symbol = (const struct symbol *)(object + table->offset) + (relocation->info >> 8);
                uint32_t value = address_of(symbol, sections, names);
                uint32_t place = sections[section->info].address + relocation->offset;
                uint32_t kind = relocation->info & 0xFF;
                if (!value || (kind != RELOCATE_ABSOLUTE && kind != RELOCATE_RELATIVE && kind != RELOCATE_CALL))
                    fail("the module needs what the kernel does not have");
                uint32_t *target = (uint32_t *)(module_memory + (place - base));
                *target += kind == RELOCATE_ABSOLUTE ? value : value - place;
            }
        }
        if (section->type == SECTION_SYMBOLS) {
            const char *names = (const char *)(object + sections[section->link].offset);
            for (uint32_t at = 0; at < section->size; at += sizeof(struct symbol)) {
                const struct symbol *symbol = (const struct symbol *)(object + section->offset + at);
                if (symbol->section && is_same(names + symbol->name, name))
                    entry = address_of(symbol, sections, names);
            }
        }
    }
    if (!entry)
        fail("the module has no such function");
    return entry;
}

/* The initial file system (POSIX, "ustar Interchange Format"). */

static void print_first_line(uint32_t archive, uint32_t end, const char *name)
{
    while (archive + 512 <= end && *(const char *)archive) {
        const char *header = (const char *)archive;
        uint32_t size = 0;
        for (const char *digit = header + 124; *digit >= '0' && *digit <= '7'; digit++)
            size = size * 8 + (*digit - '0');
        if (is_same(header, name)) {
            print(name);
            print(": ");
            for (const char *text = header + 512; text < header + 512 + size && *text != '\n'; text++)
                serial_put(COM1, *text);
            print("\n");
            return;
        }
        archive += 512 + ((size + 511) & ~511);
    }
    fail("there is no such file in the initial file system");
}

uint32_t guest_main(uint32_t magic, const struct multiboot_info *info)
{
    if (magic != MULTIBOOT1_MAGIC)
        fail("not started by a Multiboot loader");
    const char *line = (const char *)info->command_line;
    const struct multiboot_module *modules = (const struct multiboot_module *)info->modules;
    if (info->module_count != 2)
        fail("an initial file system and a module are needed");
    list_memory(info);
    wait_for_ticks(3);
    uint32_t base = (uint32_t)module_memory;
    if (!word(line, "no-paging")) {
        turn_paging_on();
        base = MODULE_ADDRESS;
    }
    uint32_t entry = load_module(modules[1].start, base, "module_main");
    uint32_t result = ((uint32_t(*)(void))entry)();
    const char *file = word(line, "show=");
    if (file)
        print_first_line(modules[0].start, modules[0].end, file);
    return result;
}
