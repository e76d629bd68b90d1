# endless: spins for ever. For trying --timeout, and for interrupting a guest with a debugger.
#
# Run:   kvm --timeout 2 endless.elf
# See:   nothing for two seconds, then that the time is over.
# Exit status 12.

    .text
    .globl _start
_start:
    xorl %eax, %eax
spin:
    incq %rax                   # so that a debugger sees it move
    jmp spin
