# magic-break: stops itself in a debugger as guests do in Bochs: by `xchg %bx, %bx`, and by port 0x8A00,
# three times each. The same bytes in a constant and in data mean nothing.
#
# Run:   kvm --magic-break --gdb-nowait --console magic-break.elf
# See:   it stops; `kvm console`, `resume` six times: result 3. Without --magic-break it does not stop.

    .set DEBUGGER_PORT, 0x8a00
    .set ENABLE, 0x8a00
    .set STOP, 0x8ae0

    .text
    .globl _start
_start:
    xor %ebx, %ebx
again:
    inc %ebx
    call magic
    call by_port
    cmpl $0xdb8766, data(%rip)  # the bytes 66 87 db, in memory and in the instruction
    jne changed
    cmp $3, %ebx
    jb again
    mov %rbx, %rax
    hlt

changed:
    mov $0xbad, %eax
    hlt

    .type magic, @function
magic:
    xchg %bx, %bx
    ret

    .type by_port, @function
by_port:
    mov $DEBUGGER_PORT, %edx
    mov $ENABLE, %eax
    outw %ax, %dx
    mov $STOP, %eax
    outw %ax, %dx
    ret

    .type data, @object
data:
    .byte 0x66, 0x87, 0xdb, 0
    .size data, . - data
