# halt: ends at once: the time to start and to end a machine.

#include "bench.h"

    .text
    .globl _start
_start:
    xorl %eax, %eax
    END
