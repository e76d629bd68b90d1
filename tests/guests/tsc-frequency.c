/* tsc-frequency: prints the frequency of the time stamp counter in kHz, as CPUID leaf 15H and leaf 40000010H tell it;
   0 if there is no such leaf. With the command line "again" it prints them again after each byte from COM1, until an
   end of transmission; with any other it waits for a second by this frequency. */
#include "serial.h"
#include "start_info.h"

static void cpuid(uint32_t leaf, uint32_t out[4])
{
    __asm__ volatile("cpuid" : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3]) : "a"(leaf), "c"(0));
}

static void print(uint64_t value)
{
    serial_print_hex(COM1, value, 16);
    serial_put(COM1, '\n');
}

static uint64_t counter(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

static uint64_t print_frequencies(void)
{
    uint32_t out[4];
    uint64_t hertz = 0, told = 0;
    cpuid(0, out);
    if (out[0] >= 0x15) {
        cpuid(0x15, out);
        if (out[0])
            hertz = (uint64_t)out[2] * out[1] / out[0];
    }
    cpuid(0x40000000, out);
    if (out[0] >= 0x40000010) {
        cpuid(0x40000010, out);
        told = out[0];
    }
    print(hertz / 1000);
    print(told);
    return hertz;
}

uint64_t guest_main(const struct start_info *info)
{
    const char *command_line = (const char *)info->command_line;
    uint64_t hertz = print_frequencies();
    if (*command_line == 'a') {
        while (serial_get(COM1) != 4)
            print_frequencies();
    } else if (*command_line) {
        for (uint64_t start = counter(); counter() - start < hertz;)
            ;
    }
    return 0;
}
