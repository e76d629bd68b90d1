/* For guests in real mode: output on COM1. DS is 0, and the guest is below 64 KiB. */

#define COM1 0x3f8

/* A function, in code of any mode, that prints the text at SI; AL, DX and SI are changed. */
#define PRINT_FUNCTION(name) \
name:                ; \
    movw $COM1, %dx  ; \
1:  lodsb            ; \
    testb %al, %al   ; \
    jz 2f            ; \
    outb %al, %dx    ; \
    jmp 1b           ; \
2:  ret

/* Enters 32-bit protected mode at label `entry`, with flat segments: CS is 8, the others are 0x10; the stack is
   below 64 KiB. */
#define ENTER_PROTECTED_MODE(entry) \
    cli                            ; \
    lgdtl gdt_register             ; \
    movl %cr0, %eax                ; \
    orb $1, %al                    ; \
    movl %eax, %cr0                ; \
    ljmpl $8, $9f                  ; \
    .code32                        ; \
9:  movl $0x10, %eax               ; \
    movl %eax, %ds                 ; \
    movl %eax, %es                 ; \
    movl %eax, %ss                 ; \
    movl $0x10000, %esp            ; \
    jmp entry

/* The descriptors that it loads: null, 32-bit code, data, 64-bit code. */
#define DESCRIPTORS \
    .balign 8                      ; \
gdt:                               ; \
    .quad 0                        ; \
    .quad 0x00cf9a000000ffff       ; \
    .quad 0x00cf92000000ffff       ; \
    .quad 0x00af9a000000ffff       ; \
gdt_register:                      ; \
    .word gdt_register - gdt - 1   ; \
    .long gdt
