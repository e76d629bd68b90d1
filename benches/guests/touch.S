# touch: writes to pages from 0x400000, as many as the word at 0x300000 says, with another value each
# time, and halts; then it starts again. For snapshots.

#include "bench.h"

    .text
    .globl _start
_start:
    cli
    xorl %eax, %eax
again:
    incl %eax
    movl 0x300000, %ecx
    movl $0x400000, %edi
next:
    stosl
    addl $4092, %edi
    decl %ecx
    jnz next
    hlt
    jmp again
