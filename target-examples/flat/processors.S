/* processors: the first processor starts the others, which begin in real mode and count themselves.

   Run:   kvm --cpus 3 processors.bin
   See:   3 processors run
   Exit status 0; the result is their number. */
#include "flat.h"

#define LOCAL_APIC 0xfee00000
#define COMMAND    (LOCAL_APIC + 0x300)

    .code16
    .globl _start
_start:
    movb $0x5f, %al                 # CMOS register 0x5F: how many other processors there are
    outb %al, $0x70
    inb $0x71, %al
    movb %al, others
    ENTER_PROTECTED_MODE(protected)

    .code32
protected:
    cmpb $0, others
    je all_run
    movl $0x000c4500, COMMAND       /* INIT to all others */
    movl $0x000c4602, COMMAND       /* start-up, at page 2 */
wait:
    inb $0x80, %al                  # about a microsecond on a PC
    movzbl others, %eax
    cmpw %ax, started
    jne wait
all_run:
    movl $text, %esi
    movzwl started, %eax
    incl %eax
    addb %al, (%esi)
    movl %eax, %ebx
    call print
    movl %ebx, %eax
    hlt

PRINT_FUNCTION(print)
DESCRIPTORS
text:    .asciz "0 processors run\n"
started: .word 0
others:  .byte 0

    .org 0x2000                     /* where the other processors begin, with CS 0x200 */
    .code16
    lock incw started
    cli
    hlt
