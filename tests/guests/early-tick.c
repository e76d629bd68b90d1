/* early-tick: lets the timer interrupt it although it has no IDT of its own. The interrupt has the vector 8, as a BIOS leaves
   the controller, and nothing at the instruction there shows what has happened. */
#include "interrupts.h"

uint64_t guest_main(void)
{
    write_port(PIC1, 0x11);
    write_port(PIC1 + 1, 8);
    write_port(PIC1 + 1, 1 << CASCADE_LINE);
    write_port(PIC1 + 1, 0x01);
    write_port(PIC1 + 1, 0xFF & ~(1 << TIMER_LINE));
    start_timer(1000);
    interrupts_on();
    for (;;)
        __asm__ volatile("pause");
}
