# multiboot: a Multiboot kernel that sends a line to COM1 and ends the machine.

    .text
    .code32
    .balign 4
    .long 0x1BADB002, 0, -0x1BADB002
    .globl _start
_start:
    movl $line, %esi
    movl $length, %ecx
    movw $0x3f8, %dx
    cld
    rep outsb
    xorl %eax, %eax
    outb %al, $0xf4
    cli
1:  hlt
    jmp 1b

    .section .rodata
line: .ascii "a Multiboot kernel\n"
    .set length, . - line
