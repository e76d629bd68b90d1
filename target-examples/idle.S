# idle: waits for an interrupt, as a kernel does that has nothing to do. None ever comes, but one
# could: interrupts are on, so this is waiting and not the end of the run.
#
# Run:   kvm --timeout 2 idle.elf
# See:   nothing for two seconds, with the host's CPU at rest.
# Exit status 12.

    .text
    .globl _start
_start:
    sti
    hlt
    jmp _start
