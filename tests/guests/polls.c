/* polls: waits busily for what its command line names (tests/e2e/test_runner_hangs.rs). The first three never come; the
   others do after a tenth of a second or so, in ways that show in a register, in memory, or in nothing but the time. No
   loop of the first three has a `pause`: a step over it in QEMU's AMD-V executes the next instruction, too. */
#include <stdbool.h>

#include "clocks.h"
#include "interrupts.h"
#include "serial.h"
#include "start_info.h"

static volatile uint64_t events;
static volatile bool nobody_sets_it;

static bool wanted(const char *line, const char *word)
{
    while (*word && *line == *word)
        line++, word++;
    return !*word;
}

__attribute__((interrupt)) static void on_tick(struct frame *frame)
{
    (void)frame;
    events++;
    end_of_interrupt(TIMER_LINE);
}

/* The transmitter is empty: sends once more. */
__attribute__((interrupt)) static void on_sent(struct frame *frame)
{
    (void)frame;
    (void)read_port(COM1 + 2);
    if (++events < 300)
        write_port(COM1, '.');
    end_of_interrupt(COM1_LINE);
}

__attribute__((noinline)) static bool is_set(volatile bool *flag)
{
    return *flag;
}

/* Until `count` interrupts of a line have come. */
static void wait_for_interrupts(int line, handler_function *handler, uint64_t count, bool asleep)
{
    set_handler(FIRST_VECTOR + line, handler);
    unmask_line(line);
    if (!asleep)
        interrupts_on();
    if (line == COM1_LINE) {
        write_port(COM1 + 4, 0x0B); /* OUT2 connects the interrupt */
        write_port(COM1 + 1, 0x02);
    }
    while (events < count)
        if (asleep)
            sleep_until_interrupt();
        else
            __asm__ volatile("pause");
    interrupts_off();
}

/* The loop has the same registers and flags in each turn, whatever the time is. */
static void wait_for_time_stamp(uint64_t deadline)
{
    __asm__ volatile("1: rdtsc\n\t"
                     "shlq $32, %%rdx\n\t"
                     "orq %%rdx, %%rax\n\t"
                     "cmpq %0, %%rax\n\t"
                     "movl $0, %%eax\n\t"
                     "movl $0, %%edx\n\t"
                     "jb 1b"
                     :
                     : "r"(deadline)
                     : "rax", "rdx", "cc");
}

static uint8_t rtc_second(void)
{
    write_port(0x70, 0);
    return read_port(0x71);
}

uint64_t guest_main(const struct start_info *info)
{
    const char *line = (const char *)info->command_line;
    if (wanted(line, "key"))
        while (!(read_port(0x64) & 1))
            write_port(0x80, 0);
    if (wanted(line, "drive"))
        while (!(read_port(0x177) & 0x40))
            ;
    if (wanted(line, "flag"))
        while (!is_set(&nobody_sets_it))
            ;
    interrupts_setup();
    if (wanted(line, "time-stamp"))
        wait_for_time_stamp(time_stamp() + 400 * 1000 * 1000);
    if (wanted(line, "pm-timer"))
        for (uint32_t start = pm_timer(); ((pm_timer() - start) & PM_TIMER_MASK) < PM_TIMER_HZ / 5;)
            ;
    if (wanted(line, "clock"))
        for (uint8_t now = rtc_second(); rtc_second() == now;)
            ;
    if (wanted(line, "tick")) {
        start_timer(19);
        wait_for_interrupts(TIMER_LINE, on_tick, 4, false);
    }
    if (wanted(line, "request")) {
        /* Interrupts are off, and the controller shows what it would request. */
        start_timer(19);
        write_port(PIC1, 0x0A);
        while (!(read_port(PIC1) & 1 << TIMER_LINE))
            ;
    }
    if (wanted(line, "sent"))
        wait_for_interrupts(COM1_LINE, on_sent, 300, false);
    if (wanted(line, "asleep-until-sent"))
        wait_for_interrupts(COM1_LINE, on_sent, 300, true);
    if (wanted(line, "count"))
        for (volatile uint64_t count = 0; count < 100000; count++)
            ;
    return 0;
}
