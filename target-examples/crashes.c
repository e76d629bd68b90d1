/* crashes: the mistakes that end most young kernels, one for each word on the command line. Each is a function of
   its own, so that the report names it.

   Run:   kvm crashes.elf --append null-write        (kinds[] below has the words)
   See:   a report of the exception, of what caused it, and of where that was.
   Exit status 8; 12 for `fault-loop`, with --timeout; 0 for `return`, and for an unknown word. */
#include "interrupts.h"
#include "start_info.h"

#define FUNCTION static __attribute__((noipa))

struct __attribute__((packed)) table {
    uint16_t limit;
    uint64_t base;
};

/* What an interrupt pushes. */
struct frame {
    uint64_t rip, cs, rflags, rsp, ss;
};

static uint64_t *page_tables(void)
{
    uint64_t *root;
    __asm__ volatile("mov %%cr3, %0" : "=r"(root));
    return root;
}

static void load_idt(void)
{
    struct table idt = {sizeof interrupt_table - 1, (uint64_t)interrupt_table};
    __asm__ volatile("lidt %0" : : "m"(idt));
}

FUNCTION void null_read(void)
{
    volatile int *pointer = 0;
    __asm__ volatile("" : "+r"(pointer));
    (void)*pointer;
}

FUNCTION void null_write(void)
{
    volatile int *pointer = 0;
    __asm__ volatile("" : "+r"(pointer));
    *pointer = 1;
}

FUNCTION void null_call(void)
{
    void (*function)(void) = 0;
    __asm__ volatile("" : "+r"(function));
    function();
}

/* The bytes of `ud2`, for where data can be executed. */
static uint64_t some_data[4] __attribute__((aligned(16))) = {0x0b0f};

FUNCTION void data_jump(void)
{
    void (*function)(void) = (void (*)(void))some_data;
    __asm__ volatile("" : "+r"(function));
    function();
}

FUNCTION int stack_overflow(int depth)
{
    volatile char local[256] = {depth};
    return depth == 1 << 30 ? 0 : stack_overflow(depth + 1) + local[0];
}

FUNCTION void overflow(void)
{
    stack_overflow(0);
}

FUNCTION void bad_selector(void)
{
    __asm__ volatile("mov %0, %%ds" : : "r"(0x50));
}

FUNCTION void not_canonical(void)
{
    volatile int *pointer = (int *)0x800000000000;
    __asm__ volatile("" : "+r"(pointer));
    (void)*pointer;
}

/* As if a caller had entered it by a jump, or with a stack of its own that is off by eight bytes. */
FUNCTION void misaligned(void)
{
    __asm__ volatile("lea some_data + 8, %%rax\n\tmovaps (%%rax), %%xmm0" : : : "rax");
}

FUNCTION void invalid_opcode(void)
{
    __builtin_trap();
}

FUNCTION int divide(int dividend, int divisor)
{
    int quotient, rest;
    __asm__ volatile("idivl %4" : "=a"(quotient), "=d"(rest) : "a"(dividend), "d"(0), "r"(divisor));
    return quotient + rest;
}

FUNCTION void divide_by_zero(void)
{
    divide(7, 0);
}

/* Puts a gate with the selector of no segment into the table that was loaded at the start. */
FUNCTION void double_fault(void)
{
    struct table idt;
    __asm__ volatile("sidt %0" : "=m"(idt));
    ((struct gate *)idt.base)[14].selector = 0x50;
    null_read();
}

static __attribute__((interrupt)) void ignore(struct frame *frame)
{
    (void)frame;
}

FUNCTION void bad_gate(void)
{
    set_handler(14, (handler_function *)ignore);
    interrupt_table[14].selector = 0x50;
    load_idt();
    null_read();
}

/* Where there are no page tables. */
static uint64_t not_page_tables[512] __attribute__((aligned(4096)));

FUNCTION void wild_cr3(void)
{
    __asm__ volatile("mov %0, %%cr3\n\tnop" : : "r"(not_page_tables));
}

/* Bit 7 of an entry in the highest table is reserved. */
FUNCTION void reserved_bit(void)
{
    page_tables()[1] = 0x83;
    *(volatile int *)0x8000000000 = 1;
}

/* The compiler's attribute takes a second parameter for the error code, which is missing here. */
FUNCTION void error_code_left(void)
{
    set_handler(14, (handler_function *)ignore);
    load_idt();
    null_read();
}

/* Drops the error code, but changes nothing about the cause. */
static __attribute__((interrupt)) void return_to_fault(struct frame *frame, uint64_t error_code)
{
    (void)frame;
    (void)error_code;
    write_port(0x80, 0x14);
}

FUNCTION void fault_loop(void)
{
    set_handler(14, (handler_function *)(void *)return_to_fault);
    load_idt();
    null_read();
}

/* As a `_start` in C that returns. */
FUNCTION void return_from_start(void)
{
    /* _start has called guest_main, which has set its frame up. */
    uint64_t *frame = *(uint64_t **)__builtin_frame_address(0);
    __asm__ volatile("mov %0, %%rsp\n\tmov $3, %%eax\n\tret" : : "r"(frame + 2));
}

FUNCTION void privileged_in_ring_3(void)
{
    __asm__ volatile("hlt");
}

static uint64_t ring_3_stack[64];

/* Opens the tables that map the first gigabyte to ring 3, and continues there. */
FUNCTION void ring_3(void)
{
    static uint64_t gdt[] = {0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cff3000000ffff, 0x00affb000000ffff};
    struct table table = {sizeof gdt - 1, (uint64_t)gdt};
    uint64_t *directory_pointers = (uint64_t *)(page_tables()[0] & ~0xfffull);
    uint64_t *directory = (uint64_t *)(directory_pointers[0] & ~0xfffull);
    page_tables()[0] |= 4;
    directory_pointers[0] |= 4;
    for (int i = 0; i < 4; i++) {
        if ((directory[i] & 0x81) == 1) {
            uint64_t *pages = (uint64_t *)(directory[i] & ~0xfffull);
            for (int j = 0; j < 512; j++)
                pages[j] |= 4;
        }
        directory[i] |= 4;
    }
    __asm__ volatile("mov %0, %%cr3" : : "r"(page_tables()));
    __asm__ volatile("lgdt %0" : : "m"(table));
    __asm__ volatile("pushq $0x1b\n\tpushq %0\n\tpushq $2\n\tpushq $0x23\n\tpushq %1\n\tiretq"
                     : : "r"(ring_3_stack + 63), "r"(privileged_in_ring_3));
}

static const struct {
    const char *word;
    void (*run)(void);
} kinds[] = {
    {"null-read", null_read},
    {"null-write", null_write},
    {"null-call", null_call},
    {"data-jump", data_jump},
    {"stack-overflow", overflow},
    {"bad-selector", bad_selector},
    {"not-canonical", not_canonical},
    {"misaligned", misaligned},
    {"invalid-opcode", invalid_opcode},
    {"divide", divide_by_zero},
    {"double-fault", double_fault},
    {"bad-gate", bad_gate},
    {"wild-cr3", wild_cr3},
    {"reserved-bit", reserved_bit},
    {"error-code", error_code_left},
    {"fault-loop", fault_loop},
    {"return", return_from_start},
    {"ring-3", ring_3},
};

static int same(const char *one, const char *other)
{
    while (*one && *one == *other) {
        one++;
        other++;
    }
    return *one == *other;
}

uint64_t guest_main(const struct start_info *info)
{
    for (unsigned i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (same((const char *)info->command_line, kinds[i].word))
            kinds[i].run();
    return 2;
}
