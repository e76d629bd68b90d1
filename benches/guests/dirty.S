# dirty: fills its memory, from 4 MiB to 256 MiB, and then writes to some of it endlessly at a steady
# rate: 8 pages, far from each other, in each tick of 2^20 cycles. It writes a `#` to COM1 in each tick.
# For migrations and snapshot files.

#include "bench.h"

#define FIRST 0x400000
#define END 0x10000000

    .text
    .globl _start
_start:
    cli
    movl $FIRST, %edi
fill:                               # the first and the last word of each page
    movl %edi, %eax
    stosl
    addl $4088, %edi
    stosl
    cmpl $END, %edi
    jb fill
    movw $0x3f9, %dx
    movb $2, %al                    # with transmit interrupts enabled each byte is sent at once,
    outb %al, %dx                   # not coalesced; no interrupt is delivered

    movl $FIRST, %edi
    rdtsc
    movl %eax, %ebx                 # when the tick began
tick:
    rdtsc
    movl %eax, %ecx
    subl %ebx, %eax
    cmpl $1 << 20, %eax
    jb tick
    movl %ecx, %ebx                 # ticks missed during a pause are not made up for
    movl $8, %ecx
write:
    incl 4(%edi)
    addl $7 * 4096, %edi            # not adjacent
    cmpl $END, %edi
    jb written
    subl $END - FIRST - 4096, %edi  # other pages in the next round
written:
    decl %ecx
    jnz write
    movw $0x3f8, %dx
    movb $'#', %al
    outb %al, %dx
    jmp tick
