# firmware-probe: firmware of 64 KiB that reports what it finds of ROM, shadow RAM, fw_cfg and resets. It waits for a byte
# at COM1 while RAM is hidden under ROM, then resets the machine once.
#
# Linked at 0xF0000 as a flat image (tests/guests/build).

#define COM1 0x3f8
#define PCI_ADDRESS 0xcf8
#define PCI_DATA 0xcfc
#define BIOS_ATTRIBUTES 0x59
#define READ_ROM_WRITE_RAM 0x20
#define READ_RAM 0x10
#define RAM 0x30
#define FLAG 0x500
#define FLAG_VALUE 0x5a17

        .code16
        .globl _start
_start:
start:  xor     %ax, %ax
        mov     %ax, %es
        mov     %ax, %ss
        mov     $0x7000, %sp
        mov     %cs, %ax
        mov     %ax, %ds
        cmpw    $FLAG_VALUE, %es:FLAG
        je      after_reset
        mov     $hello, %si
        call    print
        movb    $0x99, byte
        mov     $read_only, %si
        call    report

# What is executed is copied to the RAM below: reads reach ROM, writes RAM.
        mov     $READ_ROM_WRITE_RAM, %al
        call    set_attributes
        push    %ds
        pop     %es
        xor     %si, %si
        xor     %di, %di
        mov     $(end - start + 3) / 4, %cx
        cld
        rep movsl
        movb    $0x42, byte
        mov     $still_rom, %si
        call    report
        mov     $RAM, %al
        call    set_attributes
        mov     $written, %si
        call    report
        mov     $READ_RAM, %al
        call    set_attributes
        movb    $0x43, byte
        mov     $protected, %si
        call    report
        xor     %al, %al
        call    set_attributes
        mov     $rom_again, %si
        call    report

        mov     $configuration, %si
        call    print
        mov     $0x510, %dx
        xor     %ax, %ax
        out     %ax, %dx
        inc     %dx
        mov     $4, %cx
1:      in      %dx, %al
        call    put
        loop    1b
        mov     $newline, %si
        call    print

        mov     $waiting, %si
        call    print
        mov     $COM1 + 5, %dx
1:      in      %dx, %al
        test    $1, %al
        jz      1b
        mov     $COM1, %dx
        in      %dx, %al
        mov     $RAM, %al
        call    set_attributes
        mov     $kept, %si
        call    report

        xor     %ax, %ax
        mov     %ax, %es
        movw    $FLAG_VALUE, %es:FLAG
        mov     $0xcf9, %dx
        mov     $2, %al
        out     %al, %dx
        mov     $6, %al
        out     %al, %dx
1:      jmp     1b

after_reset:
        mov     $reset, %si
        call    report
        mov     $0xf4, %dx
        mov     $0x10, %al
        out     %al, %dx
        cli
        hlt

# Sets the attributes of the BIOS area to AL.
set_attributes:
        push    %eax
        mov     $0x80000000 + (BIOS_ATTRIBUTES & ~3), %eax
        mov     $PCI_ADDRESS, %dx
        out     %eax, %dx
        pop     %eax
        mov     $PCI_DATA + (BIOS_ATTRIBUTES & 3), %dx
        out     %al, %dx
        ret

# Prints the text at SI and the byte in hexadecimal.
report: call    print
        mov     byte, %al
        mov     %al, %ah
        shr     $4, %al
        call    digit
        mov     %ah, %al
        and     $0xf, %al
        call    digit
        mov     $newline, %si
print:  lodsb
        test    %al, %al
        jz      1f
        call    put
        jmp     print
1:      ret
digit:  add     $'0', %al
        cmp     $'9', %al
        jbe     put
        add     $'a' - '9' - 1, %al
put:    push    %dx
        mov     $COM1, %dx
        out     %al, %dx
        pop     %dx
        ret

hello:          .asciz "firmware of ours\n"
read_only:      .asciz "ROM after a write: "
still_rom:      .asciz "ROM while RAM is written: "
written:        .asciz "RAM: "
protected:      .asciz "write-protected RAM: "
rom_again:      .asciz "ROM again: "
configuration:  .asciz "configuration: "
waiting:        .asciz "waiting\n"
kept:           .asciz "RAM after it was hidden: "
reset:          .asciz "ROM after a reset: "
newline:        .asciz "\n"
byte:           .byte   0x77
        .p2align 2
end:
        .org    0xfff0
        ljmp    $0xf000, $(start - start)
        .org    0x10000, 0xff
