# disk-writes: a disk whose boot sector writes itself to sector 2, reads it back, and ends the run with 0x10 at the debug
# exit port if the bytes have come back, else with 0x11.
#
# Linked at 0x7C00 as a flat image of 1 MiB (tests/guests/build).

#include "boot_sector.h"

        .code16
        .globl _start
_start: start_at_0x7c00
        mov     %ax, %es
        sti
        mov     $0x0301, %ax
        mov     $0x0002, %cx
        xor     %dh, %dh
        mov     $0x7c00, %bx
        int     $0x13
        jc      failed
        mov     $0x0201, %ax
        mov     $0x8000, %bx
        int     $0x13
        jc      failed
        cmpw    $0xaa55, 0x8000 + 510
        jne     failed
        end_run
failed: mov     $0xf4, %dx
        mov     $0x11, %al
        out     %al, %dx
        .org    510
        .word   0xaa55
