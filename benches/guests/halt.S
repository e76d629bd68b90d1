# halt: the end at once: how long the machine takes to come and go.

#include "bench.h"

    .text
    .globl _start
_start:
    xorl %eax, %eax
    END
