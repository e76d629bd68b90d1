# own-int3: a guest with a handler for `int3`, which counts in RBX; three times.

#include "gate.h"

    .text
    .globl _start
_start:
    USE_GATE handler
    movl $0x300000, %esp
    xorl %ebx, %ebx
    int3
    int3
last:
    int3
    movl %ebx, %eax
    cli
    hlt
handler:
    incl %ebx
    iretq

    .data
    .balign 16
    .fill 6, 8, 0               # vectors 0 to 2
gate:
    .word 0, 0x08, 0x8E00, 0
    .quad 0
table:
    .word 4 * 16 - 1
    .quad gate - 3 * 16
