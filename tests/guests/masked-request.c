/* masked-request: the timer requests an interrupt while interrupts are off, and the guest masks its line before it
   switches them on. The result is the number of interrupts, 0. */
#include "interrupts.h"

static volatile uint64_t ticks;

__attribute__((interrupt)) static void on_tick(struct frame *frame)
{
    (void)frame;
    ticks++;
    end_of_interrupt(TIMER_LINE);
}

static int is_requested(void)
{
    write_port(PIC1, 0x0A); /* OCW3: the next read is of the request register */
    return read_port(PIC1) & 1 << TIMER_LINE;
}

uint64_t guest_main(void)
{
    interrupts_setup();
    set_handler(FIRST_VECTOR + TIMER_LINE, on_tick);
    start_timer(1000);
    unmask_line(TIMER_LINE);
    while (!is_requested())
        ;
    write_port(PIC1 + 1, 0xFF);
    interrupts_on();
    for (int i = 0; i < 3000; i++)
        __asm__ volatile("pause");
    interrupts_off();
    return ticks;
}
