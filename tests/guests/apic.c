/* apic: interrupts by the local APIC and the IOAPIC. The result has one bit for each thing that worked:
   0 the local APIC's timer, 1 the PIT through the IOAPIC, 2 an interrupt of the processor to itself,
   3 priorities by CR8, 4 an NMI, 5 x2APIC mode, 6 a TSC deadline, 7 #GP for a register that does not exist. */
#include "interrupts.h"

enum { TIMER = 0x40, PIT = 0x51, OWN = 0x62, DEADLINE = 0x73 };
enum { APIC_BASE = 0x1B, TSC_DEADLINE = 0x6E0, X2APIC_ID = 0x802, X2APIC_EOI = 0x80B, X2APIC_TIMER = 0x832 };

static volatile uint64_t timer_ticks, pit_ticks, own_calls, nmis, deadlines, faults;
static int x2apic;

static volatile uint32_t *apic(uint32_t offset)
{
    return (volatile uint32_t *)(0xFEE00000ull + offset);
}

static void ioapic_write(uint32_t index, uint32_t value)
{
    *(volatile uint32_t *)0xFEC00000ull = index;
    *(volatile uint32_t *)0xFEC00010ull = value;
}

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

static void end(void)
{
    if (x2apic)
        write_msr(X2APIC_EOI, 0);
    else
        *apic(0xB0) = 0;
}

#define HANDLER(name, counter) \
    __attribute__((interrupt)) static void name(struct frame *frame) { (void)frame; counter++; end(); }
HANDLER(on_timer, timer_ticks)
HANDLER(on_pit, pit_ticks)
HANDLER(on_own, own_calls)
HANDLER(on_deadline, deadlines)

__attribute__((interrupt)) static void on_nmi(struct frame *frame)
{
    (void)frame;
    nmis++;
}

/* Skips the two bytes of rdmsr. */
__attribute__((interrupt)) static void on_fault(struct frame *frame, unsigned long error)
{
    (void)error;
    faults++;
    ((uint64_t *)frame)[0] += 2;
}

static void set_task_priority(uint64_t priority)
{
    __asm__ volatile("mov %0, %%cr8" : : "r"(priority));
}

static uint64_t time_stamp(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

/* A bit of CPUID leaf 1, ECX: 21 for x2APIC, 24 for the TSC deadline. */
static int has(int bit)
{
    uint32_t a = 1, b, c, d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
    return c >> bit & 1;
}

static void spin(void)
{
    for (int i = 0; i < 20; i++)
        __asm__ volatile("pause");
}

/* Where ring 0 is emulated, an interrupt takes up to a thousand instructions. */
static void wait_for(volatile uint64_t *counter, uint64_t value)
{
    for (int i = 0; i < 3000 && *counter != value; i++)
        __asm__ volatile("pause");
    spin();
}

uint64_t guest_main(void)
{
    uint64_t result = 0;
    interrupts_setup();
    set_handler(TIMER, on_timer);
    set_handler(PIT, on_pit);
    set_handler(OWN, on_own);
    set_handler(DEADLINE, on_deadline);
    set_handler(2, on_nmi);
    set_handler(13, (handler_function *)(uint64_t)on_fault);

    *apic(0x3E0) = 3;                 /* divide by 16 */
    *apic(0x320) = 1 << 17 | TIMER;   /* periodic */
    *apic(0x380) = 62500;             /* every millisecond */
    while (timer_ticks < 5)
        sleep_until_interrupt();
    *apic(0x320) = 1 << 16;
    result |= 1;

    ioapic_write(0x10 + 2 * 2 + 1, 0);
    ioapic_write(0x10 + 2 * 2, PIT);
    start_timer(1000);
    while (pit_ticks < 5)
        sleep_until_interrupt();
    ioapic_write(0x10 + 2 * 2, 1 << 16 | PIT);
    result |= 2;

    interrupts_on();
    *apic(0x300) = 1 << 18 | OWN;     /* to itself */
    wait_for(&own_calls, 1);
    result |= own_calls == 1 ? 4 : 0;

    set_task_priority(OWN >> 4);
    *apic(0x300) = 1 << 18 | OWN;
    spin();
    int held = own_calls == 1;
    set_task_priority(0);
    wait_for(&own_calls, 2);
    result |= held && own_calls == 2 ? 8 : 0;

    *apic(0x300) = 1 << 18 | 4 << 8;  /* NMI to itself */
    wait_for(&nmis, 1);
    result |= nmis == 1 ? 16 : 0;
    interrupts_off();

    if (has(21)) {
        write_msr(APIC_BASE, read_msr(APIC_BASE) | 1 << 10);
        x2apic = 1;
        result |= read_msr(X2APIC_ID) == 0 ? 32 : 0;
        if (has(24)) {
            write_msr(X2APIC_TIMER, 2 << 17 | DEADLINE);
            write_msr(TSC_DEADLINE, time_stamp() + 2000000);
            while (deadlines < 1)
                sleep_until_interrupt();
            result |= 64;
        }
        read_msr(0x8FF);
        result |= faults == 1 ? 128 : 0;
    }
    return result;
}
