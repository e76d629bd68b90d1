# The start of pvh.c: a PVH guest. It starts in 32-bit protected mode without paging, by the note; its ELF entry point
# is another one. It maps the first 4 GiB one to one and calls `report` in 64-bit mode.

    .section .note.Xen, "a", @note
    .balign 4
    .long 4, 4, 18                  # XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long pvh_start

    .text
    .globl _start
_start:
    ud2                             # for other boot protocols than this one

    .code32
pvh_start:
    movl $stack_end, %esp
    pushfl
    popl %ebp
    movl %cr0, %esi
    movl $tables + 0x1003, tables
    movl $tables + 0x2003, %eax
    movl $tables + 0x1000, %edi
1:  movl %eax, (%edi)               # one page directory
    movl $0x83, %eax                # present, writable, 2 MiB
    movl $tables + 0x2000, %edi
2:  movl %eax, (%edi)
    addl $8, %edi
    addl $0x200000, %eax
    cmpl $0x4000083, %eax           # 64 MiB
    jne 2b
    movl $tables, %eax
    movl %eax, %cr3
    movl $0x20, %eax                # PAE
    movl %eax, %cr4
    movl $0xc0000080, %ecx          # EFER.LME
    movl $0x100, %eax
    xorl %edx, %edx
    wrmsr
    movl $0x80000011, %eax          # PG, ET, PE
    movl %eax, %cr0
    lgdt gdt_pointer
    ljmp $8, $3f
    .code64
3:  movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl %ebx, %edi                 # the start info
    movl %ebp, %edx                 # the flags
    call report                     # RSI: CR0
    xorl %eax, %eax
4:  cli
    hlt
    jmp 4b

    .section .rodata
    .balign 8
gdt:
    .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff
gdt_pointer:
    .word gdt_pointer - gdt - 1
    .quad gdt

    .bss
    .balign 4096
tables:
    .skip 0x3000
    .skip 4096
stack_end:
