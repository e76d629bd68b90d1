/* protected-interrupts: leaves long mode for 32-bit protected mode without paging and tries interrupts
 * there, in ring 0; from ring 3 only a fault, because not every host lets `int` through there. Each handler prints its vector and what it finds on its stack: the error
 * code (0 where there is none), EIP (less that of the place it was called from), CS, EFLAGS without RF,
 * where in its stack it is, and, if it was called from ring 3, ESP and SS. The result is 0x80. */

#include "modes.h"
#include "transcript.h"

#define BASE 0x10000
#define OFFSET_16 (0x280000 + (narrow - segment))

    .text
    .globl _start
segment:
_start:
    LEAVE_LONG_MODE
    movl $kernel_stack, %esp

    # Gate 0x81 has 16 bits, 0x82 is a trap gate.
    movl $idt, %edi
    movl $stubs, %eax
    movl $0x83, %ecx
1:  movw %ax, (%edi)
    movw $0x08, 2(%edi)
    movw $0x8e00, 4(%edi)
    movl %eax, %ebx
    shrl $16, %ebx
    movw %bx, 6(%edi)
    addl $8, %edi
    addl $16, %eax
    decl %ecx
    jnz 1b
    movb $0x86, idt + 8 * 0x81 + 5
    movl $OFFSET_16, idt + 8 * 0x81     # selector 0x28, whose base is that of the segment
    movw $0, idt + 8 * 0x81 + 6
    movb $0x8f, idt + 8 * 0x82 + 5
    lidt idtr

    movl $tss, %eax                     # the descriptor's base
    movw %ax, gdt + 0x30 + 2
    shrl $16, %eax
    movb %al, gdt + 0x30 + 4
    movl $ring_0_stack, tss + 4
    movl $0x10, tss + 8
    movw $0x30, %ax
    ltr %ax

    SAY 32, "gate\n"
    xorl %eax, %eax
    movl $., place
    int $0x80
    SAY 32, "trap gate with interrupts on\n"
    sti
    movl $., place
    int $0x82
    cli
    SAY 32, "narrow gate\n"
    movl $0x12345678, %eax
    movl $1f, after
    movl $., place
    int $0x81
1:  call hex_32
    LINE 32
    SAY 32, "breakpoint\n"
    movl $., place
    int3
    SAY 32, "overflow\n"
    movb $0x7f, %al
    addb $1, %al
    movl $., place
    into
    SAY 32, "beyond the table\n"
    movl $1f, after
    movl $., place
    int $0x90
1:  SAY 32, "iretd to data\n"
    pushl $2
    pushl $0x10
    pushl $1f
    movl $1f, after
    movl $., place
    iretl
1:  addl $12, %esp

    SAY 32, "ring 3\n"
    movw $0x10, %ax
    movw %ax, %fs
    movl %esp, kernel_esp
    pushl $0x23
    pushl $user_stack
    pushl $0x3202                       # IOPL 3: ring 3 may print
    pushl $0x1b
    pushl $user
    iretl

user:
    movw %cs, %ax
    movzwl %ax, %eax
    call hex_32
    movw %ss, %ax
    movzwl %ax, %eax
    call hex_32
    movw %ds, %ax                       # ring 0 data is taken away from ring 3
    movzwl %ax, %eax
    call hex_32
    pushfl
    popl %eax
    call hex_32
    LINE 32
    movw $0x23, %ax
    movw %ax, %ds
    movw %ax, %es
    SAY 32, "privileged\n"
    movl $1f, after
    movl $., place
    hlt
1:  SAY 32, "back in ring 3: "
    pushfl
    popl %eax
    call hex_32
    LINE 32
    movl $1, leave                      # from here ring 0 goes on
    movl $., place
    hlt

kernel:
    movl kernel_esp, %esp
    movl $0x80, %eax
    cli
    hlt

    # On the stack: error code, EIP, CS, EFLAGS, from ring 3 also ESP and SS.
handle:
    pushl %ebp
    movl %esp, %ebp                     # 4: vector, 8: error code, 12: EIP, 16: CS, 20: EFLAGS
    pushl %eax
    pushl %ebx
    pushl %ds
    movw $0x10, %ax
    movw %ax, %ds
    movl 4(%ebp), %eax
    call hex_32
    movl 8(%ebp), %eax
    call hex_32
    movl 12(%ebp), %eax
    subl place, %eax
    call hex_32
    movzwl 16(%ebp), %eax
    call hex_32
    movl 20(%ebp), %eax
    andl $0xfffeffff, %eax
    call hex_32
    movl %ebp, %eax
    andl $0xff, %eax
    call hex_32
    testb $3, 16(%ebp)
    jz 1f
    movl 24(%ebp), %eax
    subl $user_stack, %eax
    call hex_32
    movzwl 28(%ebp), %eax
    call hex_32
1:  movw %ss, %ax
    movzwl %ax, %eax
    call hex_32
    pushfl
    popl %eax
    andl $0x7f00, %eax
    call hex_32
    LINE 32
    cmpl $13, 4(%ebp)
    jne 2f
    movl after, %eax                    # go on behind what cannot be done
    movl %eax, 12(%ebp)
2:  cmpl $0, leave
    jnz kernel
    popl %ds
    popl %ebx
    popl %eax
    popl %ebp
    addl $8, %esp
    iretl

    # A handler behind a 16-bit gate: three values of 16 bits are on the stack.
narrow:
    pushl %eax
    movzwl 4(%esp), %eax
    addl $BASE, %eax
    subl place, %eax
    call hex_32
    movzwl 6(%esp), %eax
    call hex_32
    movzwl 8(%esp), %eax
    call hex_32
    movl %esp, %eax
    andl $0xff, %eax
    call hex_32
    LINE 32
    popl %eax
    addl $6, %esp                       # an IP of 16 bits does not lead back
    pushfl
    pushl $0x08
    pushl after
    iretl

    TRANSCRIPT 32

    .balign 16
vector = 0
stubs:
.rept 0x83
    .balign 16
    .if vector != 8 && (vector < 10 || vector > 14) && vector != 17
    pushl $0
    .endif
    pushl $vector
    jmp handle
vector = vector + 1
.endr

    .balign 16
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff            # 0x08: ring 0 code
    .quad 0x00cf93000000ffff            # 0x10: ring 0 data
    .quad 0x00cffb000000ffff            # 0x18: ring 3 code
    .quad 0x00cff3000000ffff            # 0x20: ring 3 data
    .quad 0x00cf9b010000ffff            # 0x28: ring 0 code from BASE on
    .quad 0x0000890000000067            # 0x30: 32-bit task state segment
gdt_end:
gdtr:
    .word gdt_end - gdt - 1
    .quad gdt
idtr:
    .word idt_end - idt - 1
    .long idt
    .balign 16
idt:
    .fill 0x83, 8, 0
idt_end:
tss:
    .fill 104, 1, 0
place:
    .long 0
after:
    .long 0
leave:
    .long 0
kernel_esp:
    .long 0
    .balign 256
    .fill 512, 1, 0
kernel_stack:
    .fill 512, 1, 0
ring_0_stack:
    .fill 512, 1, 0
user_stack:
