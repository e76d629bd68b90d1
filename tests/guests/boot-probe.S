# boot-probe: a disk whose boot sector reads a second sector by INT 13h, sends its text to COM1 and a letter to the screen,
# and ends the run with 0x10 at the debug exit port.
#
# Linked at 0x7C00 as a flat image of 1 MiB (tests/guests/build).

#include "boot_sector.h"

        .code16
        .globl _start
_start: start_at_0x7c00
        mov     %ax, %es
        sti
        mov     $0x0201, %ax
        mov     $0x0002, %cx
        xor     %dh, %dh
        mov     $0x7e00, %bx
        int     $0x13
        mov     $failed, %si
        jc      1f
        mov     $text, %si
1:      call    print
        mov     $0x0e00 + '!', %ax
        mov     $0x0007, %bx
        int     $0x10
        end_run

        print_routine

failed: .asciz  "the second sector cannot be read\n"
        .org    510
        .word   0xaa55
text:   .asciz  "boot sector of ours\n"
