/* floppy: a diskette of 1.44 MB with a FAT12 file system. Its boot sector finds the file SECOND.BIN in the root directory,
 * reads it along the chain of its clusters by cylinder, head and sector, and starts it. That shows the drive.
 *
 *     kvm target/guests/floppy.img
 *
 * The text is on the screen and on COM1. The run ends with the type of the drive as result. */

    .set FAT, 0x8000            # where the first FAT is read to
    .set ROOT, 0x9200           # and the root directory
    .set FILE, 0xbe00           # and SECOND.BIN: where its first cluster is linked

    .code16
    .text
    .globl _start

_start:
    jmp start
    nop
    .ascii "KVM     "
    .word 512                   # bytes per sector
    .byte 1                     # sectors per cluster
    .word 1                     # reserved sectors
    .byte 2                     # FATs
    .word 224                   # entries of the root directory
    .word 2880                  # sectors
    .byte 0xf0                  # medium
    .word 9                     # sectors per FAT
track:
    .word 18                    # sectors per track
heads:
    .word 2
    .long 0, 0
drive:
    .byte 0, 0, 0x29
    .long 0x20261129
    .ascii "FLOPPY     FAT12   "

start:
    ljmp $0, $1f                # CS may be 0 or 0x7C0: now it is 0
1:  xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movb %dl, drive
    movw $hello, %si
    call say
    movw $1, %ax
    movw $9, %cx
    movw $FAT, %bx
    call read
    movw $19, %ax
    movw $14, %cx
    movw $ROOT, %bx
    call read
    movw $ROOT, %di
    movw $224, %dx
2:  movw %di, %bx
    movw $name, %si
    movw $11, %cx
    repe cmpsb
    je 3f
    leaw 32(%bx), %di
    decw %dx
    jnz 2b
    movw $missing, %si
stop:
    call say
    cli
    hlt
3:  movw 26(%bx), %ax           # its first cluster
    movw $FILE, %bx
4:  pushw %ax
    addw $31, %ax               # cluster 2 is sector 33
    movw $1, %cx
    call read
    popw %ax
    movw %ax, %si               # the next cluster: 12 bits
    shrw %si
    addw %ax, %si
    movw FAT(%si), %dx
    testb $1, %al
    jz 5f
    shrw $4, %dx
5:  andw $0xfff, %dx
    movw %dx, %ax
    cmpw $0xff8, %ax
    jb 4b
    jmp second

    # Reads CX sectors from sector AX on to BX, which moves on.
read:
    pushw %ax
    pushw %cx
    xorw %dx, %dx
    divw track
    movb %dl, %cl
    incb %cl
    xorw %dx, %dx
    divw heads
    movb %al, %ch
    movb %dl, %dh
    movb drive, %dl
    movw $0x0201, %ax
    int $0x13
    popw %cx
    popw %ax
    movw $failed, %si
    jc stop
    incw %ax
    addw $512, %bx
    loop read
    ret

    # Shows the string at SI.
say:
    lodsb
    testb %al, %al
    jz 1f
    movb $0x0e, %ah             # teletype
    movw $7, %bx
    int $0x10
    jmp say
1:  ret

hello:
    .asciz "FAT12 diskette\r\n"
missing:
    .asciz "SECOND.BIN is missing\r\n"
failed:
    .asciz "A sector cannot be read\r\n"
name:
    .ascii "SECOND  BIN"

    .org 510
    .word 0xaa55

    # Two FATs: the file is in clusters 2 and 4.
    .byte 0xf0, 0xff, 0xff, 0x04, 0x00, 0x00, 0xff, 0x0f, 0x00
    .org 512 * 10
    .byte 0xf0, 0xff, 0xff, 0x04, 0x00, 0x00, 0xff, 0x0f, 0x00

    # The root directory: the name of the volume, and the file.
    .org 512 * 19
    .ascii "FLOPPY     "
    .byte 0x08
    .fill 20
    .ascii "SECOND  BIN"
    .byte 0x20
    .fill 14
    .word 2
    .long 1024

    # SECOND.BIN. What is in its second cluster is linked 512 bytes behind where it is read to.
    .org 512 * 33
second:
    movw $geometry - 512, %si
    call say
    movb $8, %ah
    movb drive, %dl
    pushw %es
    int $0x13
    popw %es
    movzbl %bl, %eax
    pushl %eax
    movw %dx, %bp               # heads less one, drives
    movzbw %ch, %ax
    incw %ax
    call decimal
    movw %bp, %ax
    movzbw %ah, %ax
    incw %ax
    call decimal
    movw %cx, %ax
    andw $0x3f, %ax
    call decimal
    popl %eax
    pushl %eax
    call decimal
    movw $end - 512, %si
    call say
    popl %eax
    cli
    hlt

    # Shows a blank and AX, which is below 100.
decimal:
    movb $10, %dl
    divb %dl
    addw $0x3030, %ax
    pushw %ax
    movw $0x0e20, %ax
    movw $7, %bx
    int $0x10
    popw %ax
    pushw %ax
    movb $0x0e, %ah
    int $0x10
    popw %ax
    movb %ah, %al
    movb $0x0e, %ah
    int $0x10
    ret

    .org 512 * 35
geometry:
    .asciz "SECOND.BIN: cylinders, heads, sectors and type of the drive:"
end:
    .asciz "\r\n"

    .org 512 * 2880
