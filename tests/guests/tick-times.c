/* tick-times: notes at what time each of 16 ticks of the PIT comes, 100 a second, by the PM timer. The result is the
   time between the second tick and the twelfth, in hundredths of a second. */
#include "clocks.h"
#include "interrupts.h"

enum { PIT_HZ = 1193182, TICKS_PER_SECOND = 100, TICKS = 16 };

static volatile uint64_t ticks;
static volatile uint32_t times[TICKS];

__attribute__((interrupt)) static void on_tick(struct frame *frame)
{
    (void)frame;
    if (ticks < TICKS)
        times[ticks++] = pm_timer();
    end_of_interrupt(TIMER_LINE);
}

/* Hundredths of a second from tick `first` to tick `last`. */
__attribute__((noinline)) static uint64_t between(uint64_t first, uint64_t last)
{
    return ((times[last] - times[first]) & PM_TIMER_MASK) / (PM_TIMER_HZ / TICKS_PER_SECOND);
}

uint64_t guest_main(void)
{
    uint16_t divisor = PIT_HZ / TICKS_PER_SECOND;
    interrupts_setup();
    set_handler(FIRST_VECTOR + TIMER_LINE, on_tick);
    write_port(0x43, 0x34);
    write_port(0x40, divisor & 0xFF);
    write_port(0x40, divisor >> 8);
    unmask_line(TIMER_LINE);
    while (ticks < TICKS)
        sleep_until_interrupt();
    return between(1, 11);
}
