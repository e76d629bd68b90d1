/* multiboot-picture: a Multiboot 1 kernel that prefers a graphics mode of 320x200 pixels. It draws the first line of
 * its framebuffer, in which red grows, and waits for a key. */
    .set MAGIC, 0x1badb002
    .set FLAGS, 1 << 2
    .set ADDRESS, 88
    .set WIDTH, 100

    .text
    .balign 4
header:
    .long MAGIC, FLAGS, -(MAGIC + FLAGS)
    .long 0, 0, 0, 0, 0
    .long 0, 320, 200, 32
    .globl _start
_start:
    movl ADDRESS(%ebx), %edi
    movl WIDTH(%ebx), %ecx
    movl $0x55, %eax
1:  movl %eax, (%edi)
    addl $4, %edi
    addl $0x10000, %eax
    andl $0xff00ff, %eax
    decl %ecx
    jnz 1b
2:  inb $0x64, %al
    testb $1, %al
    jz 2b
    cli
    hlt
