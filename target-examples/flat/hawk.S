/* hawk: writes to a port and to an address that no device of the machine has, and expects the value plus one from the
   port, minus one from the address. gdb can play the two devices. It is the demonstration of yakvm, a driver with
   which people learn AMD-V (docs/from-yakvm.md).

   Run:   kvm --load 0x1000 hawk.bin
   See:   nothing; the result is 255, which is what an unassigned port reads as.
   Or:    kvm --load 0x1000 --symbols hawk.sym --gdb hawk.bin, and in another terminal
          gdb -batch -ex 'target remote :1234' -x ../../target-examples/flat/hawk.gdb
   See:   each access, in gdb; the result is 2, the last answer.
   Exit status 0. */

#define PORT 0x1e0
/* The first byte behind RAM of 1 MiB. */
#define SEGMENT 0xffff
#define OFFSET 0x10

    .code16
    .globl _start
_start:
    movw $PORT, %dx
    movb $1, %al
    outb %al, %dx
port_written:
    inb %dx, %al
port_read:
    cmpb $2, %al
    jne done
    movw $SEGMENT, %cx
    movw %cx, %ds
    movl $OFFSET, %edx
    movb $3, %al
    movb %al, (%edx)
register_written:
    movb (%edx), %al
register_read:
done:
    movzbl %al, %eax
    hlt
