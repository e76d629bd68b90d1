/* timers: interrupts of the local APIC's timer one after the other, while the guest computes and while it sleeps;
   interrupts of the processor to itself; and a guest that sleeps and ticks a hundred times a second. */
#include "platform.h"

enum { TIMER = 0x40, OWN = 0x41, IDLE = 0x42, INTERRUPTS = 2000, OWN_INTERRUPTS = 1000, IDLE_TICKS = 300 };

static volatile uint64_t ticks, arrived;

/* Each interrupt makes the timer request the next one after a microsecond. */
__attribute__((interrupt)) static void on_timer(struct frame *frame)
{
    (void)frame;
    *local_apic(APIC_EOI) = 0;
    if (++ticks < INTERRUPTS)
        *local_apic(APIC_COUNT) = 1000;
}

__attribute__((interrupt)) static void on_own(struct frame *frame)
{
    arrived = cycles();
    (void)frame;
    *local_apic(APIC_EOI) = 0;
}

__attribute__((interrupt)) static void on_idle(struct frame *frame)
{
    (void)frame;
    ticks++;
    *local_apic(APIC_EOI) = 0;
}

static uint64_t timer_interrupts(int sleep)
{
    ticks = 0;
    *local_apic(APIC_TIMER) = TIMER;
    uint64_t start = cycles();
    *local_apic(APIC_COUNT) = 1000;
    if (sleep) {
        while (ticks < INTERRUPTS)
            sleep_until_interrupt();
    } else {
        interrupts_on();
        while (ticks < INTERRUPTS)
            __asm__ volatile("pause");
        interrupts_off();
    }
    return cycles() - start;
}

uint64_t guest_main(void)
{
    interrupts_setup();
    set_handler(TIMER, on_timer);
    set_handler(OWN, on_own);
    set_handler(IDLE, on_idle);
    local_apic_setup();
    report("computing", INTERRUPTS, timer_interrupts(0));
    report("sleeping", INTERRUPTS, timer_interrupts(1));

    uint64_t sum = 0;
    interrupts_on();
    for (int i = 0; i < OWN_INTERRUPTS; i++) {
        arrived = 0;
        uint64_t start = cycles();
        *local_apic(APIC_COMMAND) = APIC_SELF | OWN;
        while (!arrived)
            __asm__ volatile("pause");
        sum += arrived - start;
    }
    interrupts_off();
    report("own", OWN_INTERRUPTS, sum);

    ticks = 0;
    *local_apic(APIC_TIMER) = APIC_PERIODIC | IDLE;
    *local_apic(APIC_COUNT) = 10000000;
    serial_print(COM1, "idle\n");
    while (ticks < IDLE_TICKS)
        sleep_until_interrupt();
    *local_apic(APIC_TIMER) = APIC_MASKED;
    serial_print(COM1, "end\n");
    /* The processor time of the process is read now; then it is ended. */
    for (;;)
        sleep_until_interrupt();
}
