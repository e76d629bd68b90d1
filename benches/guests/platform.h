/* For guests that measure themselves by the time stamp counter: what they have counted goes to COM1, a line each. */
#ifndef PLATFORM_H
#define PLATFORM_H

#include "interrupts.h"
#include "serial.h"

static inline uint64_t cycles(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

static inline volatile uint32_t *local_apic(uint32_t offset)
{
    return (volatile uint32_t *)(0xFEE00000ull + offset);
}

enum { APIC_EOI = 0xB0, APIC_SPURIOUS = 0xF0, APIC_COMMAND = 0x300, APIC_TIMER = 0x320, APIC_COUNT = 0x380,
       APIC_DIVISOR = 0x3E0, APIC_PERIODIC = 1 << 17, APIC_MASKED = 1 << 16, APIC_SELF = 1 << 18 };

/* Switches the local APIC on; its timer counts nanoseconds. */
static inline void local_apic_setup(void)
{
    *local_apic(APIC_SPURIOUS) = 0x1FF;
    *local_apic(APIC_DIVISOR) = 0xB;
}

/* `count` of something took `time` cycles. */
static inline void report(const char *what, uint64_t count, uint64_t time)
{
    serial_print(COM1, what);
    serial_put(COM1, ' ');
    serial_print_decimal(COM1, count);
    serial_put(COM1, ' ');
    serial_print_decimal(COM1, time);
    serial_put(COM1, '\n');
}

#endif
