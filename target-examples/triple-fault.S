# triple-fault: ends itself the way small kernels often do: an empty interrupt table, then an exception.
# The exception has no handler, nor has the fault that follows, nor the double fault: the third fault
# shuts the CPU down.
#
# Run:   kvm triple-fault.elf
# See:   a report of the triple fault, with RIP at the ud2.
# Exit status 8.

    .text
    .globl _start
_start:
    lidt no_table(%rip)
    ud2

    .section .rodata
no_table:
    .fill 10, 1, 0              # limit (2 bytes) and base (8 bytes)
