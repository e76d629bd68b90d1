/* bios: a disk that calls the services of the machine's own BIOS and prints what they answer, a line for each:
 * name, AX, BX, CX, DX, and CF. tests/e2e/bios.rs has the transcript. The disk has 10 MiB; sector 20 is written. */

    .code16
    .text
    .globl _start

    /* Shows the name, calls, and shows the registers that are left. */
    .macro ASK name, int, ax, bx=0, cx=0, dx=0
    movw $1f, %si
    jmp 2f
1:  .asciz "\name"
2:  call say
    movw $\ax, %ax
    movw $\bx, %bx
    movw $\cx, %cx
    movw $\dx, %dx
    movw $packet, %si
    clc
    int $\int
    call show
    .endm

_start:
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw $0x7c00, %sp
    # The rest of this program: 8 sectors by cylinder, head and sector.
    movw $0x0208, %ax
    movw $0x7e00, %bx
    movw $0x0002, %cx
    xorb %dh, %dh
    int $0x13
    jnc main
    hlt

    # Shows the string at SI.
say:
    pushw %ax
    pushw %bx
1:  lodsb
    testb %al, %al
    jz 2f
    movb $0x0e, %ah
    movw $7, %bx
    int $0x10
    jmp 1b
2:  popw %bx
    popw %ax
    ret

    # Shows AX, BX, CX, DX and CF.
show:
    pushfw
    call hex
    movw %bx, %ax
    call hex
    movw %cx, %ax
    call hex
    movw %dx, %ax
    call hex
    popw %ax
    andw $1, %ax
    addb $'0', %al
    call character
    movw $newline, %si
    jmp say

    # Shows AX and a space.
hex:
    pushw %cx
    pushw %ax
    movw $4, %cx
1:  popw %ax
    rolw $4, %ax
    pushw %ax
    andb $0xf, %al
    addb $'0', %al
    cmpb $'9', %al
    jbe 2f
    addb $('A' - '9' - 1), %al
2:  call character
    loop 1b
    popw %ax
    popw %cx
    movb $' ', %al
character:
    pushw %bx
    movb $0x0e, %ah
    movw $7, %bx
    int $0x10
    popw %bx
    ret

newline:
    .asciz "\r\n"
    .balign 4
packet:
    .byte 16, 0
    .word 1
    .word 0x9000, 0
    .quad 20

    .org 510
    .word 0xaa55

main:
    ASK "10/0F mode          ", 0x10, 0x0f00
    ASK "10/03 cursor        ", 0x10, 0x0300
    ASK "10/1A adapter       ", 0x10, 0x1a00
    ASK "11 equipment        ", 0x11, 0
    ASK "12 memory           ", 0x12, 0
    ASK "13/00 reset         ", 0x13, 0x0000, 0, 0, 0x80
    ASK "13/08 parameters    ", 0x13, 0x0800, 0, 0, 0x80
    ASK "13/08 no such drive ", 0x13, 0x0800, 0, 0, 0x81
    ASK "13/15 type          ", 0x13, 0x1500, 0, 0, 0x80
    ASK "13/41 extensions    ", 0x13, 0x4100, 0x55aa, 0, 0x80
    movw $0x1234, 0x9000
    movw $0xabcd, 0x91fe
    ASK "13/43 write         ", 0x13, 0x4300, 0, 0, 0x80
    movw $0, 0x9000
    ASK "13/42 read          ", 0x13, 0x4200, 0, 0, 0x80
    movw 0x9000, %ax
    movw 0x91fe, %bx
    call show
    ASK "13/44 verify        ", 0x13, 0x4400, 0, 0, 0x80
    movw $0, 0x9000
    ASK "13/02 read          ", 0x13, 0x0201, 0x9000, 0x0015, 0x0080
    movw 0x9000, %ax
    call show
    movw $0xffff, packet + 8
    ASK "13/42 beyond the end", 0x13, 0x4200, 0, 0, 0x80
    ASK "13/01 status        ", 0x13, 0x0100, 0, 0, 0x80
    ASK "14/03 serial status ", 0x14, 0x0300, 0, 0, 1
    ASK "15/24 A20           ", 0x15, 0x2402
    ASK "15/88 memory        ", 0x15, 0x8800
    ASK "15/E801 memory      ", 0x15, 0xe801
    ASK "15/C0 configuration ", 0x15, 0xc000
    ASK "15/53 no APM        ", 0x15, 0x5300
    ASK "15/86 wait          ", 0x15, 0x8600, 0, 0, 1000
    ASK "16/05 store         ", 0x16, 0x0500, 0, 0x1e61
    ASK "16/01 look          ", 0x16, 0x0100
    ASK "16/00 take          ", 0x16, 0x0000
    ASK "16/12 shift         ", 0x16, 0x1200
    ASK "17 printer          ", 0x17, 0x0200
    ASK "1A/01 set ticks     ", 0x1a, 0x0100, 0, 0x0018, 0x00ae
    # Two ticks later it is midnight.
1:  hlt
    cmpl $0x1800ae, 0x46c
    jae 1b
    movb $0, 0x46c
    ASK "1A/00 midnight      ", 0x1a, 0x0000
    ASK "1A/04 date          ", 0x1a, 0x0400
    ASK "1A/B1 no PCI BIOS   ", 0x1a, 0xb101
    movw $done, %si
    call say
    xorl %eax, %eax
    cli
    hlt
done:
    .asciz "done\r\n"

    .org 0x1200
