# idle: waits for an interrupt, like an idle kernel. None ever arrives, but interrupts are on, so this
# does not end the run.
#
# Run:   kvm --timeout 2 idle.elf
# See:   nothing for two seconds, with an idle host CPU.
# Exit status 12.

    .text
    .globl _start
_start:
    sti
    hlt
    jmp _start
