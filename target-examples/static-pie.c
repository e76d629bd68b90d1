/* static-pie: a position-independent guest. It is linked at 0 and loaded at any free address;
   the table of pointers below only works if the loader has relocated it.

   Run:   kvm static-pie.elf
   See:   the load address of the guest, then three words found through the table.
   Exit status 0. */
#include "serial.h"

static const char *const table[] = { "relocated", "by the", "loader" };

/* Keeps the compiler from reading the table at build time. */
static const char *entry(int index)
{
    const char *const volatile *slot = table;
    return slot[index];
}

uint64_t guest_main(void)
{
    serial_print(COM1, "guest_main is at ");
    serial_print_hex(COM1, (uint64_t)guest_main, 16);
    for (int index = 0; index < 3; index++) {
        serial_put(COM1, index ? ' ' : '\n');
        serial_print(COM1, entry(index));
    }
    serial_put(COM1, '\n');
    return 0;
}
