/* port-input: input on the serial port in real mode. What is typed comes back in upper case.

   Run:   printf 'first line\n\004' | kvm --keys serial port-input.bin
   See:   FIRST LINE; Ctrl-D ends it.
   Exit status 0; the result is the number of characters, 11. */
#include "flat.h"

    .code16
    .globl _start
_start:
    xorw %cx, %cx
wait_for_input:
    movw $COM1 + 5, %dx             # line status: bit 0 is set when a character has come
    inb %dx, %al
    testb $1, %al
    jz wait_for_input
    movw $COM1, %dx
    inb %dx, %al
    cmpb $4, %al
    je end_of_input
    incw %cx
    cmpb $'a', %al
    jb other
    cmpb $'z', %al
    ja other
    subb $'a' - 'A', %al
other:
    outb %al, %dx
    jmp wait_for_input
end_of_input:
    movzwl %cx, %eax
    hlt
