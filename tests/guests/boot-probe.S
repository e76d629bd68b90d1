# boot-probe: a disk whose boot sector reads a second sector by INT 13h, sends its text to COM1 and a letter to the screen,
# and ends the run with 0x10 at the debug exit port.
#
# Linked at 0x7C00 as a flat image of 1 MiB (tests/guests/build).

#define COM1 0x3f8

        .code16
        .globl _start
_start: ljmp    $0, $1f
1:      xor     %ax, %ax
        mov     %ax, %ds
        mov     %ax, %es
        mov     %ax, %ss
        mov     $0x7c00, %sp
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
        mov     $0xf4, %dx
        mov     $0x10, %al
        out     %al, %dx
        cli
        hlt

print:  lodsb
        test    %al, %al
        jz      1f
        mov     $COM1, %dx
        out     %al, %dx
        jmp     print
1:      ret

failed: .asciz  "the second sector cannot be read\n"
        .org    510
        .word   0xaa55
text:   .asciz  "boot sector of ours\n"
