/* limine: a kernel for the Limine boot protocol prints what it gets, and starts all processors.

   Run:   kvm --cpus 3 --module ../../target-examples/README.md=text limine.elf -- colour=blue
   See:   the processor's state at entry, memory map, modules, and a line of each processor.
   Exit status 0; the result is the number of processors that run. With the word `alone` the others stay parked, and with
   `wait` the kernel waits for a byte first (`r` resets the machine). */
#include "limine.h"
#include "serial.h"

enum { STACK = 128 * 1024 };

LIMINE_START;
LIMINE_BASE_REVISION(3);
LIMINE_REQUEST(loader, struct limine_loader, LIMINE_LOADER);
LIMINE_REQUEST(command_line, struct limine_command_line, LIMINE_COMMAND_LINE);
LIMINE_REQUEST(firmware_type, struct limine_number, LIMINE_FIRMWARE_TYPE);
LIMINE_REQUEST(direct_map, struct limine_number, LIMINE_HHDM);
LIMINE_REQUEST(paging_mode, struct limine_number, LIMINE_PAGING_MODE);
LIMINE_REQUEST(rsdp, struct limine_number, LIMINE_RSDP);
LIMINE_REQUEST(date, struct limine_number, LIMINE_DATE);
LIMINE_REQUEST(framebuffer, struct limine_framebuffers, LIMINE_FRAMEBUFFER);
LIMINE_REQUEST(smbios, struct limine_number, LIMINE_SMBIOS);
LIMINE_REQUEST(efi, struct limine_number, LIMINE_EFI_SYSTEM_TABLE);
LIMINE_REQUEST(memory_map, struct limine_memory_map, LIMINE_MEMORY_MAP);
LIMINE_REQUEST(executable_file, struct limine_executable_file, LIMINE_EXECUTABLE_FILE);
LIMINE_REQUEST(executable_address, struct limine_executable_address, LIMINE_EXECUTABLE_ADDRESS);
LIMINE_REQUEST(modules, struct limine_modules, LIMINE_MODULES);
LIMINE_REQUEST(processors, struct limine_processors, LIMINE_PROCESSORS);
LIMINE_DATA("") static volatile struct {
    uint64_t id[4], revision;
    struct limine_number *response;
    uint64_t size;
} stack_size = {.id = {0xc7b1dd30df4c8b88, 0x0a82e883a194f07b, LIMINE_STACK_SIZE}, .size = STACK};
LIMINE_END;

/* All general registers but RSP, ored together; RSP; what RSP points to. */
volatile uint64_t registers_at_entry, stack_at_entry, return_at_entry;

__asm__(".pushsection .text.start, \"ax\"\n"
        ".globl _start\n"
        "_start: or %rbx, %rax; or %rcx, %rax; or %rdx, %rax; or %rsi, %rax; or %rdi, %rax; or %rbp, %rax\n"
        "   or %r8, %rax; or %r9, %rax; or %r10, %rax; or %r11, %rax\n"
        "   or %r12, %rax; or %r13, %rax; or %r14, %rax; or %r15, %rax\n"
        "   mov %rax, registers_at_entry\n"
        "   mov %rsp, stack_at_entry\n"
        "   mov (%rsp), %rax\n"
        "   mov %rax, return_at_entry\n"
        "   jmp kernel_main\n"
        ".popsection\n");

static void print(const char *text)
{
    serial_print(COM1, text);
}

static void print_number(const char *name, uint64_t value)
{
    print(name);
    serial_print_hex(COM1, value, 16);
    print("\n");
}

static void print_state(void)
{
    uint64_t cr0, cr4, flags;
    uint16_t cs, ds, ss;
    struct __attribute__((packed)) {
        uint16_t limit;
        uint64_t base;
    } gdt;
    __asm__ volatile("mov %%cr0, %0; mov %%cr4, %1; pushf; pop %2" : "=r"(cr0), "=r"(cr4), "=r"(flags));
    __asm__ volatile("mov %%cs, %0; mov %%ds, %1; mov %%ss, %2; sgdt %3" : "=r"(cs), "=r"(ds), "=r"(ss), "=m"(gdt));
    print_number("registers ", registers_at_entry);
    print_number("return address ", return_at_entry);
    print_number("stack alignment ", stack_at_entry % 16);
    print_number("interrupts ", flags >> 9 & 1);
    print_number("paging, protection ", cr0 >> 30 | (cr0 & 1));
    print_number("cs, ds, ss ", (uint64_t)cs << 32 | ds << 16 | ss);
    const uint64_t *descriptors = (const uint64_t *)gdt.base;
    for (int number = 0; number < (gdt.limit + 1) / 8; number++)
        print_number("descriptor ", descriptors[number]);
}

static void print_file(const char *what, const struct limine_file *file, uint64_t shown)
{
    print(what);
    print(file->path);
    print(" [");
    print(file->command_line);
    print("] at page offset ");
    serial_print_hex(COM1, (uint64_t)file->address % 4096, 3);
    print(" ");
    for (uint64_t at = 0; at < file->size && at < shown; at++)
        serial_put(COM1, file->address[at]);
    print("\n");
}

/* A red, a green and a blue line in the upper left corner. */
static void draw(void)
{
    if (!framebuffer.response) {
        print("no framebuffer\n");
        return;
    }
    const struct limine_framebuffer *screen = framebuffer.response->framebuffers[0];
    print("framebuffer ");
    serial_print_decimal(COM1, screen->width);
    print(" x ");
    serial_print_decimal(COM1, screen->height);
    print(" x ");
    serial_print_decimal(COM1, screen->bits);
    print(", pitch ");
    serial_print_decimal(COM1, screen->pitch);
    print("\n");
    const uint8_t shifts[] = {screen->red_shift, screen->green_shift, screen->blue_shift};
    for (uint64_t line = 0; line < 3; line++)
        for (uint64_t column = 0; column < 32; column++)
            screen->pixels[line * screen->pitch / 4 + column] = 0xFFu << shifts[line];
}

/* What each started processor runs, on a stack of its own. */
static void run_processor(struct limine_processor *processor)
{
    uint64_t stack;
    uint16_t cs;
    __asm__ volatile("mov %%rsp, %0; mov %%cs, %1" : "=r"(stack), "=r"(cs));
    /* The stack is in the direct map. */
    int right = cs == 0x28 && stack > direct_map.response->value;
    processor->argument = processor->argument + (right ? 1 : 0);
    for (;;)
        __asm__ volatile("cli; hlt");
}

static uint64_t start_processors(void)
{
    struct limine_processors *all = processors.response;
    uint64_t running = 1;
    print_number("processors ", all->count);
    for (uint64_t number = 0; number < all->count; number++) {
        struct limine_processor *processor = all->processors[number];
        print_number("local APIC ", processor->lapic_id);
        if (processor->lapic_id == all->first_lapic_id)
            continue;
        processor->argument = 41;
        __atomic_store_n(&processor->goto_address, run_processor, __ATOMIC_SEQ_CST);
        while (processor->argument == 41)
            read_port(0x80);
        print_number("answers ", processor->argument);
        running++;
    }
    return running;
}

/* True if the command line has the word, which begins with this letter and no other word does. */
static int has_word(char letter)
{
    const char *text = command_line.response->text;
    for (char before = ' '; *text; before = *text++)
        if (before == ' ' && *text == letter)
            return 1;
    return 0;
}

/* Waits for a byte; `r` resets the machine. */
static void wait_for_input(void)
{
    print("waiting\n");
    if (serial_get(COM1) == 'r')
        write_port(0xCF9, 6);
}

__attribute__((used, noreturn)) static void kernel_main(void)
{
    print(limine_base[2] ? "another base revision " : "base revision ");
    serial_print_decimal(COM1, limine_base[1]);
    print("\nloader ");
    print(loader.response->name);
    print(" ");
    print(loader.response->version);
    print("\ncommand line [");
    print(command_line.response->text);
    print("]\n");
    if (has_word('w'))
        wait_for_input();
    print_state();
    print_number("firmware ", firmware_type.response->value);
    print_number("direct map ", direct_map.response->value);
    print_number("paging mode ", paging_mode.response->value);
    print_number("RSDP ", rsdp.response->value);
    print_number("date ", date.response->value);
    print_number("kernel ", executable_address.response->physical);
    print_number("mapped at ", executable_address.response->virtual);
    /* The same memory in the direct map. */
    const uint64_t *direct = (const uint64_t *)(direct_map.response->value + executable_address.response->physical);
    print(*direct == *(const uint64_t *)executable_address.response->virtual ? "the same memory\n" : "other memory\n");
    draw();
    print(smbios.response || efi.response ? "more than expected\n" : "nothing else\n");
    print(stack_size.response ? "the stack is as large as requested\n" : "no stack size\n");
    struct limine_memory_map *map = memory_map.response;
    for (uint64_t number = 0; number < map->count; number++) {
        serial_print_hex(COM1, map->regions[number]->base, 8);
        print(" + ");
        serial_print_hex(COM1, map->regions[number]->length, 8);
        print(" type ");
        serial_print_decimal(COM1, map->regions[number]->type);
        print("\n");
    }
    print_file("executable ", executable_file.response->file, 0);
    for (uint64_t number = 0; number < modules.response->count; number++)
        print_file("module ", modules.response->files[number], 16);
    uint64_t running = has_word('a') ? 1 : start_processors();
    for (;;)
        __asm__ volatile("cli; hlt" : : "a"(running));
}
