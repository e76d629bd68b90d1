# endless-emulation: verr for ever, which some hosts' KVM does not carry out.

    .text
    .globl _start
_start:
    movl $8, %eax
again:
    verr %ax
    jmp again
