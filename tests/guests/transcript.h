/* Printing from assembly in 16-bit and 32-bit mode. Nothing but the stack is used, and all registers
 * are kept. */

/* Defines the routines for the mode that the assembler is in; they are called put, hex and text. */
.macro TRANSCRIPT mode
put_\mode:                              /* AL: a character */
    pushl %edx
    movw $0x3f8, %dx
    outb %al, %dx
    popl %edx
    ret

hex_\mode:                              /* EAX: eight hexadecimal digits and a space */
    pushfl
    pushl %eax
    pushl %ecx
    movl $8, %ecx
1:  roll $4, %eax
    pushl %eax
    andb $15, %al
    addb $'0', %al
    cmpb $'9', %al
    jbe 2f
    addb $('a' - '9' - 1), %al
2:  call put_\mode
    popl %eax
    decl %ecx
    jnz 1b
    movb $' ', %al
    call put_\mode
    popl %ecx
    popl %eax
    popfl
    ret

text_\mode:                             /* the text that is behind the call; execution goes on behind it */
    pushfl
    pushl %eax
    pushl %ebx
    .if \mode == 16
    movzwl %sp, %ebx
    movzwl %ss:12(%ebx), %eax
    xchgl %eax, %ebx
    .else
    movl 12(%esp), %ebx
    .endif
3:  movb %cs:(%ebx), %al
    incl %ebx
    testb %al, %al
    jz 4f
    call put_\mode
    jmp 3b
4:  .if \mode == 16
    movl %ebx, %eax
    movzwl %sp, %ebx
    movw %ax, %ss:12(%ebx)
    .else
    movl %ebx, 12(%esp)
    .endif
    popl %ebx
    popl %eax
    popfl
    ret
.endm

/* Prints a text. */
.macro SAY mode, text
    call text_\mode
    .asciz "\text"
.endm

/* Ends a line. */
.macro LINE mode
    pushfl
    pushl %eax
    movb $'\n', %al
    call put_\mode
    popl %eax
    popfl
.endm
