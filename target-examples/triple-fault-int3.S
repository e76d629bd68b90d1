# triple-fault-int3: as triple-fault, but with the breakpoint instruction. KVM without VT-x and AMD-V,
# which emulates guest kernels, does not support this instruction;
# there kvm emulates it.
#
# Run:   kvm triple-fault-int3.elf
# See:   a report of the triple fault, as with triple-fault.
# Exit status 8.

    .text
    .globl _start
_start:
    lidt no_table(%rip)
    int3
    hlt                         # not reached

    .section .rodata
no_table:
    .fill 10, 1, 0
