/* recursion: a function that calls itself, and a result in RAX. A guest for trying a debugger:
   set a breakpoint on `fibonacci` and list the frames.

   Run:   kvm recursion.elf
   See:   nothing on the screen; the run ends with the result 610, the 15th Fibonacci number.
   Exit status 0. */
#include <stdint.h>

__attribute__((noinline)) static uint64_t fibonacci(uint64_t n)
{
    if (n < 2)
        return n;
    return fibonacci(n - 1) + fibonacci(n - 2);
}

uint64_t guest_main(void)
{
    return fibonacci(15);
}
