# copy-down: a guest whose .data is stored behind its code (lib/copy-down.ld) and used at 8 MiB and 0x34 bytes, where
# the start-up code copies it. The result has a bit set for each thing that is wrong.

    .text
    .globl _start
_start:
    xorl %eax, %eax
    # RAM at the address where it is used is RAM, and is zero.
    cmpq $0, first
    jne 1f
    movq $data_start, %rdi
    movq $data_stored, %rsi
    movq $data_size, %rcx
    rep movsb
    jmp 2f
1:  orl $1, %eax
2:  # The copy has what was stored.
    movq $0x1122334455667788, %rdx
    cmpq %rdx, first
    je 3f
    orl $2, %eax
3:  # Writing to the copy does not change what is stored.
    movq $7, first
    cmpq %rdx, data_stored
    je 4f
    orl $4, %eax
4:  # What has no bytes in the file is zero.
    cmpq $0, zeros
    je 5f
    orl $8, %eax
5:  cli
    hlt

    .data
first:
    .quad 0x1122334455667788
    .ascii "and the rest"

    .bss
zeros:
    .skip 0x2000
