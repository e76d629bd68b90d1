# serial-million: COUNT bytes (a million unless set otherwise; a multiple of 64) to COM1, as lines
# of 64 characters, without looking at the line status: an exit and three instructions for each
# byte. Measures the path of a byte from the guest to the output.

#include "bench.h"

#ifndef COUNT
#define COUNT 1000000
#endif
#if COUNT % 64 || COUNT < 64
#error "COUNT must be a multiple of 64"
#endif

    .text
    .globl _start
_start:
    movl $(COUNT / 64), %ebx
    movw $0x3f8, %dx
line:
    movl $63, %ecx
    movb $'.', %al
dot:
    outb %al, %dx
    decl %ecx
    jnz dot
    movb $'\n', %al
    outb %al, %dx
    decl %ebx
    jnz line
    xorl %eax, %eax
    END
