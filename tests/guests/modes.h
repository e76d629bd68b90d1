/* Switches out of long mode. The guest's descriptor table, at `gdtr`, has 32-bit code at 0x08 and
 * flat data at 0x10; for real mode 16-bit code at 0x18 and data at 0x20, both of the segment. */

/* Loads all data segments with AX. */
.macro LOAD_SEGMENTS
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %fs
    movw %ax, %gs
    movw %ax, %ss
.endm

/* From long mode to 32-bit code without paging. EAX, ECX and EDX are lost. */
.macro LEAVE_LONG_MODE
    cli
    lgdt gdtr(%rip)
    pushq $0x08
    leaq compatible\@(%rip), %rax
    pushq %rax
    lretq

    .code32
compatible\@:                           # 32-bit code; paging is still on
    movl $0x10, %eax
    LOAD_SEGMENTS
    movl %cr0, %eax
    andl $0x7fffffff, %eax
    movl %eax, %cr0                     # out of long mode
    movl $0xc0000080, %ecx
    rdmsr
    andl $0xfffffeff, %eax
    wrmsr
.endm

/* From there to real mode, to the label `real` in `segment`, which is where real mode calls \selector. EAX
 * is lost. */
.macro ENTER_REAL_MODE selector
    ljmp $0x18, $(narrow\@ - segment)

    .code16
narrow\@:                               # 16-bit code of protected mode
    movw $0x20, %ax
    LOAD_SEGMENTS
    movl %cr0, %eax
    andl $0xfffffffe, %eax
    movl %eax, %cr0
    ljmp $\selector, $(real - segment)
.endm
