# Where a C guest for a Multiboot loader begins, with its header: of version 2 if MULTIBOOT2 is
# defined, else of version 1 (Multiboot 0.6.96, 3.1; Multiboot2 2.0, 3.1). The processor is in 32-bit
# protected mode, and there is no stack yet. guest_main gets EAX and EBX: the magic number and the
# address of the boot information.

    .section .multiboot, "a"
    .balign 8
#ifdef MULTIBOOT2
header:
    .long 0xe85250d6                    # magic
    .long 0                             # 32-bit protected mode of i386
    .long header_end - header
    .long -(0xe85250d6 + 0 + (header_end - header))
    .short 1, 0                         # information request, not optional
    .long 8 + 4 * 6
    .long 1, 3, 4, 6, 8, 9              # command line, modules, memory, memory map, screen, sections
    .short 4, 1                         # console flags
    .long 12
    .long 3                             # a console is required, and EGA text is supported
    .balign 8
    .short 6, 0                         # modules at pages
    .long 8
    .short 0, 0                         # end
    .long 8
header_end:
#else
    .long 0x1badb002                    # magic
    .long 3                             # modules at pages, memory information
    .long -(0x1badb002 + 3)
#endif

    .text
    .globl _start
    .type _start, @function
_start:
    movl $stack_top, %esp
    xorl %ebp, %ebp                     # no caller: debuggers end the list of frames here
    pushl %ebx
    pushl %eax
    call guest_main                     # leaves its result in EAX
stop:
    cli                                 # hlt with interrupts off: nothing can wake the CPU, the run ends
    hlt
    jmp stop
    .size _start, . - _start

    .bss
    .balign 16
stack_bottom:
    .skip 16384
stack_top:
