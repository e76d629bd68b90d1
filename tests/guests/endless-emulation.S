# endless-emulation: verr in an endless loop, which KVM refuses on some hosts.

    .text
    .globl _start
_start:
    movl $8, %eax
again:
    verr %ax
    jmp again
