/* mode-13h: a disk that the machine's own BIOS starts, and that draws in 320 by 200 pixels of 256 colours.
 *
 *     kvm target/guests/mode-13h.img
 *
 * The colours are a ramp of green that the guest loads itself. Any key goes back to text and ends the run. */

    .code16
    .text
    .globl _start

_start:
    ljmp $0, $start             # CS may be 0 or 0x7C0: now it is 0
start:
    movw $0x0013, %ax
    int $0x10
    movw $0x3c8, %dx            # from colour 0 on: no red, green, no blue
    xorb %al, %al
    outb %al, %dx
    incw %dx
    movw $256, %cx
    xorb %ah, %ah
1:  xorb %al, %al
    outb %al, %dx
    movb %ah, %al
    shrb $2, %al
    outb %al, %dx
    xorb %al, %al
    outb %al, %dx
    incb %ah
    loop 1b

    movw $0xa000, %ax
    movw %ax, %es
    xorw %di, %di
    xorb %al, %al               # line by line the next colour
    cld
2:  movw $320, %cx
    rep stosb
    incb %al
    cmpb $200, %al
    jne 2b

    xorb %ah, %ah
    int $0x16
    movw $0x0003, %ax
    int $0x10
    cli
    hlt

    .org 510
    .word 0xaa55
