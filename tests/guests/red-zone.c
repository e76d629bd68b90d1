/* red-zone: built without -mno-red-zone, although it has a handler of interrupts. Only inspected, never run. */

#include <stdint.h>

__attribute__((naked, used)) static void handler(void)
{
    __asm__("iretq");
}

__attribute__((noipa)) uint64_t leaf(uint64_t value)
{
    volatile uint64_t below = value;
    return below + 1;
}

uint64_t guest_main(void)
{
    return leaf(41);
}
