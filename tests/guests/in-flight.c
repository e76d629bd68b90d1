/* in-flight: has interrupts pending and timers running while it waits for bytes on COM1.

   First an interrupt of the timer chip and one of the local APIC's timer wait behind cli, until a byte arrives; after
   it each must come exactly once. Then both timers tick a hundred times a second. A byte prints how often each has
   ticked, and \x04 ends it. The result is the number of differences found. */
#include "interrupts.h"
#include "serial.h"

enum { APIC_TIMER = 0x50, END = 4 };
/* The bus clock of 1 GHz, divided by 16. */
enum { APIC_HZ = 62500000 };

static volatile uint64_t chip_ticks, apic_ticks;

static volatile uint32_t *apic(uint32_t offset)
{
    return (volatile uint32_t *)(0xFEE00000ull + offset);
}

__attribute__((interrupt)) static void on_chip(struct frame *frame)
{
    (void)frame;
    chip_ticks++;
    end_of_interrupt(TIMER_LINE);
}

__attribute__((interrupt)) static void on_apic(struct frame *frame)
{
    (void)frame;
    apic_ticks++;
    *apic(0xB0) = 0;
}

static void start_chip(uint8_t mode, uint16_t count)
{
    write_port(0x43, mode);
    write_port(0x40, count & 0xFF);
    write_port(0x40, count >> 8);
}

/* True if both have requested their interrupt and wait. */
static int both_wait(void)
{
    write_port(PIC1, 0x0A); /* OCW3: read the request register */
    return (read_port(PIC1) & 1) && (*apic(0x200 + APIC_TIMER / 32 * 16) >> APIC_TIMER % 32 & 1);
}

static int received(void)
{
    return read_port(COM1 + SERIAL_LINE_STATUS) & SERIAL_RECEIVED;
}

static void print_ticks(const char *name)
{
    serial_print(COM1, name);
    serial_print_decimal(COM1, chip_ticks);
    serial_print(COM1, " and ");
    serial_print_decimal(COM1, apic_ticks);
    serial_print(COM1, "\n");
}

uint64_t guest_main(void)
{
    uint64_t differences = 0;
    interrupts_off();
    interrupts_setup();
    set_handler(FIRST_VECTOR + TIMER_LINE, on_chip);
    set_handler(APIC_TIMER, on_apic);
    unmask_line(TIMER_LINE);
    start_chip(0x30, TIMER_HZ / 1000); /* counter 0, once */
    *apic(0x3E0) = 3;                  /* divide by 16 */
    *apic(0x320) = APIC_TIMER;         /* once */
    *apic(0x380) = APIC_HZ / 1000;
    while (!both_wait())
        ;
    serial_print(COM1, "both wait\n");
    while (!received())
        ;
    read_port(COM1 + SERIAL_DATA);
    differences += chip_ticks != 0 || apic_ticks != 0 || !both_wait();
    /* Where ring 0 is emulated, it takes up to a thousand instructions. */
    interrupts_on();
    for (int i = 0; i < 3000 && !(chip_ticks && apic_ticks); i++)
        __asm__ volatile("pause");
    for (int i = 0; i < 1500; i++)
        __asm__ volatile("pause");
    interrupts_off();
    print_ticks("came ");
    differences += chip_ticks != 1 || apic_ticks != 1;

    chip_ticks = apic_ticks = 0;
    start_timer(100);
    *apic(0x320) = 1 << 17 | APIC_TIMER;
    *apic(0x380) = APIC_HZ / 100;
    for (;;) {
        sleep_until_interrupt();
        if (!received())
            continue;
        int last = read_port(COM1 + SERIAL_DATA) == END;
        print_ticks("ticks ");
        if (last)
            break;
    }
    return differences;
}
