/* hello: output on the serial port in real mode.

   Run:   kvm hello.bin
   See:   Hello, KVM!
   Exit status 0. */
    .code16
    .globl _start
_start:
    movw $message, %si
    movw $0x3f8, %dx
next:
    lodsb
    testb %al, %al
    jz done
    outb %al, %dx
    jmp next
done:
    hlt

message:
    .asciz "Hello, KVM!\n"
