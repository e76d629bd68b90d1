# own-trap-flag: a guest that steps itself by RFLAGS.TF. Its handler for debug exceptions counts the steps in RBX
# and gathers DR6 in R8; six steps.

#include "gate.h"

    .text
    .globl _start
_start:
    USE_GATE handler
    movl $0x300000, %esp
    xorl %ebx, %ebx
    xorl %r8d, %r8d
    pushfq
    orl $0x100, (%rsp)
    popfq
    nop
    nop
    nop
    pushfq
    andl $~0x100, (%rsp)
    popfq
last:
    movl %ebx, %eax
    cli
    hlt
handler:
    incl %ebx
    movq %dr6, %r9
    orq %r9, %r8
    iretq

    .data
    .balign 16
    .fill 2, 8, 0               # vector 0
gate:
    .word 0, 0x08, 0x8E00, 0
    .quad 0
table:
    .word 4 * 16 - 1
    .quad gate - 1 * 16
