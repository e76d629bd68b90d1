/* hypercall: asks `kvm` for services by writing to ports. docs/boot-protocols.md lists them. `vmcall` would not do: on
   most hosts KVM answers it itself.

   Run:   kvm --debugcon stdio hypercall.bin
   See:   a line that came through the debug console.
   Exit status 43, which is 2 * 21 + 1: the guest ends its run with the value 21. */
    .code16
    .globl _start
_start:
    movb $0x21, %al
    outb %al, $0x80                 # a progress code, for the log
    movw $message, %si
next:
    lodsb
    testb %al, %al
    jz end_of_text
    outb %al, $0xe9                 # a character for the debug console
    jmp next
end_of_text:
    movb $21, %al
    outb %al, $0xf4                 # the end of the run, with this value
    hlt

message:
    .asciz "printed by a hypercall\n"
