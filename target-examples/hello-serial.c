/* hello-serial: the shortest useful guest. It prints a line on the first serial port.

   Run:   kvm hello-serial.elf
   See:   Hello from the bare metal!
   Exit status 0: guest_main returns, lib/start.S halts the CPU with the result 0 in RAX. */
#include "serial.h"

uint64_t guest_main(void)
{
    serial_print(COM1, "Hello from the bare metal!\n");
    return 0;
}
