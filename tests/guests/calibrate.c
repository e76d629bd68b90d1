/* calibrate: measures the frequency of the time stamp counter with counter 2 of the PIT, as kernels do: it counts 50 ms
   down, and bit 5 of port 0x61 says when they are over. Of five measurements the shortest counts, since the guest may
   not have been running meanwhile. The result is the difference to the frequency that CPUID has, in millionths; the
   output has both in kHz. */
#include "clocks.h"
#include "serial.h"

enum { PIT_HZ = 1193182, PER_SECOND = 20, TRIES = 5 };

static uint64_t measure(void)
{
    uint16_t count = PIT_HZ / PER_SECOND;
    write_port(0x61, (read_port(0x61) & ~2) | 1); /* gate on, speaker off */
    write_port(0x43, 0xB0);                       /* counter 2, both bytes, mode 0 */
    write_port(0x42, count & 0xFF);
    write_port(0x42, count >> 8);
    uint64_t start = time_stamp();
    while (!(read_port(0x61) & 0x20))
        ;
    return time_stamp() - start;
}

uint64_t guest_main(void)
{
    uint64_t told = told_khz(), least = -1ull;
    for (int i = 0; i < TRIES; i++) {
        uint64_t cycles = measure();
        if (cycles < least)
            least = cycles;
    }
    uint64_t measured = least * PER_SECOND / 1000;
    serial_print(COM1, "measured ");
    serial_print_decimal(COM1, measured);
    serial_print(COM1, ", told ");
    serial_print_decimal(COM1, told);
    serial_print(COM1, "\n");
    if (!told)
        return -1ull;
    uint64_t difference = measured > told ? measured - told : told - measured;
    return difference * 1000000 / told;
}
