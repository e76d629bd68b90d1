# stepped: one of each instruction that a step over is more than a step, and a handler for what some
# of them raise.

    .macro handler number, where
    leaq \where(%rip), %rax
    leaq table+16*\number(%rip), %rdx
    movw %ax, (%rdx)
    movw $0x08, 2(%rdx)
    movw $0x8E00, 4(%rdx)
    shrq $16, %rax
    movw %ax, 6(%rdx)
    .endm

    .text
    .globl _start
_start:
    handler 5, asked
    handler 6, invalid
    handler 12, stray
    handler 13, general
    handler 14, unmapped
    lidt pointer(%rip)
    movl $0x300000, %esp
flags:
    pushfq
flags_pushed:
    popq %r12
    pushq $0x46
back:
    popfq
copying:
    movl $2500, %ecx
    movl $0x280000, %esi
    movl $0x290000, %edi
repeat:
    rep movsb
repeated:
    movl $1, %eax
identify:
    cpuid
identified:
    movq %cr0, %rax
    movq %rax, %cr0
port:
    outb %al, $0x80
port_in:
    inb $0x80, %al
ask:
    int $5
answered:
    ud2
valid:
    movabsq $0x7ffff0000000, %rax
touch:
    movb (%rax), %al
touched:
    nop
sled:
    .fill 40, 1, 0x90
    movl $3, %r13d
stack:
    movabsq $0x800000000000, %rbp       # no address: an exception of the stack
beyond:
    movb (%rbp), %al
back_inside:
    xorl %ebp, %ebp
    decl %r13d
    jnz stack
done:
    movl %r12d, %eax
    cli
    hlt
into_handler:                           # never reached
    jmp invalid

asked:
    incl %r8d
    iretq
invalid:
    incl %r9d
    addq $2, (%rsp)
    iretq
unmapped:
    incl %r10d
    movq 24(%rsp), %r11
    addq $8, %rsp
    addq $2, (%rsp)
    iretq
general:                                # some processors raise this one instead
    nop
stray:
    incl %r14d
    addq $8, %rsp
    addq $3, (%rsp)
    iretq

    .data
    .balign 16
table:
    .skip 16 * 16
pointer:
    .word 16 * 16 - 1
    .quad table
