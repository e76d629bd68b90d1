/* modes: the guest enters 32-bit protected mode (GDT, CR0) and then long mode (CR4, CR3, EFER, CR0).

   Run:   kvm modes.bin
   See:   one line from each mode.
   Exit status 0; the result is 64. */
#include "flat.h"

#define PML4 0x10000                /* three tables, behind the stack */

    .code16
    .globl _start
_start:
    movw $in_real_mode, %si
    call print16
    ENTER_PROTECTED_MODE(protected)

protected:
    movl $in_protected_mode, %esi
    call print32
    movl $PML4 + 0x1007, PML4
    movl $PML4 + 0x2007, PML4 + 0x1000
    movl $0x87, PML4 + 0x2000       /* the first 2 MiB, in one page */
    movl $0x20, %eax                /* PAE */
    movl %eax, %cr4
    movl $PML4, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx          /* EFER: long mode */
    rdmsr
    orl $0x100, %eax
    wrmsr
    movl %cr0, %eax
    orl $0x80000000, %eax           /* paging */
    movl %eax, %cr0
    ljmpl $0x18, $long_mode

    .code64
long_mode:
    movl $in_long_mode, %esi
    call print64
    movl $64, %eax
    hlt

PRINT_FUNCTION(print64)
    .code32
PRINT_FUNCTION(print32)
    .code16
PRINT_FUNCTION(print16)

DESCRIPTORS
in_real_mode:      .asciz "16-bit real mode\n"
in_protected_mode: .asciz "32-bit protected mode\n"
in_long_mode:      .asciz "64-bit long mode\n"
