# spin: one byte to COM1, to tell that it runs, and then nothing for ever. For looking at the memory
# of the program it runs in.

#include "bench.h"

    .text
    .globl _start
_start:
    movw $0x3f8, %dx
    movb $'\n', %al
    outb %al, %dx
spin:
    jmp spin
