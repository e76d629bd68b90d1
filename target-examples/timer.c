/* timer: counts the interrupts of the timer chip, and sleeps in between.

   Run:   kvm timer.elf
   See:   a line after each tenth of a second.
   Exit status 0; the result is the number of interrupts, 50. */
#include "interrupts.h"
#include "serial.h"

enum { TICKS_PER_SECOND = 100, TICKS_PER_LINE = 10, LINES = 5 };

static volatile uint64_t ticks;

__attribute__((interrupt)) static void on_tick(struct frame *frame)
{
    (void)frame;
    ticks++;
    end_of_interrupt(TIMER_LINE);
}

uint64_t guest_main(void)
{
    interrupts_setup();
    set_handler(FIRST_VECTOR + TIMER_LINE, on_tick);
    start_timer(TICKS_PER_SECOND);
    unmask_line(TIMER_LINE);
    for (uint64_t line = 1; line <= LINES; line++) {
        while (ticks < line * TICKS_PER_LINE)
            sleep_until_interrupt();
        serial_print(COM1, "tick\n");
    }
    return ticks;
}
