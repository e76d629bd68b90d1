# bit-counts: lzcnt and tzcnt must work if CPUID reports them. RAX is 0 if they do, or are not reported.
    .globl _start
_start:
    xorl %ebp, %ebp             # failures: bit 0 lzcnt, bit 1 tzcnt
    movl $0x80000001, %eax
    cpuid
    testl $1 << 5, %ecx         # LZCNT
    jz 1f
    movl $0x10, %ecx
    lzcntl %ecx, %edx
    cmpl $27, %edx              # bsr says 4
    je 1f
    orl $1, %ebp
1:  movl $7, %eax
    xorl %ecx, %ecx
    cpuid
    testl $1 << 3, %ebx         # BMI1, with tzcnt
    jz 2f
    xorl %ecx, %ecx
    tzcntl %ecx, %edx
    cmpl $32, %edx              # bsf leaves what was there
    je 2f
    orl $2, %ebp
2:  movl %ebp, %eax
    cli
    hlt
