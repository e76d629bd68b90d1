# uart-probe: asks COM1 what kind of UART it is, as drivers do, and prints every answer to port 0xE9. Everything that
# is asked has one answer on a 16550A, and the same on QEMU, which starts this file, too:
#
#   qemu-system-x86_64 -M microvm,isa-serial=on -accel tcg -nodefaults -display none -serial null -debugcon stdio \
#       -device isa-debug-exit -kernel uart-probe.elf
#
# Run:   kvm --serial 1=null uart-probe.elf
# See:   one line for each question, as in tests/guests/uart-probe.txt.
# Exit status 0.
#
# The questions are a table. Its interpreter is assembled twice: for 32-bit protected mode without paging, in which kvm
# and QEMU start a guest with a PVH note, and for 64-bit mode, in which `kvm --boot elf64` does.

    .set COM1, 0x3f8
    .set DEBUG_CONSOLE, 0xe9
    .set DEBUG_EXIT, 0x501          # QEMU's default; nothing is there elsewhere

    # Registers of the UART.
    .set DATA, 0
    .set IER, 1
    .set IIR, 2
    .set FCR, 2
    .set LCR, 3
    .set MCR, 4
    .set LSR, 5
    .set MSR, 6
    .set SCR, 7

# --- The table -------------------------------------------------------------------------------------------------------

# Prints \text.
.macro TEXT text
    .byte 1, 9f - 8f
8:  .ascii "\text"
9:
.endm

# Writes \value to a register, then \value + 1, and so on.
.macro W register, value, count=1
    .byte 2, \register, \count, \value
.endm

# Reads a register \count times and prints each value.
.macro R register, count=1, mask=0xff
    .byte 3, \register, \count, \mask
.endm

# Reads a register until it is \value, but not for ever, and prints what it is then.
.macro UNTIL register, value
    .byte 4, \register, \value
.endm

# Reads and writes registers at random, \rows times 16.
.macro RANDOM rows
    .byte 5, \rows
.endm

# Starts a line with the UART in a known state: 8N1, FIFOs off and empty, no interrupt enabled, no loop-back, and a
# baud rate at which no character time-out comes.
.macro LINE text
    TEXT "\n\text:"
    W LCR, 0x83
    W DATA, 0xff
    W IER, 0xff
    W LCR, 0x03
    W IER, 0
    W FCR, 1
    W FCR, 0
    W MCR, 0
    .byte 6
.endm

# Sets the baud rate.
.macro DIVISOR low, high
    W LCR, 0x83
    W DATA, \low
    W IER, \high
    W LCR, 0x03
.endm

    .section .rodata
table:
    TEXT "16550 probe"
    LINE "idle"
    R LSR
    R IIR
    R MSR, 1, 0xf0
    R MCR
    R LCR
    R IER
    LINE "bits that exist"
    .irp register, IER, MCR, SCR
    .irp value, 0xff, 0x55, 0xaa, 0x00
    W \register, \value
    R \register
    .endr
    .endr
    .irp value, 0x7f, 0x55, 0x2a, 0x03
    W LCR, \value
    R LCR
    .endr
    LINE "status registers are read only"
    W LSR, 0xff
    W MSR, 0xff
    R LSR
    R MSR, 1, 0xf0
    LINE "divisor latch"
    W IER, 0x05
    W LCR, 0x83
    W DATA, 0x34
    W IER, 0x12
    R DATA
    R IER
    R LCR
    W LCR, 0x03
    R IER
    LINE "FIFO bits"
    .irp value, 0x00, 0x01, 0xc1, 0xc0, 0x07, 0x0f, 0x06
    W FCR, \value
    R IIR
    .endr
    LINE "transmitter interrupt"
    W IER, 0x02
    R IIR, 2
    W DATA, 'x'
    R IIR, 2
    W IER, 0x00
    W DATA, 'y'
    R IIR
    W IER, 0x02
    R IIR, 2
    W FCR, 0x01
    R IIR, 2
    W FCR, 0x05
    R IIR, 2
    W FCR, 0x03
    R IIR, 2
    LINE "modem lines in loop-back"
    .irp outputs, 0x10, 0x11, 0x12, 0x14, 0x18, 0x1a, 0x15, 0x1f
    W MCR, \outputs
    R MSR, 1, 0xf0
    .endr
    W MCR, 0x0f
    R MSR, 1, 0xf0
    LINE "one character without FIFO"
    W MCR, 0x10
    W IER, 0x04
    W DATA, 0xa5
    R LSR
    R IIR
    R DATA
    R LSR
    W DATA, 0x11, 2
    R IIR
    R LSR, 2
    R IIR
    R DATA, 2
    R LSR
    LINE "depth of the FIFO"
    W FCR, 0x01
    W MCR, 0x10
    .rept 18
    W DATA, 0x55
    R LSR
    .endr
    LINE "a full FIFO keeps its contents"
    W FCR, 0x01
    W MCR, 0x10
    W DATA, 0x20, 20
    R LSR, 2
    R DATA, 17
    R LSR
    .irp trigger, 0x01, 0x41, 0x81, 0xc1
    LINE "trigger level"
    W FCR, \trigger
    W MCR, 0x10
    W IER, 0x01
    .rept 16
    W DATA, 0
    R IIR
    .endr
    TEXT " |"
    .rept 16
    R DATA
    R IIR
    .endr
    .endr
    LINE "priority"
    W FCR, 0x41
    W MCR, 0x10
    W IER, 0x07
    W DATA, 0, 17
    R IIR
    R LSR
    R IIR
    W FCR, 0x43
    R IIR, 2
    LINE "only enabled sources"
    W FCR, 0x01
    W MCR, 0x10
    W DATA, 0, 17
    .irp enabled, 0x00, 0x01, 0x02, 0x04, 0x03, 0x05, 0x06, 0x07
    W IER, \enabled
    R IIR
    .endr
    LINE "clearing the FIFO"
    W MCR, 0x10
    W FCR, 0x01
    W DATA, 1, 3
    W FCR, 0x05
    R LSR
    W FCR, 0x03
    R LSR
    W DATA, 1, 3
    W FCR, 0x00
    R LSR
    W DATA, 1
    W FCR, 0x01
    R LSR
    LINE "character time-out"
    W MCR, 0x10
    W FCR, 0xc1
    W IER, 0x01
    W DATA, 1, 2
    R IIR, 2
    DIVISOR 1, 0
    W DATA, 3
    UNTIL IIR, 0xcc
    DIVISOR 0xff, 0xff
    W DATA, 4
    R IIR
    W IER, 0x00
    R IIR
    W IER, 0x01
    R IIR
    R DATA
    R IIR
    R DATA, 3
    R IIR
    LINE "leaving loop-back"
    W MCR, 0x10
    W DATA, 0x7e
    W MCR, 0x00
    R LSR
    R DATA
    R LSR
    LINE "at random"
    RANDOM 64
    TEXT "\n"
    .byte 0

# --- The interpreter -------------------------------------------------------------------------------------------------

.macro INTERPRETER mode
    movl $stack, %esp
    movl $table, %esi
    movl $1, %edi                   # the last random number
    cld
next\mode:
    lodsb
    decb %al
    jz text\mode
    decb %al
    jz write\mode
    decb %al
    jz read\mode
    decb %al
    jz until\mode
    decb %al
    jz random\mode
    decb %al
    jnz end\mode
    # What a line leaves in the receiver and in the status registers.
    movl $COM1 + LSR, %edx
    inb %dx, %al
    incl %edx
    inb %dx, %al
    movl $COM1 + IIR, %edx
    inb %dx, %al
    jmp next\mode

text\mode:
    lodsb
    movzbl %al, %ecx
1:  lodsb
    outb %al, $DEBUG_CONSOLE
    loop 1b
    jmp next\mode

write\mode:
    call operands\mode
    lodsb
1:  outb %al, %dx
    incb %al
    loop 1b
    jmp next\mode

read\mode:
    call operands\mode
    lodsb
    movb %al, %bh
1:  inb %dx, %al
    andb %bh, %al
    call print\mode
    loop 1b
    jmp next\mode

until\mode:
    lodsb
    movzbl %al, %edx
    addl $COM1, %edx
    lodsb
    movb %al, %bh
    movl $1000000, %ecx
1:  inb %dx, %al
    cmpb %bh, %al
    loopne 1b
    call print\mode
    jmp next\mode

# A linear congruential generator. LCR is left alone, and the UART is in loop-back after the first write to MCR. The
# changes in MSR, which QEMU does not report there, are not printed, and their interrupt is not enabled.
random\mode:
    lodsb
    movzbl %al, %ebp
    shll $4, %ebp
2:  testl $15, %ebp
    jnz 3f
    movb $'\n', %al
    outb %al, $DEBUG_CONSOLE
3:  imull $1103515245, %edi, %edi
    addl $12345, %edi
    movl %edi, %eax
    shrl $16, %eax
    movl %eax, %edx
    andl $7, %edx
    cmpl $LCR, %edx
    jne 5f
    xorl %edx, %edx                 # DATA
5:  movl %edx, %ecx
    addl $COM1, %edx
    testl $0x18, %eax
    jz 4f
    shrl $8, %eax
    cmpl $MCR, %ecx
    jne 5f
    orb $0x10, %al
5:  cmpl $IER, %ecx
    jne 5f
    andb $7, %al
5:  outb %al, %dx
    jmp 6f
4:  movb %cl, %bl
    movb $' ', %al
    outb %al, $DEBUG_CONSOLE
    movb %bl, %al
    call digit\mode
    inb %dx, %al
    cmpl $MSR, %ecx
    jne 5f
    andb $0xf0, %al
5:  call print\mode
6:  decl %ebp
    jnz 2b
    jmp next\mode

# Register (as a port in EDX) and count (in ECX).
operands\mode:
    lodsb
    movzbl %al, %edx
    addl $COM1, %edx
    lodsb
    movzbl %al, %ecx
    ret

# A blank and AL in hexadecimal.
print\mode:
    movb %al, %bl
    movb $' ', %al
    outb %al, $DEBUG_CONSOLE
    movb %bl, %al
    shrb $4, %al
    call digit\mode
    movb %bl, %al
    andb $15, %al
digit\mode:
    cmpb $10, %al
    jb 1f
    addb $'A' - '0' - 10, %al
1:  addb $'0', %al
    outb %al, $DEBUG_CONSOLE
    ret

end\mode:
    xorl %eax, %eax
    movl $DEBUG_EXIT, %edx
    .if \mode == 32
    outb %al, %dx
    .endif
    cli
    hlt
    jmp end\mode
.endm

    .text
    .code64
    .globl _start
_start:
    INTERPRETER 64

    .code32
start_32:
    INTERPRETER 32

    .section .note.Xen, "a", @note
    .balign 4
    .long 4, 8, 18
    .asciz "Xen"
    .quad start_32

    .bss
    .balign 16
    .skip 256
stack:
