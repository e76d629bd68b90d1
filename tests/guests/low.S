# low: a guest at 512 KiB, so that 1 MiB of memory is enough for it. The result is 1.

    .text
    .globl _start
_start:
    movl $1, %eax
    cli
    hlt
