# out-million: COUNT bytes (a million unless set otherwise) to port 0x80, which only stores them: the
# cost of an exit.

#include "bench.h"

#ifndef COUNT
#define COUNT 1000000
#endif

    .text
    .globl _start
_start:
    movl $COUNT, %ecx
next:
    outb %al, $0x80
    decl %ecx
    jnz next
    xorl %eax, %eax
    END
