/* tick-counts: counts the periodic interrupts of four timers during a second by the PM timer: the PIT, the real-time
   clock, the HPET through the IOAPIC, and the timer of the local APIC. It sleeps meanwhile. */
#include "clocks.h"
#include "interrupts.h"
#include "serial.h"

enum { PIT_HZ = 1193182, PIT_TICKS = 20, RTC_LINE = 8, RTC_RATE_16_HZ = 12 };
enum { HPET_VECTOR = 0x52, APIC_VECTOR = 0x53, TICKS = 20, HPET_TIMER = 0x140 };

static volatile uint64_t pit, rtc, hpet, apic;

static volatile uint32_t *local_apic(uint32_t offset)
{
    return (volatile uint32_t *)(0xFEE00000ull + offset);
}

static volatile uint32_t *hpet_register(uint32_t offset)
{
    return (volatile uint32_t *)(0xFED00000ull + offset);
}

static void ioapic_write(uint32_t index, uint32_t value)
{
    *(volatile uint32_t *)0xFEC00000ull = index;
    *(volatile uint32_t *)0xFEC00010ull = value;
}

static uint8_t cmos(uint8_t index)
{
    write_port(0x70, index);
    return read_port(0x71);
}

static void set_cmos(uint8_t index, uint8_t value)
{
    write_port(0x70, index);
    write_port(0x71, value);
}

__attribute__((interrupt)) static void on_pit(struct frame *frame)
{
    (void)frame;
    pit++;
    end_of_interrupt(TIMER_LINE);
}

__attribute__((interrupt)) static void on_rtc(struct frame *frame)
{
    (void)frame;
    rtc += cmos(0xC) >> 6 & 1;
    end_of_interrupt(RTC_LINE);
}

__attribute__((interrupt)) static void on_hpet(struct frame *frame)
{
    (void)frame;
    hpet++;
    *local_apic(0xB0) = 0;
}

__attribute__((interrupt)) static void on_apic(struct frame *frame)
{
    (void)frame;
    apic++;
    *local_apic(0xB0) = 0;
}

static void start_hpet(void)
{
    uint32_t routes = *hpet_register(HPET_TIMER + 4), pin = 31;
    while (pin > 0 && !(routes >> pin & 1))
        pin--;
    ioapic_write(0x10 + 2 * pin + 1, 0);
    ioapic_write(0x10 + 2 * pin, HPET_VECTOR);
    /* The period of the counter is in femtoseconds. */
    uint32_t ticks = 1000000000000000ull / TICKS / *hpet_register(4);
    *hpet_register(HPET_TIMER) = pin << 9 | 1 << 6 | 1 << 3 | 1 << 2; /* periodic, edges, the value follows */
    *hpet_register(HPET_TIMER + 8) = ticks;
    *hpet_register(HPET_TIMER + 12) = 0;
    *hpet_register(0x10) = 1;
}

static void start_apic_timer(void)
{
    uint32_t out[4];
    cpuid(0x40000000, out);
    uint32_t khz = 0;
    if (out[0] >= 0x40000010) {
        cpuid(0x40000010, out);
        khz = out[1];
    }
    *local_apic(0x3E0) = 3; /* divide by 16 */
    *local_apic(0x320) = 1 << 17 | APIC_VECTOR;
    *local_apic(0x380) = khz / 16 * 1000 / TICKS;
}

static void print(const char *name, uint64_t count)
{
    serial_print(COM1, name);
    serial_put(COM1, ' ');
    serial_print_decimal(COM1, count);
    serial_put(COM1, '\n');
}

uint64_t guest_main(void)
{
    interrupts_setup();
    set_handler(FIRST_VECTOR + TIMER_LINE, on_pit);
    set_handler(FIRST_VECTOR + RTC_LINE, on_rtc);
    set_handler(HPET_VECTOR, on_hpet);
    set_handler(APIC_VECTOR, on_apic);
    *local_apic(0xF0) = 0x1FF;
    unmask_line(TIMER_LINE);
    unmask_line(RTC_LINE);

    uint32_t start = pm_timer();
    uint64_t cycles = time_stamp();
    uint16_t count = PIT_HZ / PIT_TICKS;
    write_port(0x43, 0x34);
    write_port(0x40, count & 0xFF);
    write_port(0x40, count >> 8);
    set_cmos(0xA, (cmos(0xA) & 0xF0) | RTC_RATE_16_HZ);
    set_cmos(0xB, cmos(0xB) | 0x40);
    start_hpet();
    start_apic_timer();
    while (((pm_timer() - start) & PM_TIMER_MASK) < PM_TIMER_HZ)
        sleep_until_interrupt();
    cycles = time_stamp() - cycles;
    print("pit", pit);
    print("rtc", rtc);
    print("hpet", hpet);
    print("apic", apic);
    uint64_t khz = told_khz();
    print("ms", khz ? cycles / khz : 0);
    return 0;
}
