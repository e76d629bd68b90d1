# refused-instruction: leaves MMX mode by femms, which only AMD's processors of 1998 to 2010 have.
# To all others it is an undefined instruction; hosts that step through guest kernels in software
# say that they do not know it.
#
# Run:   kvm refused-instruction.elf
# See:   a report that names the instruction and says what to do, or of the triple fault.
# Exit status 10 where the host refuses, else 8; 0 on such an old processor.

    .text
    .globl _start
_start:
    movl $3, %eax
    femms
    cli
    hlt
