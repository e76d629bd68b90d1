/* Clocks that the processor has, and the PM timer of ACPI. */
#ifndef CLOCKS_H
#define CLOCKS_H

#include "ports.h"

/* The PM timer counts with 24 bits. */
enum { PM_TIMER = 0x608, PM_TIMER_HZ = 3579545, PM_TIMER_MASK = 0xFFFFFF };

static inline uint32_t pm_timer(void)
{
    return read_port_dword(PM_TIMER) & PM_TIMER_MASK;
}

static inline uint64_t time_stamp(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

static inline void cpuid(uint32_t leaf, uint32_t out[4])
{
    __asm__ volatile("cpuid" : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3]) : "a"(leaf), "c"(0));
}

/* The frequency of the time stamp counter in kHz, as CPUID has it; 0 if it does not. */
static inline uint64_t told_khz(void)
{
    uint32_t out[4];
    cpuid(0x40000000, out);
    if (out[0] >= 0x40000010) {
        cpuid(0x40000010, out);
        return out[0];
    }
    cpuid(0, out);
    if (out[0] < 0x15)
        return 0;
    cpuid(0x15, out);
    return out[0] ? (uint64_t)out[2] * out[1] / out[0] / 1000 : 0;
}

#endif
