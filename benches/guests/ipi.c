/* ipi: two processors send an interrupt back and forth; each sleeps until it comes. */
#include "cpus.h"
#include "platform.h"

enum { PING = 0x40, ROUNDS = 1000 };

static volatile uint64_t received[2];
static volatile uint32_t ready;

__attribute__((interrupt)) static void on_ping(struct frame *frame)
{
    (void)frame;
    received[*local_apic(0x20) >> 24 & 1]++;
    *local_apic(APIC_EOI) = 0;
}

static void answer(uint32_t number)
{
    (void)number;
    local_apic_setup();
    ready = 1;
    for (uint64_t count = 1;; count++) {
        while (received[1] < count)
            sleep_until_interrupt();
        send_ipi(0, PING);
    }
}

uint64_t guest_main(void)
{
    interrupts_setup();
    set_handler(PING, on_ping);
    local_apic_setup();
    start_cpus(2, answer);
    while (!ready)
        __asm__ volatile("pause");
    uint64_t start = cycles();
    for (uint64_t count = 1; count <= ROUNDS; count++) {
        send_ipi(1, PING);
        while (received[0] < count)
            sleep_until_interrupt();
    }
    report("ipi", ROUNDS, cycles() - start);
    serial_print(COM1, "end\n");
    return 0;
}
