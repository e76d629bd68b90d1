// SPDX-License-Identifier: MIT OR GPL-2.0
// Segment registers and string instructions over segments in real mode. (Far returns are wrong in Unicorn 2.0.1.)
    .code16
    mov $0x2100, %ax
    mov %ax, %es
    push %ds
    pop %fs
    xor %si, %si
    mov $0x40, %di
    mov $24, %cx
    cld
    rep movsw
    std
    mov $12, %cx
    sub $2, %si
    sub $2, %di
    repe cmpsw
    cld
    call double
    push %es
    pop %ss
    mov $0x800, %sp
    push $0x1234
    pushl $0x12345678
    popl %eax
    pop %bx
    les (%di), %bx
    mov $0x3000, %cx
    mov %cx, %es
    mov %es:(4), %edx
    lea 7(%edx, %edx, 4), %ebx
    hlt
double:
    add %ax, %ax
    pushf
    pop %cx
    ret
