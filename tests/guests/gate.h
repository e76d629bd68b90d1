/* Puts the address of \handler into the interrupt gate at `gate`, and has the processor use `table`. RAX and
 * RDX are lost. */
.macro USE_GATE handler
    leaq \handler(%rip), %rax
    leaq gate(%rip), %rdx
    movw %ax, (%rdx)
    shrq $16, %rax
    movw %ax, 6(%rdx)
    lidt table(%rip)
.endm
