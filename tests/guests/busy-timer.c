/* busy-timer: computes while the timer interrupts it a thousand times a second.
   The result is the number of ticks that the handler has counted when the sum was complete, in the
   upper half, and the sum in the lower half. */
#include "interrupts.h"

static volatile uint64_t ticks;

__attribute__((interrupt)) static void on_tick(struct frame *frame)
{
    (void)frame;
    ticks++;
    end_of_interrupt(TIMER_LINE);
}

/* A line of source that takes many instructions. */
__attribute__((noinline)) uint64_t sum_to(uint64_t last)
{
    uint64_t sum = 0;
    for (volatile uint64_t i = 1; i <= last; i++) sum += i; /* the long line */
    return sum;
}

__attribute__((noinline)) static void wait_for_ticks(uint64_t count)
{
    while (ticks < count)
        __asm__ volatile("pause");
}

uint64_t guest_main(void)
{
    interrupts_setup();
    set_handler(FIRST_VECTOR + TIMER_LINE, on_tick);
    start_timer(1000);
    unmask_line(TIMER_LINE);
    interrupts_on();
    wait_for_ticks(20);
    uint64_t sum = sum_to(1000);
    wait_for_ticks(40);
    interrupts_off();
    return ticks << 32 | sum;
}
