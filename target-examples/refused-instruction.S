# refused-instruction: counts bits with popcnt, which every x86-64 CPU since 2008 can do. Some hosts
# do not run guest kernels on the CPU but step through them in software that does not know it.
#
# Run:   kvm refused-instruction.elf
# See:   the result 3, or a report that names the instruction the host refuses.
# Exit status 0, or 10 where the host refuses.

    .text
    .globl _start
_start:
    movl $0x70, %ecx            # three bits are set
    popcntl %ecx, %eax
    cli
    hlt
