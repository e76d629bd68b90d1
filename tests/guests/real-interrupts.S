/* real-interrupts: leaves long mode for real mode and tries software interrupts there. Each handler
 * prints a name and what it finds on its stack: IP (less that of the place it was called from), CS,
 * FLAGS, and then SP and its own FLAGS. The result is 0x21. */

#include "modes.h"
#include "transcript.h"

#define SEGMENT 0x1000
#define OFFSET(label) ((label) - segment)

    .text
    .globl _start
segment:
_start:
    LEAVE_LONG_MODE
    movl %cr4, %eax
    andl $0xffffffdf, %eax
    movl %eax, %cr4
    ENTER_REAL_MODE SEGMENT

real:
    movw $SEGMENT, %ax
    movw %ax, %ds
    movw %ax, %ss
    movl $OFFSET(stack_top), %esp
    xorl %eax, %eax
    movw %ax, %es
    lidt OFFSET(ivt)

    # Vectors 3, 4 and 0x21.
    movw $OFFSET(handler_3), %es:(4 * 3)
    movw $SEGMENT, %es:(4 * 3 + 2)
    movw $OFFSET(handler_4), %es:(4 * 4)
    movw $SEGMENT, %es:(4 * 4 + 2)
    movw $OFFSET(handler_21), %es:(4 * 0x21)
    movw $(SEGMENT - 0x10), %es:(4 * 0x21 + 2)
    addw $0x100, %es:(4 * 0x21)         # the same place in another segment

    SAY 16, "dos: "
    movl $0x12345678, %eax
    xorl %ebx, %ebx
    sti
place_21:
    int $0x21
    cli
    SAY 16, "then: "
    call hex_16
    pushfl
    popl %eax
    call hex_16
    LINE 16

    SAY 16, "breakpoint: "
    xorl %ebx, %ebx
place_3:
    int3

    SAY 16, "no overflow: "
    xorl %eax, %eax
    into
    LINE 16

    SAY 16, "overflow: "
    movb $0x7f, %al
    addb $1, %al
place_4:
    into

    # A 32-bit frame, with AC set in its flags.
    SAY 16, "iretd: "
    pushl $0x40246
    pushl $SEGMENT
    pushl $OFFSET(place_iretd)
    iretl
place_iretd:
    cli
    pushfl
    popl %eax
    call hex_16
    LINE 16
    pushl $0x2
    popfl

    movl $0x21, %eax
    cli
    hlt

.macro HANDLER vector, place
handler_\vector:
    pushfw
    pushl %eax
    pushl %ebx
    pushl %ebp
    movl %esp, %ebp
    movzwl 14(%bp), %eax
    subl $OFFSET(\place), %eax
    call hex_16
    movzwl 16(%bp), %eax
    call hex_16
    movzwl 18(%bp), %eax
    call hex_16
    leal 14(%ebp), %eax
    subl $OFFSET(stack_top), %eax
    call hex_16
    movzwl 12(%bp), %eax
    call hex_16
    movw %cs, %ax
    movzwl %ax, %eax
    call hex_16
    LINE 16
.endm
.macro DONE
    popl %ebp
    popl %ebx
    popl %eax
    popfw
    iretw
.endm

    HANDLER 3, place_3
    DONE
    HANDLER 4, place_4
    DONE
    HANDLER 21, place_21
    incl 8(%bp)                         # EAX of the caller
    DONE
    TRANSCRIPT 16

    .balign 8
ivt:
    .word 0x3ff
    .long 0
    .balign 8
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff            # 0x08: 32-bit code
    .quad 0x00cf93000000ffff            # 0x10: flat data
    .quad 0x00009b010000ffff            # 0x18: 16-bit code at 0x10000
    .quad 0x000093010000ffff            # 0x20: 64 KiB of data at 0x10000
gdt_end:
gdtr:
    .word gdt_end - gdt - 1
    .quad gdt
    .balign 16
    .fill 512, 1, 0
stack_top:
