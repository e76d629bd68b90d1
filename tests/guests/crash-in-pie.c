/* crash-in-pie: a position-independent guest that ends in a triple fault: in a function of its own, or,
 * with any command line, in code it has written to 0x900000, outside of any function. */

#include <stdint.h>

#include "start_info.h"

__attribute__((noinline, used)) static void fall_down(void)
{
    __asm__ volatile("ud2");
}

uint64_t guest_main(const struct start_info *info)
{
    if (*(const char *)info->command_line) {
        volatile uint16_t *code = (uint16_t *)0x900000;
        *code = 0x0b0f;
        ((void (*)(void))code)();
    }
    fall_down();
    return 0;
}
