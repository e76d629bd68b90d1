/* two-counters: two processors count without end, each for itself and both together. For each `?` that arrives at COM1
   the first one stops the second one and says whether the sums agree and both have counted since the last time. Ctrl-D
   ends it. */
#include "cpus.h"
#include "interrupts.h"
#include "serial.h"

static volatile uint64_t together, own[2], last[2];
static volatile uint32_t hold, held;

static void count(uint32_t number)
{
    __asm__ volatile("lock incq %0; incq %1" : "+m"(together), "+m"(own[number]) : : "cc");
}

static void second(uint32_t number)
{
    (void)number;
    interrupts_on();
    for (;;) {
        count(1);
        if (hold) {
            held = 1;
            while (hold)
                __asm__ volatile("pause");
            held = 0;
        }
    }
}

static void report(void)
{
    hold = 1;
    while (!held)
        __asm__ volatile("pause");
    int agree = together == own[0] + own[1];
    int counted = own[0] > last[0] && own[1] > last[1];
    last[0] = own[0], last[1] = own[1];
    serial_print(COM1, agree ? "the sums agree" : "the sums differ");
    serial_print(COM1, counted ? ", both count\n" : ", one has stopped\n");
    hold = 0;
    while (held)
        __asm__ volatile("pause");
}

uint64_t guest_main(void)
{
    interrupts_setup();
    start_cpus(2, second);
    interrupts_on();
    serial_print(COM1, "counting\n");
    for (;;) {
        for (int i = 0; i < 16; i++)
            count(0);
        if (!(read_port(COM1 + 5) & 1))
            continue;
        switch (read_port(COM1)) {
        case '?':
            report();
            break;
        case 4:
            send_ipi(1, 0x4500); /* INIT */
            return 0;
        }
    }
}
