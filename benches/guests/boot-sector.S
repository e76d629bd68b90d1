# boot-sector: a disk whose boot sector sends one byte to COM1 and ends the machine: the time that a BIOS takes.
#
# Linked at 0x7C00 as a flat image (benches/guests/build).

    .code16
    .globl _start
_start:
    movw $0x3f8, %dx
    movb $'\n', %al
    outb %al, %dx
    xorl %eax, %eax
    outb %al, $0xf4
    cli
1:  hlt
    jmp 1b
    .org 510
    .word 0xaa55
