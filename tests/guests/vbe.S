/* vbe: a disk that finds the linear framebuffer by the functions of VBE, sets 640 by 480 pixels of 32 bits, and draws: in
 * line 1 colours that it reads back from the framebuffer, in line 100 white pixels, half of the line. It prints the
 * address and the current mode. Any key ends the run in text mode. */

#include "boot_sector.h"

#define MODE 0x142
#define LINE (640 * 4)
#define INFORMATION 0x8000

    .code16
    .text
    .globl _start

_start:
    start_at_0x7c00
    movw %ax, %es
    cld
    # Is it there, and is the mode?
    movw $0x4f00, %ax
    movw $INFORMATION, %di
    int $0x10
    cmpw $0x004f, %ax
    jne failed
    movw $0x4f01, %ax
    movw $MODE, %cx
    int $0x10
    cmpw $0x004f, %ax
    jne failed
    movl INFORMATION + 40, %ebx
    call hex_ebx
    movw $0x4f02, %ax
    movw $(MODE | 0x4000), %bx
    int $0x10
    cmpw $0x004f, %ax
    jne failed
    movw $0x4f03, %ax
    int $0x10
    movzwl %bx, %ebx
    call hex_ebx

    # FS with a limit of 4 GiB.
    cli
    lgdt table
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    movw $8, %bx
    movw %bx, %fs
    andb $0xfe, %al
    movl %eax, %cr0
    sti

    movl INFORMATION + 40, %edi
    leal LINE(%edi), %esi
    movl $640, %ecx
    xorl %eax, %eax
1:  movl %eax, %fs:(%esi)       # from black to a green
    addl $4, %esi
    addl $0x000100, %eax
    andl $0x00ff00, %eax
    decl %ecx
    jnz 1b
    leal (100 * LINE)(%edi), %esi
    movl $320, %ecx
2:  movl $0xffffff, %fs:(%esi)
    addl $4, %esi
    decl %ecx
    jnz 2b

    xorb %ah, %ah
    int $0x16
    movw $0x0003, %ax
    int $0x10
    end_run
failed:
    movzwl %ax, %ebx
    call hex_ebx
    end_run

    # Prints EBX and a line end.
hex_ebx:
    movw $8, %cx
    movw $COM1, %dx
1:  roll $4, %ebx
    movb %bl, %al
    andb $15, %al
    addb $'0', %al
    cmpb $'9' + 1, %al
    jb 2f
    addb $7, %al
2:  outb %al, %dx
    loop 1b
    movb $'\n', %al
    outb %al, %dx
    ret

    .balign 4
descriptors:
    .quad 0
    .quad 0x00cf92000000ffff
table:
    .word . - descriptors - 1
    .long descriptors

    .org 510
    .word 0xaa55
