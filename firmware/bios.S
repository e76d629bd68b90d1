/* The ROM of the machine's own BIOS: 8 KiB at F000:E000, the top of the first MiB.
 *
 * It has no services of its own. An entry point pushes ES and the number of the interrupt and writes to port
 * 0xBF; the supervisor answers (src/bios): it changes registers and memory, the frame on the stack included:
 *
 *     SS:SP + 0   number of the interrupt
 *           + 2   ES
 *           + 4   IP, CS and FLAGS of the caller, as INT has pushed them
 *
 * Behind the write, CF says how to go on: clear, return to the caller; set, wait for an interrupt and ask again.
 *
 * Entry points and tables that programs know by their addresses are where the IBM PC AT has them (IBM Personal
 * Computer AT Technical Reference, "ROM BIOS"). firmware/build makes src/bios/rom.bin of this file.
 */

#define PORT 0xbf
/* Numbers that are no interrupts, see src/bios/mod.rs. */
#define POST 0xfe

    .code16
    .text
    .globl _start
_start:

    .macro AT offset
    .org \offset - 0xe000
    .endm

    .macro ENTRY name, number
\name:
    pushw %es
    pushw $\number
    jmp service
    .endm

    /* Calls the supervisor and goes on here. CF is its answer. */
    .macro ASK number
    pushw %es
    pushw $\number
    outb %al, $PORT
    popw %es                    # POP leaves the flags alone
    popw %es
    .endm

    .ascii "kvm BIOS"

    AT 0xe010
service:
    outb %al, $PORT
    jc 1f
    popw %es
    popw %es
    iretw
1:  sti
    hlt                         # no interrupt comes between STI and HLT
    cli
    jmp service

    /* Exceptions that would be raised again if they returned. */
    ENTRY divide_error, 0x00
    ENTRY invalid_opcode, 0x06
    ENTRY no_coprocessor, 0x07

    AT 0xe05b
post:
    cli
    cld
    xorw %ax, %ax
    movw %ax, %ss
    movw %ax, %ds
    movw %ax, %es
    movw $0x7c00, %sp
    ASK POST
    jnc 1f
    call controllers
1:  int $0x19
    jmp int_18

    AT 0xe2c3
int_02:
    iretw

    /* Interrupts of devices that nothing handles. */
master_interrupt:
    pushw %ax
    jmp end_of_master

slave_interrupt:
    pushw %ax
    jmp end_of_slave

    /* IRQ 9 is what IRQ 2 was on the IBM PC. */
int_71:
    pushw %ax
    movb $0x20, %al
    outb %al, $0xa0
    popw %ax
    int $0x0a
    iretw

    /* The coprocessor's error. */
int_75:
    pushw %ax
    xorb %al, %al
    outb %al, $0xf0
    movb $0x20, %al
    outb %al, $0xa0
    outb %al, $0x20
    popw %ax
    int $0x02
    iretw

    /* The clock. */
int_70:
    pushw %ax
    ASK 0x70
    jnc end_of_slave
    int $0x4a                   # the alarm
end_of_slave:
    movb $0x20, %al
    outb %al, $0xa0
end_of_master:
    movb $0x20, %al
    outb %al, $0x20
    popw %ax
    iretw

    ENTRY int_18, 0x18

    /* Programs the PICs and the interval timer, where they are KVM's: as the supervisor does otherwise. */
controllers:
    movw $table, %si
1:  lodsw %cs:(%si), %ax        # port and value
    testb %al, %al
    jz 2f
    movzbw %al, %dx
    movb %ah, %al
    outb %al, %dx
    jmp 1b
2:  ret
table:
    .byte 0x20, 0x11, 0x21, 0x08, 0x21, 0x04, 0x21, 0x01    # vectors 8 to F
    .byte 0xa0, 0x11, 0xa1, 0x70, 0xa1, 0x02, 0xa1, 0x01    # vectors 70 to 77
    .byte 0x21, 0xf8, 0xa1, 0xfe    # timer, keyboard, slave; clock
    .byte 0x43, 0x36, 0x40, 0, 0x40, 0    # 18.2 interrupts a second
    .byte 0

    AT 0xe3fe
    ENTRY int_13, 0x13

    AT 0xe6f2
int_19:
    jmp boot

    AT 0xe6f5
configuration:                  # INT 15h, AH = C0h
    .word 8
    .byte 0xfc, 0, 0            # PC AT
    .byte 0x74                  # second PIC, clock, INT 15h on a key, EBDA
    .byte 0, 0, 0, 0

    AT 0xe739
    ENTRY int_14, 0x14

    AT 0xe82e
    ENTRY int_16, 0x16

    AT 0xe987
int_09:
    pushw %ax
    inb $0x60, %al
    movb $0x4f, %ah
    stc
    int $0x15                   # a program may change the scan code, or take it
    jnc 1f
    ASK 0x09
1:  jmp end_of_master

    AT 0xec59
    ENTRY int_40, 0x40

    /* INT 19h loads the boot sector. It returns to it, with the stack below it. */
boot:
    cli
    xorw %ax, %ax
    movw %ax, %ss
    movw $0x7c00, %sp
    movw %ax, %ds
    movw %ax, %es
    pushw $0x0202
    pushw %ax
    pushw $0x7c00
    ENTRY load_boot_sector, 0x19

    AT 0xef57
int_0e:
    pushw %ax
    jmp end_of_master

    AT 0xefc7
diskette_parameters:            # INT 1Eh
    .byte 0xaf, 0x02, 0x25, 0x02, 0x12, 0x1b, 0xff, 0x6c, 0xf6, 0x0f, 0x08

    AT 0xefd2
    ENTRY int_17, 0x17

    AT 0xf065
    ENTRY int_10, 0x10

    AT 0xf0a4
video_parameters:               # INT 1Dh: what programs for CRT controllers of 1981 set
    .byte 0x38, 0x28, 0x2d, 0x0a, 0x1f, 0x06, 0x19, 0x1c, 0x02, 0x07, 0x06, 0x07, 0, 0, 0, 0
    .byte 0x71, 0x50, 0x5a, 0x0a, 0x1f, 0x06, 0x19, 0x1c, 0x02, 0x07, 0x06, 0x07, 0, 0, 0, 0
    .byte 0x38, 0x28, 0x2d, 0x0a, 0x7f, 0x06, 0x64, 0x70, 0x02, 0x01, 0x06, 0x07, 0, 0, 0, 0
    .byte 0x61, 0x50, 0x52, 0x0f, 0x19, 0x06, 0x19, 0x19, 0x02, 0x0d, 0x0b, 0x0c, 0, 0, 0, 0

    AT 0xf841
    ENTRY int_12, 0x12

    AT 0xf84d
    ENTRY int_11, 0x11

    AT 0xf859
    ENTRY int_15, 0x15

    AT 0xfe6e
    ENTRY int_1a, 0x1a

    AT 0xfea5
int_08:
    ASK 0x08
    pushw %ds
    pushw %ax
    pushw %dx
    movw $0x40, %ax
    movw %ax, %ds
    int $0x1c
    popw %dx
    popw %ax
    popw %ds
    pushw %ax
    jmp end_of_master

    AT 0xff53
ignored_interrupt:
    iretw

    AT 0xfff0
    ljmpw $0xf000, $post
    .ascii "11/29/26"
    .byte 0, 0xfc, 0            # PC AT
