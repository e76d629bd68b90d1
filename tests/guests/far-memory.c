/* far-memory: writes to memory of a large machine that was not accessed before, across the end of a page.
 * The result is 1 if both halves of the value are in memory afterwards. */

#include <stdint.h>

#include "start_info.h"

#define FAR 0x30000000

uint64_t guest_main(const struct start_info *info)
{
    (void)info;
    volatile uint64_t *across = (uint64_t *)(FAR + 0xffc);
    *across = 0x1122334455667788;
    return *(volatile uint32_t *)(FAR + 0xffc) == 0x55667788
        && *(volatile uint32_t *)(FAR + 0x1000) == 0x11223344;
}
