/* planes: a disk that draws in 640 by 480 pixels of 16 colours, with each write mode of the VGA, and prints what it
 * reads back. Any key ends the run. */

    .code16
    .text
    .globl _start

    .macro graphics index, value
    movw $(\value << 8 | \index), %ax
    movw $0x3ce, %dx
    outw %ax, %dx
    .endm
    .macro map_mask value
    movw $(\value << 8 | 2), %ax
    movw $0x3c4, %dx
    outw %ax, %dx
    .endm
    # 40 bytes of line \line.
    .macro line line, value
    movw $(\line * 80), %di
    movb $\value, %al
    movw $40, %cx
    rep stosb
    .endm

_start:
    ljmp $0, $start
start:
    cld
    movw $0x0012, %ax
    int $0x10
    movw $0xa000, %ax
    movw %ax, %es

    # Write mode 0: planes 0 and 2, which is colour 5, in every other pixel.
    map_mask 0x05
    line 0, 0xaa
    map_mask 0x0f
    # Set/reset: colour 9.
    graphics 0, 0x09
    graphics 1, 0x0f
    line 1, 0x00
    # Write mode 2: colour 14, in the left half of each byte.
    graphics 1, 0x00
    graphics 5, 0x02
    graphics 8, 0xf0
    line 2, 0x0e
    # Write mode 1: line 3 is a copy of line 2 as far as it was read.
    graphics 5, 0x01
    movw $160, %si
    movw $240, %di
    movw $40, %cx
    .byte 0x26                  # from ES
    rep movsb
    # Write mode 3: colour 12, where the data has ones.
    graphics 5, 0x03
    graphics 8, 0xff
    graphics 0, 0x0c
    line 4, 0x3c
    # Exclusive or with what is there.
    graphics 5, 0x00
    graphics 0, 0x00
    graphics 3, 0x18
    movb %es:0, %al             # into the latches: colour 5
    map_mask 0x0f
    movb $0xff, %es:400
    graphics 3, 0x00

    # Read mode 0: plane 2 of line 0. Read mode 1: which pixels of line 2 have colour 14?
    graphics 4, 0x02
    movb %es:0, %bl
    graphics 5, 0x08
    graphics 2, 0x0e
    graphics 7, 0x0f
    movb %es:160, %bh
    graphics 5, 0x00

    movw $0x3f8, %dx
    movb %bl, %al
    call hex
    movb %bh, %al
    call hex
    movb $'\n', %al
    outb %al, %dx
    xorb %ah, %ah
    int $0x16
    cli
    hlt

hex:
    movb %al, %ah
    shrb $4, %al
    call digit
    movb %ah, %al
    andb $15, %al
digit:
    addb $'0', %al
    cmpb $'9' + 1, %al
    jb 1f
    addb $7, %al
1:  outb %al, %dx
    ret

    .org 510
    .word 0xaa55
