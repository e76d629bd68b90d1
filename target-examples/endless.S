# endless: an endless loop, for trying --timeout and for interrupting a guest with a debugger.
#
# Run:   kvm --timeout 2 endless.elf
# See:   nothing for two seconds, then the message that the timeout has expired.
# Exit status 12.

    .text
    .globl _start
_start:
    xorl %eax, %eax
spin:
    incq %rax                   # so that a debugger sees progress
    jmp spin
