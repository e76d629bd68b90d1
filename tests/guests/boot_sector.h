/* What the boot sectors of the tests share: 16-bit code that is loaded at 0x7C00 by a BIOS. */
#define COM1 0x3f8

/* CS, DS and SS are 0, and the stack is below the boot sector. */
        .macro  start_at_0x7c00
        ljmp    $0, $1f
1:      xor     %ax, %ax
        mov     %ax, %ds
        mov     %ax, %ss
        mov     $0x7c00, %sp
        .endm

/* Ends the run with 0x10 at the debug exit port. */
        .macro  end_run
        mov     $0xf4, %dx
        mov     $0x10, %al
        out     %al, %dx
        cli
        hlt
        .endm

/* The routine `print`: sends the string at SI to COM1. */
        .macro  print_routine
print:  lodsb
        test    %al, %al
        jz      1f
        mov     $COM1, %dx
        out     %al, %dx
        jmp     print
1:      ret
        .endm
