# post-and-e9: the two simplest debug outputs. A byte written to port 0x80 is a progress
# code (on a real PC a card with two digits shows it); a byte written to port 0xE9 is a character
# for the debug console.
#
# Run:   kvm --log-level debug post-and-e9.elf
# See:   "E9 works"; in the log, console.log, the codes 0x01, 0x02 and 0x03.
# Exit status 0; the result is the last code, 3.

    .set POST, 0x80
    .set DEBUG_CONSOLE, 0xe9

    .text
    .globl _start
_start:
    movb $1, %al
    outb %al, $POST

    leaq text(%rip), %rsi
    movl $text_length, %ecx
    movw $DEBUG_CONSOLE, %dx
    cld
    rep outsb

    movb $2, %al
    outb %al, $POST
    movl $3, %eax
    outb %al, $POST
    cli
    hlt

    .section .rodata
text:
    .ascii "E9 works\n"
    .set text_length, . - text
