/* page-tables: a boot sector that builds page tables of its own, switches to long mode and stays there. The views of the
   page tables are compared with those of QEMU, which starts the same disk. */
#include "boot_sector.h"

#define TABLES 0x10000

        .code16
        .text
        .globl  _start
_start: start_at_0x7c00
        cli
        in      $0x92, %al              # A20
        or      $2, %al
        and     $0xfe, %al
        out     %al, $0x92

        mov     $(TABLES >> 4), %ax     # eight empty tables
        mov     %ax, %es
        xor     %di, %di
        mov     $0x4000, %cx
        xor     %ax, %ax
        cld
        rep stosw

        mov     $entries, %si           # each entry: its offset, its two halves
1:      lodsw
        cmp     $0xffff, %ax
        je      2f
        mov     %ax, %di
        movsl
        movsl
        jmp     1b

2:      lgdtl   gdt_register
        mov     %cr0, %eax
        or      $1, %al
        mov     %eax, %cr0
        ljmp    $0x10, $protected

        .code32
protected:
        mov     $0x20, %eax             # PAE
        mov     %eax, %cr4
        mov     $TABLES, %eax
        mov     %eax, %cr3
        mov     $0xc0000080, %ecx
        mov     $0x100, %eax            # LME
        xor     %edx, %edx
        wrmsr
        mov     %cr0, %eax
        or      $0x80000000, %eax
        mov     %eax, %cr0
        ljmp    $8, $long
        .code64
long:   jmp     long

        .balign 8
gdt:    .quad   0, 0x00af9b000000ffff, 0x00cf9b000000ffff
gdt_register:
        .word   23
        .long   gdt

        .macro  entry table, index, value
        .word   \table * 0x1000 + \index * 8
        .quad   \value
        .endm
entries:
        entry   0, 0, TABLES + 0x1007           /* tables 1 to 3: the lower half */
        entry   0, 256, TABLES + 0x4003         /* the upper half, without ring 3 */
        entry   1, 0, TABLES + 0x2007
        entry   2, 0, TABLES + 0x3007
        entry   2, 1, 0x200087                  /* large pages: one for ring 3, one that is cached otherwise, global */
        entry   2, 2, 0x40019b
        entry   2, 4, 0x800081                  /* read-only */
        entry   3, 7, 0x7003                    /* this code */
        entry   3, 8, 0x8007
        entry   3, 9, 0x9001
        entry   3, 10, 0xb001
        entry   3, 511, 0xfee0001b
        entry   4, 0, TABLES + 0x5003
        entry   5, 5, TABLES + 0x3003
        entry   5, 511, 0x2000e7
        .word   0xffff

        .org    510
        .word   0xaa55
