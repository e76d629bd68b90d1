/* x2apic: switches the local APIC to x2APIC mode before it has accessed it in any way, as a kernel does whose firmware
   left it in the other mode. The result has bit 0 if IA32_APIC_BASE is as after a reset, bit 1 if it has changed, bit 2
   if the register page is gone, and bit 3 if a tick of the timer has come; 16 if the processor has no x2APIC mode. */
#include "clocks.h"
#include "interrupts.h"

enum { APIC_BASE = 0x1B, X2APIC = 1 << 10, VECTOR = 0x40 };
enum { VERSION = 0x803, END = 0x80B, SPURIOUS = 0x80F, TIMER = 0x832, INITIAL_COUNT = 0x838, DIVISOR = 0x83E };

static volatile uint64_t ticks;

static uint64_t read_msr(uint32_t index)
{
    uint32_t low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index));
    return (uint64_t)high << 32 | low;
}

static void write_msr(uint32_t index, uint64_t value)
{
    __asm__ volatile("wrmsr" : : "c"(index), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}

__attribute__((interrupt)) static void on_tick(struct frame *frame)
{
    (void)frame;
    ticks++;
    write_msr(END, 0);
}

uint64_t guest_main(void)
{
    uint64_t result = 0;
    uint32_t out[4];
    cpuid(1, out);
    if (!(out[2] >> 21 & 1))
        return 16;
    interrupts_setup();
    set_handler(VECTOR, on_tick);
    result |= read_msr(APIC_BASE) == 0xFEE00900;
    write_msr(APIC_BASE, 0xFEE00900 | X2APIC);
    write_msr(SPURIOUS, 0x1FF);
    result |= (read_msr(APIC_BASE) == (0xFEE00900 | X2APIC)) << 1;
    result |= (*(volatile uint32_t *)0xFEE00030ull != (uint32_t)read_msr(VERSION)) << 2;
    write_msr(DIVISOR, 3);
    write_msr(TIMER, VECTOR);
    write_msr(INITIAL_COUNT, 62500);
    while (!ticks)
        sleep_until_interrupt();
    return result | 8;
}
