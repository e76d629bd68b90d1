/* wild-pointer: reads far above the end of RAM. Nothing is mapped there, so the read is a page
   fault; the guest has no handler for it, so it ends in a triple fault.

   Run:   kvm wild-pointer.elf
   See:   a line before the read, none after it, and a report of the triple fault with CR2 at
          0x700000000000.
   Exit status 8. */
#include "serial.h"

uint64_t guest_main(void)
{
    serial_print(COM1, "Reading at 0x700000000000 ...\n");
    uint64_t value = *(volatile uint64_t *)0x700000000000;
    serial_print(COM1, "The read came back. It should not have.\n");
    return value;
}
