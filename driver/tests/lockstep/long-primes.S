// SPDX-License-Identifier: MIT OR GPL-2.0
// The sieve of Eratosthenes below 60, in 64-bit mode; then the primes are added up and sent to a port.
    mov $0x20000, %ebx
    mov %rbx, %rdi
    mov $60, %ecx
    mov $1, %eax
    rep stosb
    mov $2, %esi
1:  cmpb $0, (%rbx, %rsi)
    je 3f
    lea (%rsi, %rsi), %rdi
2:  cmp $60, %rdi
    jae 3f
    movb $0, (%rbx, %rdi)
    add %rsi, %rdi
    jmp 2b
3:  inc %esi
    cmp $8, %esi
    jb 1b
    xor %edx, %edx
    mov $2, %esi
4:  movzbl (%rbx, %rsi), %eax
    imul %esi, %eax
    add %eax, %edx
    push %rdx
    inc %esi
    cmp $60, %esi
    jb 4b
    mov %edx, %eax
    mov $0xe9, %dx
    out %eax, %dx
    in %dx, %al
    mov %eax, 0xa0010
    mov 0xa0010, %rcx
    hlt
