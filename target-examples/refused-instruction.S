# refused-instruction: leaves MMX mode by femms, which only AMD's processors of 1998 to 2010 have.
# On all others it is undefined; KVM without VT-x and AMD-V, which emulates guest kernels, refuses it as
# unknown.
#
# Run:   kvm refused-instruction.elf
# See:   a report that names the instruction and the remedy, or a triple fault report.
# Exit status 10 where the host refuses, else 8; 0 on such an old processor.

    .text
    .globl _start
_start:
    movl $3, %eax
    femms
    cli
    hlt
