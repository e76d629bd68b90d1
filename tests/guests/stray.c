/* stray: makes the access of a wild pointer that the command line names: null-read, null-write,
   code-write, data-call or stack-overflow. The result is 7 if the machine permits it. */
#include "serial.h"
#include "start_info.h"

enum { BOOT_STACK = 64 << 10 };

static char data_that_is_code[] = { (char)0xc3 }; /* ret */

static int same(const char *one, const char *other)
{
    while (*one && *one == *other) {
        one++;
        other++;
    }
    return *one == *other;
}

/* Hidden from the compiler, which would take the use of such a pointer for unreachable. */
static volatile uint8_t *pointer(uint64_t address)
{
    __asm__("" : "+r"(address));
    return (volatile uint8_t *)address;
}

uint64_t guest_main(const struct start_info *info)
{
    const char *way = info && info->command_line ? (const char *)info->command_line : "";
    if (same(way, "null-read"))
        *pointer(8);
    else if (same(way, "null-write"))
        *pointer(8) = 1;
    else if (same(way, "code-write"))
        *pointer((uint64_t)guest_main) = *pointer((uint64_t)guest_main);
    else if (same(way, "data-call"))
        ((void (*)(void))(uint64_t)pointer((uint64_t)data_that_is_code))();
    else if (same(way, "stack-overflow"))
        /* This function's frame is at the top of the stack, so this is just below its end. */
        pointer((uint64_t)__builtin_frame_address(0) - BOOT_STACK)[0] = 0;
    else
        return 1;
    return 7;
}
