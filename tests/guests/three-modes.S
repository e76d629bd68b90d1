/* three-modes: the mode switches of a PC that boots. From long mode, where all guests start, it switches to
 * real mode, calls a service there by `int 0x10`, and switches through 32-bit protected mode to long mode
 * again. The result is 0x123: a digit from each mode. */

#include "modes.h"

#define SEGMENT 0x1000
#define OFFSET(label) ((label) - segment)

    .text
    .globl _start
segment:
_start:
    LEAVE_LONG_MODE
    ENTER_REAL_MODE SEGMENT

real:
    movw $SEGMENT, %ax
    movw %ax, %ds
    movw %ax, %ss
    movl $OFFSET(stack_top), %esp
    xorl %eax, %eax
    movw %ax, %es
    movw $OFFSET(service), %es:(4 * 0x10)
    movw $SEGMENT, %es:(4 * 0x10 + 2)
    lidt OFFSET(vectors)
in_real:
    movw $0x1234, %bx
    movw $0x40, %cx
call_service:
    int $0x10
after_service:
    shll $8, %eax
    movl %cr0, %edx
    orl $1, %edx
    movl %edx, %cr0
    ljmpl $0x08, $protected

service:                                # far too long to be stepped through
    movb $1, %al
1:  decw %cx
    jnz 1b
    iretw

    .code32
protected:
    movw $0x10, %dx
    movw %dx, %ds
    movw %dx, %ss
    movl $stack_top, %esp
in_protected:
    pushl $0x20
    orl (%esp), %eax
    movl %eax, %ebx
    movl $0xc0000080, %ecx
    rdmsr
    orl $0x100, %eax
    wrmsr
    movl %cr0, %edx
    orl $0x80000000, %edx
    movl %edx, %cr0                     # PAE and CR3 are as they were
    ljmp $0x28, $in_long

    .code64
in_long:
    movq %rbx, %rax
    orq $3, %rax
    cli
    hlt

    .balign 8
vectors:
    .word 0x3ff
    .long 0
    .balign 8
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff            # 0x08: 32-bit code
    .quad 0x00cf93000000ffff            # 0x10: flat data
    .quad 0x00009b010000ffff            # 0x18: 16-bit code at 0x10000
    .quad 0x000093010000ffff            # 0x20: 64 KiB of data at 0x10000
    .quad 0x00af9b000000ffff            # 0x28: 64-bit code
gdt_end:
gdtr:
    .word gdt_end - gdt - 1
    .quad gdt
    .balign 16
    .fill 256, 1, 0
stack_top:
