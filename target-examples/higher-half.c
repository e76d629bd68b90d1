/* higher-half: a kernel linked in the top 2 GiB of the address space (lib/higher-half.ld) and
   loaded at 1 MiB. The machine maps it at both.

   Run:   kvm higher-half.elf
   See:   addresses that begin with 0xffffffff80..., and a variable read through both mappings.
   Exit status 0; the result is 1 if the two mappings do not show the same memory. */
#include "serial.h"

#define HIGH_TO_LOW 0xffffffff80000000

static volatile uint64_t variable = 1;

uint64_t guest_main(void)
{
    uint64_t high = (uint64_t)&variable;
    uint64_t low = high - HIGH_TO_LOW;
    serial_print(COM1, "code at      ");
    serial_print_hex(COM1, (uint64_t)guest_main, 16);
    serial_print(COM1, "\nvariable at  ");
    serial_print_hex(COM1, high, 16);
    serial_print(COM1, "\nand also at  ");
    serial_print_hex(COM1, low, 16);
    variable = 0x1234;
    int same = *(volatile uint64_t *)low == 0x1234;
    serial_print(COM1, same ? "\nthe same memory\n" : "\nnot the same memory\n");
    return !same;
}
