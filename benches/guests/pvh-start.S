# Where a PVH boot loader starts a guest written in C: in 32-bit protected mode without paging, by the note (Xen
# documentation, "x86/HVM direct boot ABI"). It maps the first 4 GiB one to one, enters 64-bit mode and calls _start, where
# `kvm --boot elf64` starts the same file, or PVH_CALLS: with the start info in RDI, CR0 in RSI and the flags in RDX.

#ifndef PVH_CALLS
#define PVH_CALLS _start
#endif

    .section .note.Xen, "a", @note
    .balign 4
    .long 4, 4, 18
    .asciz "Xen"
    .long pvh_start

    .text
    .code32
pvh_start:
    movl $pvh_stack_end, %esp
    pushfl
    popl %ebp
    movl %cr0, %esi
    cli
    movl $pvh_tables + 0x1007, pvh_tables
    movl $pvh_tables + 0x2007, %eax
    movl $pvh_tables + 0x1000, %edi
1:  movl %eax, (%edi)                   # four page directories
    addl $0x1000, %eax
    addl $8, %edi
    cmpl $pvh_tables + 0x1020, %edi
    jne 1b
    movl $0x83, %eax                    # present, writable, 2 MiB
    movl $pvh_tables + 0x2000, %edi
2:  movl %eax, (%edi)
    addl $8, %edi
    addl $0x200000, %eax
    jnc 2b
    movl $pvh_tables, %eax
    movl %eax, %cr3
    movl $0x20, %eax                    # PAE
    movl %eax, %cr4
    movl $0xC0000080, %ecx              # EFER.LME
    movl $0x100, %eax
    xorl %edx, %edx
    wrmsr
    movl $0x80000011, %eax              # PG, ET, PE
    movl %eax, %cr0
    lgdt pvh_gdt_pointer
    ljmp $8, $3f
    .code64
3:  movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl %ebx, %edi                     # the start info
    movl %ebp, %edx                     # the flags
    xorl %ebp, %ebp
    call PVH_CALLS
    xorl %eax, %eax
4:  cli
    hlt
    jmp 4b

    .section .rodata
    .balign 8
pvh_gdt:
    .quad 0, 0x00AF9B000000FFFF, 0x00CF93000000FFFF
pvh_gdt_pointer:
    .word pvh_gdt_pointer - pvh_gdt - 1
    .quad pvh_gdt

    .bss
    .balign 4096
pvh_tables:
    .skip 6 * 4096
    .skip 8192
pvh_stack_end:
