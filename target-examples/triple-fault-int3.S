# triple-fault-int3: as triple-fault, but with the breakpoint instruction. Some hosts do not run
# guest kernels on the CPU but step through them in software that does not know this instruction;
# there kvm carries it out.
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
