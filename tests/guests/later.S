# later: code that does not exist when the guest starts. It is copied to its address, runs there, and runs
# again through a mapping that is made later, too.

    .text
    .globl _start
_start:
    xorl %ebx, %ebx
    movl $0x300000, %esp
    movq %cr3, %rax
    andq $~0xfff, %rax
    movq (%rax), %rax           # the first table of the next level
    andq $~0xfff, %rax
    leaq directory(%rip), %rdx
    movq $0x2000e7, (%rdx)      # 2 MiB from 0x200000 on
    orq $0x27, %rdx
    movq %rdx, 8(%rax)          # at 0x40000000
    leaq routine(%rip), %rsi
    movl $0x280000, %edi
    movl $(end - routine), %ecx
    rep movsb
    movl $10000, %ecx           # tens of milliseconds
wait:
    inb $0x80, %al
    decl %ecx
    jnz wait
    movl $0x280000, %eax
    call *%rax
    movl $0x40080000, %eax
    call *%rax
    movl %ebx, %eax
    cli
    hlt
routine:
    incl %ebx
    nop
    nop
    nop
    nop
    nop
    ret
end:

    .bss
    .balign 4096
directory:
    .skip 4096
