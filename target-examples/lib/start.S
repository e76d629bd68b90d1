# Where a C guest begins. The machine has set up everything C needs: 64-bit mode, a stack, zeroed
# .bss. RDI holds the address of the start info (start_info.h) and so is guest_main's argument.

    .section .text.start, "ax"
    .globl _start
    .type _start, @function
_start:
    xorl %ebp, %ebp             # no caller: debuggers end the list of frames here
    call guest_main             # leaves its result in RAX
stop:
    cli                         # hlt with interrupts off: nothing can wake the CPU, the run ends
    hlt
    jmp stop
    .size _start, . - _start
