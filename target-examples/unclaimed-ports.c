/* unclaimed-ports: reads where no device answers: two ports, and an address in a device window
   (mapped, but neither RAM nor a device). The values are the same every time.

   Run:   kvm unclaimed-ports.elf
   See:   each address and the value read there. Ports 0x00-0x0F and the window read as zero.
   Exit status 0; the result is 1 if a second read gives another value or a write is stored. */
#include "serial.h"

static int read_twice(uint16_t port)
{
    uint8_t first = read_port(port);
    serial_print(COM1, "port ");
    serial_print_hex(COM1, port, 4);
    serial_print(COM1, " reads ");
    serial_print_hex(COM1, first, 2);
    serial_put(COM1, '\n');
    return read_port(port) == first;
}

uint64_t guest_main(void)
{
    volatile uint32_t *window = (volatile uint32_t *)0x0fe00000;
    int steady = read_twice(0x0008);
    steady &= read_twice(0x02e0);

    *window = 0x12345678;
    uint32_t value = *window;
    serial_print(COM1, "address ");
    serial_print_hex(COM1, (uint64_t)window, 8);
    serial_print(COM1, " reads ");
    serial_print_hex(COM1, value, 8);
    serial_put(COM1, '\n');
    return !(steady && value == 0);
}
