/* handler-stack-32: leaves long mode and calls interrupt 0x20 where the stack segment has no room for the
 * frame: a triple fault. */

#include "modes.h"

    .text
    .globl _start
_start:
    LEAVE_LONG_MODE
    lidt idtr
    movl $0x18, %eax
    movl %eax, %ss
    movl $0x300000, %esp
    .globl fault
    .type fault, @function
fault:
    int $0x20

    .balign 16
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff            # 0x08: ring 0 code
    .quad 0x00cf93000000ffff            # 0x10: ring 0 data
    .quad 0x0040930000000fff            # 0x18: a stack of 4 KiB
gdt_end:
gdtr:
    .word gdt_end - gdt - 1
    .quad gdt
idtr:
    .word idt_end - idt - 1
    .long idt
    .balign 16
idt:
    .fill 0x20, 8, 0
    .quad 0x00208e0000080000
idt_end:
