/* What the other processors of a Limine kernel execute until the kernel starts them (docs/boot-protocols.md): they
   sleep, and look every ten milliseconds whether `goto_address` of their `limine_mp_info` is set: more often would keep
   a slow host busy with processors that do nothing. Then the local APIC gets the state of a reset back, CR3 and the
   registers get the values that the protocol promises, and the kernel's function is entered.

   RDI: the `limine_mp_info`. RSI: the local APIC. RBX: the kernel's page tables. RSP: the stack, with 0 as the return
   address. The other general registers are 0, and interrupts are off. The tables that are loaded map only this page,
   the stacks and the local APIC. */

        .set    GOTO_ADDRESS, 16
        .set    EOI, 0xB0
        .set    SPURIOUS, 0xF0
        .set    REQUESTS, 0x210         /* vectors 0x20 to 0x3F */
        .set    TIMER, 0x320
        .set    INITIAL_COUNT, 0x380
        .set    DIVIDE, 0x3E0
        .set    VECTOR, 0x20            /* all gates lead to `tick` */

        .code64
        .globl  _start
_start: movl    $0x12F, SPURIOUS(%rsi)  /* enabled; vector 0x2F */
        movl    $0xB, DIVIDE(%rsi)      /* by 1 */
        movl    $0x20000 | VECTOR, TIMER(%rsi)  /* periodic */
        movl    $10000000, INITIAL_COUNT(%rsi)  /* a tick is a nanosecond */
look:   cli
        mov     GOTO_ADDRESS(%rdi), %rax
        test    %rax, %rax
        jnz     start
        sti
        hlt
        /* src/boot/limine/parking.rs recognises a processor that sleeps here by these bytes. */
        jmp     look
        .ascii  "kvm: this processor is parked\0"

start:  movl    $0x10000 | VECTOR, TIMER(%rsi)  /* masked */
        movl    $0, INITIAL_COUNT(%rsi)
        /* A tick that was requested before would reach the kernel. */
drain:  testl   $1, REQUESTS(%rsi)
        jz      drained
        sti
        hlt
        cli
        jmp     drain
drained:
        movl    $0x10000, TIMER(%rsi)
        movl    $0, DIVIDE(%rsi)
        movl    $0xFF, SPURIOUS(%rsi)
        mov     %rbx, %cr3
        push    %rax
        xor     %eax, %eax
        xor     %ebx, %ebx
        xor     %esi, %esi
        ret

        .balign 16
        .globl  tick
tick:   movl    $0, EOI(%rsi)
        iretq
