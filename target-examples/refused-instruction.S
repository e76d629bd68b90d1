# refused-instruction: makes a stack frame that is nested in another one, as compilers of Pascal once did.
# KVM without VT-x and AMD-V, which emulates guest kernels, refuses `enter` with a nesting level, and so does
# `kvm`.
#
# Run:   kvm refused-instruction.elf
# See:   a report that names the instruction and the remedy, or nothing where a processor executes it.
# Exit status 10 where the host refuses, else 0.

    .text
    .globl _start
_start:
    movl $3, %eax
    enter $0, $1
    cli
    hlt
