/* answer-and-compute: prints "ready" on COM1 and answers the byte that arrives there with a line: "short"
   for an s, 200 dots for anything else. Then it computes for a long time (500 million ticks of the
   processor's clock) without touching a device, so that only the supervisor itself can deliver
   the answer, and starts again. Ctrl-D ends it. */
#include "serial.h"

static uint64_t clock_ticks(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

static void compute(void)
{
    uint64_t end = clock_ticks() + 500000000;
    while (clock_ticks() < end)
        ;
}

uint64_t guest_main(void)
{
    for (;;) {
        serial_print(COM1, "ready\n");
        char question = serial_get(COM1);
        if (question == 4)
            return 0;
        if (question == 's')
            serial_print(COM1, "short");
        else
            for (int dot = 0; dot < 200; dot++)
                serial_put(COM1, '.');
        serial_put(COM1, '\n');
        compute();
    }
}
