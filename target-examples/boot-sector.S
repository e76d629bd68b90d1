/* boot-sector: a disk that the machine's own BIOS starts. The first sector shows where it was started, loads the second
 * one, and that shows the memory map and the first key that is pressed.
 *
 *     kvm target/guests/boot-sector.img
 *
 * Then press a key. The text is on the screen and on COM1. The run ends with the key's code as result. */

    .code16
    .text
    .globl _start

_start:
    ljmp $0, $start             # CS may be 0 or 0x7C0: now it is 0
start:
    movw $hello, %si
    call say
    xorb %ah, %ah
    movb %dl, %al               # the drive that was started from
    call hex_16
    movw $packet, %si           # load the second sector
    movb $0x42, %ah
    int $0x13
    jc failed
    jmp second
failed:
    movw $no_second, %si
    call say
    cli
    hlt

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

    # Shows AX in hexadecimal digits.
hex_16:
    movw $4, %cx
1:  rolw $4, %ax
    pushw %ax
    andb $0xf, %al
    cmpb $10, %al
    sbbb $0x69, %al             # 0-9 and A-F, as decimal arithmetic has it
    das
    movb $0x0e, %ah
    movw $7, %bx
    int $0x10
    popw %ax
    loop 1b
    ret

hello:
    .asciz "Hello from the boot sector of drive "
no_second:
    .asciz "\r\nThe second sector cannot be read.\r\n"

    .balign 4
packet:
    .byte 16, 0
    .word 1                     # one sector
    .word 0x7e00, 0             # to 0:7E00
    .quad 1

    .org 510
    .word 0xaa55

second:
    movw $memory, %si
    call say
    xorl %ebx, %ebx
next_range:
    movl $0xe820, %eax
    movl $0x534d4150, %edx      # SMAP
    movl $20, %ecx
    movw $range, %di
    int $0x15
    jc end_of_map
    pushl %ebx
    movl $2, %ebp               # start, then length
    movw $range, %si
1:  movw 2(%si), %ax
    call hex_16
    movw (%si), %ax
    call hex_16
    movw $0x0e20, %ax
    int $0x10
    addw $8, %si
    decw %bp
    jnz 1b
    movb range + 16, %al
    addb $'0', %al
    movb $0x0e, %ah
    int $0x10
    movw $newline, %si
    call say
    popl %ebx
    testl %ebx, %ebx
    jnz next_range
end_of_map:
    movw $press, %si
    call say
    xorb %ah, %ah               # wait for a key
    int $0x16
    pushw %ax
    movw $key, %si
    call say
    popw %ax
    pushw %ax
    call hex_16
    movw $newline, %si
    call say
    popw %ax
    movzwl %ax, %eax
    cli
    hlt

memory:
    .asciz "\r\nMemory: start, length, type\r\n"
press:
    .asciz "Press a key.\r\n"
key:
    .asciz "Key "
newline:
    .asciz "\r\n"
    .balign 8
range:
    .fill 20

    .org 1024
