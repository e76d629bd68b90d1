# warm-reset: a disk whose boot sector waits for a byte at COM1, writes it to byte 0x0F of the CMOS RAM, the reason of a
# shutdown, names an address at 0x467 where the firmware is to go on, and resets the processor as an 80286 does to return
# from protected mode: by the keyboard controller. It prints where it is afterwards: there, or in the boot sector again.
#
# Linked at 0x7C00 as a flat image of 1 MiB (tests/guests/build).

#include "boot_sector.h"
#define FLAG 0x600
#define FLAG_VALUE 0x5a17

        .code16
        .globl _start
_start: start_at_0x7c00
        cmpw    $FLAG_VALUE, FLAG
        mov     $again, %si
        je      end
        mov     $waiting, %si
        call    print
        mov     $COM1 + 5, %dx
1:      in      %dx, %al
        test    $1, %al
        jz      1b
        mov     $COM1, %dx
        in      %dx, %al
        cli
        mov     %al, %ah
        mov     $0x0f, %al
        out     %al, $0x70
        mov     %ah, %al
        out     %al, $0x71
        movw    $resumed, 0x467
        movw    %cs, 0x469
        movw    $FLAG_VALUE, FLAG
        mov     $0xfe, %al
        out     %al, $0x64
1:      hlt
        jmp     1b

resumed:
        xor     %ax, %ax
        mov     %ax, %ds
        mov     %ax, %ss
        mov     $0x7c00, %sp
        mov     $there, %si
end:    call    print
        mov     $0x0f, %al
        out     %al, $0x70
        in      $0x71, %al
        add     $'0', %al
        mov     $COM1, %dx
        out     %al, %dx
        mov     $'\n', %al
        out     %al, %dx
        end_run

        print_routine

waiting: .asciz "waiting\n"
there:  .asciz  "resumed, with the reason "
again:  .asciz  "booted again, with the reason "
        .org    510
        .word   0xaa55
