# debug-exit: ends the run with an exit status of the guest's choice. A byte v written to the debug
# exit port becomes the exit status (v << 1) | 1: always odd, so never mistaken for success.
#
# Run:   kvm debug-exit.elf; echo $?
# See:   33, for v = 0x10.

    .set DEBUG_EXIT, 0xf4

    .text
    .globl _start
_start:
    movb $0x10, %al
    outb %al, $DEBUG_EXIT
    hlt                         # not reached
