/* faults: ends in a triple fault of the kind that the command line names. Each kind is a function of its own, so
   that the report names it. The result is 1 for an unknown kind, and 2 if nothing faults. */
#include "start_info.h"

#define KINDS(kind)                                                                                            \
    kind(divide_by_zero) kind(divide_overflow) kind(unaligned_operand) kind(not_canonical)                     \
    kind(return_not_canonical) kind(selector_beyond_limit) kind(selector_not_present) kind(unmapped_read)      \
    kind(null_read) kind(null_call) kind(unmapped_call) kind(data_call) kind(read_only_write)                  \
    kind(stack_overflow) kind(invalid_opcode) kind(software_interrupt) kind(bad_msr) kind(no_sse)              \
    kind(gate_missing) kind(gate_beyond_limit) kind(gate_selector) kind(handler_stack)                         \
    kind(ring_3_privileged) kind(ring_3_syscall) kind(ring_3_unaligned)                                        \
    kind(simd_exception) kind(x87_exception) kind(trap_flag) kind(new_page_tables)                             \
    kind(zeros_call) kind(zeros_run) kind(data_code) kind(own_stack) kind(frame_on_tables)

#define DECLARE(kind) void kind(void);
KINDS(DECLARE)

static const struct { const char *name; void (*run)(void); } kinds[] = {
#define ENTRY(kind) { #kind, kind },
    KINDS(ENTRY)
};

__asm__(
    ".macro function name\n"
    ".globl \\name\n"
    ".type \\name, @function\n"
    "\\name:\n"
    ".endm\n"

    "function divide_by_zero\n"
    "xorl %ecx, %ecx\n"
    "divl %ecx\n"

    "function divide_overflow\n"
    "movl $1, %edx\n"
    "movl $1, %ecx\n"
    "divl %ecx\n"

    "function unaligned_operand\n"
    "movaps unaligned, %xmm0\n"

    "function not_canonical\n"
    "movabsq $0x800000000000, %rbx\n"
    "movq (%rbx), %rax\n"

    "function return_not_canonical\n"
    "movabsq $0x1234567890abcdef, %rbx\n"
    "pushq %rbx\n"
    "ret\n"

    "function selector_beyond_limit\n"
    "movl $0x1000, %eax\n"
    "movl %eax, %ds\n"

    "function selector_not_present\n"
    "lgdt gdt_pointer\n"
    "movl $0x10, %eax\n"
    "movl %eax, %ds\n"

    "function unmapped_read\n"
    "movabsq $0x700000000000, %rbx\n"
    "movb (%rbx), %al\n"

    "function null_read\n"
    "xorl %ebx, %ebx\n"
    "movb (%rbx), %al\n"

    "function null_call\n"
    "xorl %ebx, %ebx\n"
    "call *%rbx\n"

    "function unmapped_call\n"
    "movabsq $0x700000000000, %rbx\n"
    "call *%rbx\n"

    "function data_call\n"
    "movl $data, %ebx\n"
    "call *%rbx\n"

    "function read_only_write\n"
    "movl $1, read_only_write\n"

    "function stack_overflow\n"
    "call stack_overflow\n"

    "function invalid_opcode\n"
    "ud2\n"

    "function software_interrupt\n"
    "int $0x80\n"

    "function bad_msr\n"
    "movl $0x12345678, %ecx\n"
    "wrmsr\n"

    "function no_sse\n"
    "movq %cr4, %rax\n"
    "andl $~0x200, %eax\n"
    "movq %rax, %cr4\n"
    "movaps %xmm1, %xmm0\n"

    /* Tables with a gate for #BP, and something wrong with those for #UD and #DF. */
    "function gate_missing\n"
    "lidt idt_pointer\n"
    "ud2\n"

    "function gate_beyond_limit\n"
    "movw $4 * 16 - 1, idt_pointer\n"
    "lidt idt_pointer\n"
    "ud2\n"

    "function gate_selector\n"
    "movl $0x00500000, %eax\n"
    "call set_gates\n"
    "ud2\n"

    "function handler_stack\n"
    "movl $0x00080000, %eax\n"
    "call set_gates\n"
    "movabsq $0x700000000000, %rsp\n"
    "ud2\n"

    "set_gates:\n"
    "movb gate_access, %cl\n"
    "movl %eax, idt + 6 * 16\n"
    "movb %cl, idt + 6 * 16 + 5\n"
    "movl %eax, idt + 8 * 16\n"
    "movb %cl, idt + 8 * 16 + 5\n"
    "lidt idt_pointer\n"
    "ret\n"

    "function ring_3_privileged\n"
    "call map_for_ring_3\n"
    "call enter_ring_3\n"
    "function privileged_code\n"
    "cli\n"

    "function ring_3_syscall\n"
    "call map_for_ring_3\n"
    "movl $0xc0000081, %ecx\n"   /* STAR: kernel CS 0x08 */
    "xorl %eax, %eax\n"
    "movl $0x00100008, %edx\n"
    "wrmsr\n"
    "movl $0xc0000082, %ecx\n"   /* LSTAR */
    "movl $kernel_entry, %eax\n"
    "xorl %edx, %edx\n"
    "wrmsr\n"
    "movl $0xc0000080, %ecx\n"   /* EFER.SCE */
    "rdmsr\n"
    "orl $1, %eax\n"
    "wrmsr\n"
    "call enter_ring_3\n"
    "syscall\n"

    "function kernel_entry\n"
    "cli\n"
    "ud2\n"

    "function ring_3_unaligned\n"
    "call map_for_ring_3\n"
    "movq %cr0, %rax\n"
    "orl $0x40000, %eax\n"      /* AM */
    "movq %rax, %cr0\n"
    "orl $0x40000, user_flags\n" /* AC */
    "call enter_ring_3\n"
    "function unaligned_code\n"
    "movl unaligned + 1, %eax\n"
    "ud2\n"

    "function simd_exception\n"
    "movl $0x1d80, unaligned\n" /* division by zero is not masked */
    "ldmxcsr unaligned\n"
    "xorps %xmm1, %xmm1\n"
    "movl $1, %eax\n"
    "cvtsi2ss %eax, %xmm0\n"
    "divss %xmm1, %xmm0\n"
    "ud2\n"

    "function x87_exception\n"
    "fninit\n"
    "movw $0x037b, unaligned\n" /* division by zero is not masked */
    "fldcw unaligned\n"
    "fld1\n"
    "fldz\n"
    "function x87_division\n"
    "fdivrp\n"
    "function x87_next\n"
    "fld1\n"
    "ud2\n"

    "function trap_flag\n"
    "pushfq\n"
    "orl $0x100, (%rsp)\n"
    "popfq\n"
    "nop\n"
    "cld\n"
    "ud2\n"

    "function new_page_tables\n"
    "movl $empty_page, %eax\n"
    "movq %rax, %cr3\n"
    "ud2\n"

    "function zeros_call\n"
    "movabsq $0x700000000000, %rax\n"
    "movl $empty_page, %ebx\n"
    "call *%rbx\n"

    /* To the last bytes before the guard page of the boot stack, which has 64 KiB. */
    "function zeros_run\n"
    "leaq 0xfff(%rsp), %rbx\n"
    "andq $~0xfff, %rbx\n"
    "subq $0x11010, %rbx\n"
    "movl $unaligned, %eax\n"
    "call *%rbx\n"

    "function data_code\n"
    "movl $data_that_is_code, %ebx\n"
    "call *%rbx\n"

    /* Grows over the tables below it, and over the code. */
    "function own_stack\n"
    "movl $0x00080000, %eax\n"
    "call set_gates\n"
    "movl $idt, %esi\n"
    "movl $own_idt, %edi\n"
    "movl $idt_end - idt, %ecx\n"
    "rep movsb\n"
    "movq $own_idt, idt_pointer + 2\n"
    "lidt idt_pointer\n"
    "movl $own_stack_top, %esp\n"
    "function recurse\n"
    "call recurse\n"

    /* The frame of the first exception lies over the descriptor of its code segment. */
    "function frame_on_tables\n"
    "movl $0x00080000 + (handler - 0x200000), %eax\n"
    "call set_gates\n"
    "movw $0x20, idt + 6 * 16 + 6\n"
    "movb $0, idt + 8 * 16 + 5\n"
    "movabsq $0x00af9b000000ffff, %rax\n"
    "movq %rax, small_gdt + 8\n"
    "lgdt small_gdt_pointer\n"
    "movl $frame_stack_top, %esp\n"
    "ud2\n"
    "function handler\n"
    "iretq\n"

    /* Opens the tables that map the first gigabyte to ring 3. */
    "map_for_ring_3:\n"
    "movq %cr3, %rax\n"
    "andq $~0xfff, %rax\n"
    "orl $4, (%rax)\n"
    "movq (%rax), %rax\n"
    "andq $~0xfff, %rax\n"
    "orl $4, (%rax)\n"
    "movq (%rax), %rax\n"
    "andq $~0xfff, %rax\n"
    "movl $512, %ecx\n"
    "1: testl $0x80, (%rax)\n"
    "jnz 3f\n"
    "testl $1, (%rax)\n"
    "jz 3f\n"
    "movq (%rax), %rdx\n"
    "andq $~0xfff, %rdx\n"
    "movl $512, %esi\n"
    "2: orl $4, (%rdx)\n"
    "addq $8, %rdx\n"
    "decl %esi\n"
    "jnz 2b\n"
    "3: orl $4, (%rax)\n"
    "addq $8, %rax\n"
    "decl %ecx\n"
    "jnz 1b\n"
    "movq %cr3, %rax\n"
    "movq %rax, %cr3\n"
    "ret\n"

    /* Continues after the call, in ring 3. */
    "enter_ring_3:\n"
    "lgdt gdt_pointer\n"
    "popq %rbx\n"
    "movq %rsp, %rcx\n"
    "pushq $0x1b\n"
    "pushq %rcx\n"
    "pushq user_flags\n"
    "pushq $0x23\n"
    "pushq %rbx\n"
    "iretq\n"

    ".data\n"
    "gate_access: .byte 0x8e\n"
    ".balign 16\n"
    "gdt: .quad 0, 0x00af9b000000ffff, 0x00cf13000000ffff, 0x00cff3000000ffff, 0x00affb000000ffff\n"
    "gdt_end:\n"
    "gdt_pointer: .word gdt_end - gdt - 1\n"
    ".quad gdt\n"
    "idt: .fill 3 * 16, 1, 0\n"
    ".quad 0x00008e0000080000, 0\n"
    ".fill 16 * 16, 1, 0\n"
    "idt_end:\n"
    "idt_pointer: .word idt_end - idt - 1\n"
    ".quad idt\n"
    ".globl data\n"
    ".type data, @object\n"
    "data: .byte 0xc3\n"
    ".balign 16\n"
    ".byte 0\n"
    "unaligned: .fill 24, 1, 0\n"
    "user_flags: .quad 2\n"
    "data_that_is_code: ud2\n"
    "small_gdt_pointer: .word 23\n"
    ".quad small_gdt\n"
    ".bss\n"
    ".balign 4096\n"
    "empty_page: .fill 4096, 1, 0\n"
    "own_idt: .fill 512, 1, 0\n"
    "own_stack_bottom: .fill 512, 1, 0\n"
    "own_stack_top:\n"
    ".balign 16\n"
    "small_gdt: .fill 3, 8, 0\n"
    "frame_stack_bottom: .fill 3, 8, 0\n"
    "frame_stack_top:\n"
    ".text\n");

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
        if (same((const char *)info->command_line, kinds[i].name)) {
            kinds[i].run();
            return 2;
        }
    return 1;
}
