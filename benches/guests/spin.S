# spin: writes one byte to COM1 when it runs, and then loops endlessly. For measuring the memory of the
# program that runs it.

#include "bench.h"

    .text
    .globl _start
_start:
    movw $0x3f8, %dx
    movb $'\n', %al
    outb %al, %dx
spin:
    jmp spin
