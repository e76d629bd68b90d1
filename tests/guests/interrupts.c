/* interrupts: software interrupts and exceptions in ring 0 of 64-bit mode, with descriptor tables of
 * its own. Each line names the event; the lines below it have what each handler found: the vector,
 * the error code, how far behind the place RIP and RSP were, CS, SS, RFLAGS (without RF, which not all
 * emulated processors set), whose stack it ran on, and what its own RFLAGS were. */

#include <stddef.h>

#include "serial.h"

enum { CODE = 0x08, DATA = 0x10, TASK = 0x18, CODE_32 = 0x28, CONFORMING = 0x30, NOT_PRESENT = 0x38 };
enum { INTERRUPT = 0x8e, TRAP = 0x8f };
enum { TRAP_FLAG = 0x100, RESUME_FLAG = 0x10000 };

struct pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

struct gate {
    uint16_t offset_low, selector;
    uint8_t stack, type;
    uint16_t offset_middle;
    uint32_t offset_high, reserved;
};

/* What the stubs below leave on the stack for show(). */
struct frame {
    uint64_t flags_inside, general[15], vector, code, rip, cs, flags, rsp, ss;
};

static uint64_t gdt[] = {
    0,
    0x00af9a000000ffff,
    0x00cf93000000ffff,
    0,
    0,
    0x00cf9b000000ffff,
    0x00af9e000000ffff,
    0x00af1b000000ffff,
};
static struct gate idt[0x90];
static uint32_t task_state[26];
static uint8_t other_stacks[2][4096] __attribute__((aligned(16)));
static uint64_t place, place_rsp, after;

extern const uint8_t stubs[];

/* Sixteen bytes for each vector, and what they have in common. */
__asm__(".balign 16\n"
        "stubs:\n"
        "vector = 0\n"
        ".rept 256\n"
        ".balign 16\n"
        ".if vector != 8 && (vector < 10 || vector > 14) && vector != 17\n"
        "push $0\n"
        ".endif\n"
        "pushq $vector\n"
        "jmp common\n"
        "vector = vector + 1\n"
        ".endr\n"
        "common:\n"
        "push %rax; push %rbx; push %rcx; push %rdx; push %rsi; push %rdi; push %rbp; push %r8\n"
        "push %r9; push %r10; push %r11; push %r12; push %r13; push %r14; push %r15; pushfq\n"
        "cld\n"
        "mov %rsp, %rdi\n"
        "mov %rsp, %rbp\n"
        "and $-16, %rsp\n"
        "call show\n"
        "mov %rbp, %rsp\n"
        "pop %r15; pop %r15; pop %r14; pop %r13; pop %r12; pop %r11; pop %r10; pop %r9; pop %r8\n"
        "pop %rbp; pop %rdi; pop %rsi; pop %rdx; pop %rcx; pop %rbx; pop %rax\n"
        "add $16, %rsp\n"
        "iretq\n");

static void print(const char *name, uint64_t value)
{
    serial_print(COM1, name);
    serial_print_hex(COM1, value, value >> 16 ? 16 : 4);
}

static const char *whose_stack(const struct frame *frame)
{
    const uint8_t *at = (const uint8_t *)frame;
    if (at >= other_stacks[0] && at < other_stacks[1])
        return " on stack 1";
    if (at >= other_stacks[1] && at < other_stacks[1] + sizeof other_stacks[1])
        return " on stack 2";
    return " on the same stack";
}

/* The handler of all vectors. */
__attribute__((used)) static void show(struct frame *frame)
{
    uint64_t cr2, dr6;
    print("  vector ", frame->vector);
    /* Of an error code that names a gate only the low bits: emulated processors number gates differently. */
    print(" code ", frame->vector != 14 && frame->code & 2 ? frame->code & 7 : frame->code);
    print(" rip+", frame->rip - place);
    print(" cs ", frame->cs);
    print(" flags ", frame->flags & ~(uint64_t)RESUME_FLAG);
    if (frame->rsp >> 40)
        print(" rsp ", frame->rsp);
    else
        print(" rsp-", place_rsp - frame->rsp);
    print(" ss ", frame->ss);
    serial_print(COM1, whose_stack(frame));
    serial_print(COM1, ((uint64_t)(frame + 1) & 15) == 0 ? " aligned" : " not aligned");
    print(" inside ", frame->flags_inside & 0x7f00);
    print(" rax ", frame->general[14]);
    if (frame->vector == 14) {
        __asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
        print(" cr2 ", cr2);
    }
    if (frame->vector == 1 && frame->flags & TRAP_FLAG) {
        __asm__ volatile("mov %%dr6, %0" : "=r"(dr6));
        serial_print(COM1, dr6 & 0x4000 ? " single step" : " no single step");
        frame->flags &= ~(uint64_t)TRAP_FLAG;
    }
    serial_print(COM1, "\n");
    if (frame->vector == 0x80)
        frame->general[14] += 0x1000;
    if (frame->vector < 32 && frame->vector != 1 && frame->vector != 3) {
        frame->rip = after;
        frame->rsp = place_rsp;
    }
}

static void set_gate(int vector, uint16_t selector, uint8_t type, uint8_t stack)
{
    uint64_t stub = (uint64_t)stubs + 16 * vector;
    idt[vector] = (struct gate){stub, selector, stack, type, stub >> 16, stub >> 32, 0};
}

/* Prints `name` and executes `code` with RAX 0x42. */
#define TRY(name, code)                                                                                \
    do {                                                                                               \
        uint64_t rax = 0x42;                                                                           \
        serial_print(COM1, name "\n");                                                                 \
        __asm__ volatile("push %%rbp\n"                                                                \
                         "mov %%rsp, %[rsp]\n"                                                         \
                         "lea 2f(%%rip), %%rbx\n"                                                      \
                         "mov %%rbx, %[after]\n"                                                       \
                         "lea 1f(%%rip), %%rbx\n"                                                      \
                         "mov %%rbx, %[place]\n"                                                       \
                         "xor %%ebx, %%ebx\n"                                                          \
                         "1: " code "\n"                                                               \
                         "2: pop %%rbp\n"                                                              \
                         : "+a"(rax), [rsp] "=m"(place_rsp), [after] "=m"(after), [place] "=m"(place) \
                         :                                                                             \
                         : "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory",      \
                           "cc");                                                                      \
        print("  then rax ", rax);                                                                     \
        serial_print(COM1, "\n");                                                                      \
    } while (0)

static void load_tables(void)
{
    struct pointer gdtr = {sizeof gdt - 1, (uint64_t)gdt}, idtr = {sizeof idt - 1, (uint64_t)idt};
    uint64_t base = (uint64_t)task_state;

    gdt[3] = (sizeof task_state - 1) | (base & 0xffffff) << 16 | 0x89ULL << 40 | (base >> 24 & 0xff) << 56;
    gdt[4] = base >> 32;
    for (int stack = 0; stack < 2; stack++)
        *(uint64_t *)(void *)((uint8_t *)task_state + 36 + 8 * stack) =
            (uint64_t)other_stacks[stack] + sizeof other_stacks[stack] - 8;
    for (int vector = 0; vector < 0x90; vector++)
        set_gate(vector, CODE, INTERRUPT, 0);
    set_gate(8, CODE, INTERRUPT, 2);
    set_gate(14, CODE, INTERRUPT, 1);
    set_gate(0x81, CODE, TRAP, 0);
    set_gate(0x82, CODE, INTERRUPT, 1);
    set_gate(0x83, CODE, 0x0e, 0);
    set_gate(0x84, 0, INTERRUPT, 0);
    set_gate(0x85, DATA, INTERRUPT, 0);
    set_gate(0x86, CODE_32, INTERRUPT, 0);
    set_gate(0x87, NOT_PRESENT, INTERRUPT, 0);
    set_gate(0x88, 0x1000, INTERRUPT, 0);
    set_gate(0x89, CONFORMING, INTERRUPT, 0);
    set_gate(0x8a, CODE, 0x85, 0);
    set_gate(0x8b, CODE, INTERRUPT, 7);
    __asm__ volatile("lgdt %0; lidt %1; ltr %w2" : : "m"(gdtr), "m"(idtr), "r"(TASK));
}

uint64_t guest_main(void)
{
    struct pointer short_idtr = {0x83 * 16 + 14, (uint64_t)idt};

    load_tables();
    TRY("int 0x80, which adds 0x1000", "int $0x80");
    TRY("int 0x80 on a stack that is not aligned", "lea -8(%%rsp), %%rsp; int $0x80; lea 8(%%rsp), %%rsp");
    TRY("int 0x80 with interrupts on", "sti; int $0x80; cli");
    TRY("int 0x81, a trap gate, with interrupts on", "sti; int $0x81; cli");
    TRY("int 0x82 with a stack of its own", "int $0x82");
    TRY("int 0x89, conforming", "int $0x89");
    TRY("int3", "int3");
    TRY("int 3", ".byte 0xcd, 3");
    TRY("int 0x80 with NT set",
        "pushfq; orl $0x4000, (%%rsp); popfq; int $0x80; pushfq; andl $0xbfff, (%%rsp); popfq");
    TRY("iretq with NT set", "pushfq; orl $0x4000, (%%rsp); popfq; iretq");
    __asm__ volatile("pushfq; andl $0xbfff, (%%rsp); popfq" ::: "memory", "cc");
    TRY("int 0x80 with TF set, then nop", "pushfq; orl $0x100, (%%rsp); popfq; int $0x80; nop; nop");

    TRY("int 0x90, beyond the table", "int $0x90");
    TRY("int 0x83, not present", "int $0x83");
    TRY("int 0x84, null code segment", "int $0x84");
    TRY("int 0x85, data instead of code", "int $0x85");
    TRY("int 0x86, 32-bit code", "int $0x86");
    TRY("int 0x87, code segment not present", "int $0x87");
    TRY("int 0x88, code segment beyond the table", "int $0x88");
    TRY("int 0x8a, a task gate", "int $0x8a");
    TRY("int 0x8b, with a stack at 0", "int $0x8b");
    TRY("int 0x80 on a stack that is not mapped", "movabs $0x700000000020, %%rsp; int $0x80");
    TRY("int 0x80 on a stack that is not canonical",
        "movabs $0x800000000020, %%rsp; int $0x80");

    TRY("iretq to null code", "mov %%rsp, %%rcx; push $0; push %%rcx; push $2; push $0; push $2; iretq");
    TRY("iretq to ring 0 with a data segment as stack, and back",
        "mov %%rsp, %%rcx; push $0x10; push %%rcx; pushfq; push $8; lea 3f(%%rip), %%rdx; push %%rdx;"
        "iretq; 3: int $0x80; mov %%ss, %%eax; xor %%ecx, %%ecx; mov %%ecx, %%ss");

    TRY("#UD", "ud2");
    TRY("verr with TF set", "xor %%ecx, %%ecx; pushfq; orl $0x100, (%%rsp); popfq; verr %%cx; nop");
    TRY("verr of memory that is not mapped", "movabs $0x700000000000, %%rcx; verr (%%rcx)");
    TRY("verr of an address that is not canonical", "movabs $0x800000000000, %%rcx; verr (%%rcx)");
    idt[13].type = 0x0e;
    TRY("#GP without a handler", "int $0x90");
    idt[11].type = 0x0e;
    TRY("#NP without a handler", "int $0x83");
    idt[11].type = idt[13].type = INTERRUPT;
    idt[14].stack = 0;
    TRY("#PF without a stack", "movabs $0x700000000020, %%rsp; int $0x80");
    __asm__ volatile("lidt %0" : : "m"(short_idtr));
    TRY("int 0x83, whose gate is cut off", "int $0x83");
    serial_print(COM1, "Double fault without a handler:\n");
    idt[8].type = 0x0e;
    idt[13].type = 0x0e;
    __asm__ volatile("int $0x90");
    return 1;
}
