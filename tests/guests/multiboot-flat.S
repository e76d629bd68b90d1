/* multiboot-flat: a Multiboot 1 kernel that is no ELF file: its header has the addresses. It prints the
 * word behind its code, which has to be 0 (.bss), and the command line. The result is the magic number. */
    .text
    .globl _start
image:
    .ascii "not loaded "
    .balign 4
loaded:
    .long 0x1234
header:
    .long 0x1badb002
    .long 1 << 16
    .long -(0x1badb002 + (1 << 16))
    .long header, loaded, image_end, bss_end, _start
_start:
    movl %eax, %ebp
    movl image_end, %eax
    addb $'0', %al
    movw $0x3f8, %dx
    outb %al, %dx
    movb $' ', %al
    outb %al, %dx
    movl 16(%ebx), %esi
1:  lodsb
    testb %al, %al
    jz 2f
    outb %al, %dx
    jmp 1b
2:  movb $'\n', %al
    outb %al, %dx
    movl %ebp, %eax
    cli
    hlt
    .balign 4
image_end:
    .set bss_end, image_end + 0x1000
