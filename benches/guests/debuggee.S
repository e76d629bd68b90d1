# debuggee: a guest to be debugged. First 10 000 instructions within 32 bytes, then an endless loop of
# three that counts in EBX and writes the count to memory. benches/debugger/guest.rs has the addresses,
# which are the same in both builds.

#include "bench.h"

    .text
    .globl _start
_start:                             # 0x200000; this, 4999 times two, and the jump: 10 000
    movl $4999, %ecx
first_code:
    decl %ecx
    jnz first_code
    jmp past

    .balign 32
past:                               # 0x200020
    xorl %ebx, %ebx

    .balign 32
hit:                                # 0x200040
    incl %ebx
    movl %ebx, 0x300000
    jmp hit
