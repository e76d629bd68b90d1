/* minimal: the smallest guest, one byte.

   Run:   kvm minimal.bin
   See:   nothing; the guest has halted.
   Exit status 0. */
    .code16
    .globl _start
_start:
    hlt
