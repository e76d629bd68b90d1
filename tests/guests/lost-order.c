/* lost-order: writes through a null pointer in a function with arguments, local and global variables, for a debugger
 * that looks at the memory afterwards. */

#include <stdint.h>

struct order {
    unsigned number;
    char name[8];
};

struct order first_order = {42, "late"};

__attribute__((noinline)) static void ship(struct order *order, struct order *to)
{
    volatile unsigned copies = order->number + 1;
    while (copies > 40)
        copies -= 1;
    *(volatile unsigned *)&to->number = copies;
    __asm__ volatile("" : : "r"(order), "r"(to) : "memory");
}

uint64_t guest_main(void)
{
    ship(&first_order, 0);
    return first_order.number;
}
