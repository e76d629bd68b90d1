/* hypercalls: calls the hypervisor as guests of Intel processors and as guests of AMD processors do.
   The result is the sum of: 1 if vmcall is #UD, 2 if vmmcall is, 4 if one of them is no longer in the
   code. */
    .data
    .balign 16
idt:
    .fill 14 * 2, 8, 0
idt_register:
    .word 14 * 16 - 1
    .quad idt

    .text
    .globl _start
_start:
    leaq invalid_opcode(%rip), %rax     # gate 6: 64-bit, present, in the segment CS is
    leaq idt(%rip), %rdi
    movw %ax, 6 * 16(%rdi)
    movw %cs, 6 * 16 + 2(%rdi)
    movw $0x8e00, 6 * 16 + 4(%rdi)
    shrq $16, %rax
    movw %ax, 6 * 16 + 6(%rdi)
    lidt idt_register(%rip)

    xorl %ebx, %ebx
    movl $1, %ecx
    movl $0x7fff, %eax                  # no such hypercall
intel:
    vmcall
    movl $2, %ecx
    movl $0x7fff, %eax
amd:
    vmmcall

    cmpb $0xc1, intel + 2(%rip)         # vmcall is 0f 01 c1
    jne changed
    cmpb $0xd9, amd + 2(%rip)           # vmmcall is 0f 01 d9
    je unchanged
changed:
    addl $4, %ebx
unchanged:
    movl %ebx, %eax
    cli
    hlt

invalid_opcode:
    addl %ecx, %ebx
    addq $3, (%rsp)
    iretq
