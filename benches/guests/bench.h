/* Makes one source a guest for this project's programs or, with -DQEMU, for QEMU. */

#ifdef QEMU

/* QEMU starts a kernel that has this note (XEN_ELFNOTE_PHYS32_ENTRY) in 32-bit protected mode
   without paging (Xen documentation, "x86/HVM direct boot ABI"). The measured instructions
   are the same in both modes. */
    .pushsection .note.Xen, "a", @note
    .balign 4
    .long 4, 4, 18
    .asciz "Xen"
    .long _start
    .popsection

/* QEMU does not exit at a halt; its debug exit device ends it with status (0 << 1) | 1. */
.macro END
    xorl %eax, %eax
    outb %al, $0xf4
    hlt
.endm

#else

.macro END
    cli
    hlt
.endm

#endif
