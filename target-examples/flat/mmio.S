/* mmio: a memory-mapped device, the HPET. The guest enters protected mode to reach its registers.

   Run:   kvm mmio.bin
   See:   the time goes on
   Exit status 0; the result is the length of a tick in femtoseconds, 10000000. */
#include "flat.h"

#define HPET 0xfed00000

    .code16
    .globl _start
_start:
    ENTER_PROTECTED_MODE(protected)

protected:
    movl $1, HPET + 0x10            /* configuration: the counter runs */
    movl HPET + 0xf0, %ebx
1:  pause
    cmpl HPET + 0xf0, %ebx
    je 1b
    movl $text, %esi
    call print
    movl HPET + 4, %eax             /* capabilities, upper half: the period */
    hlt

PRINT_FUNCTION(print)
DESCRIPTORS
text: .asciz "the time goes on\n"
