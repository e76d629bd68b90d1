/* two-cpus: two processors for a debugger.
   Both call `visit` VISITS times, and then count until `go_on` is set; then the second one waits in hlt, and the first
   one counts until `done` is set. The result is the number of visits. */
#include "cpus.h"

enum { VISITS = 100 };

volatile uint64_t visits, counts[2], go_on, done;
static volatile uint64_t finished;

__attribute__((noinline)) void visit(uint32_t number)
{
    __asm__ volatile("lock incq %0" : "+m"(visits) : "r"(number) : "cc");
}

/* Both processors count. */
__attribute__((noinline)) void both_count(void)
{
    __asm__ volatile("");
}

__attribute__((noinline)) static void count_until(volatile uint64_t *flag, uint32_t number)
{
    while (!*flag)
        counts[number]++;
}

/* The first one to come here waits for the other, in one line of source. */
__attribute__((noinline)) static void meet(void)
{
    __asm__ volatile("lock incq %0" : "+m"(finished) : : "cc");
    while (finished < 2) __asm__ volatile("pause");
}

static void visit_all(uint32_t number)
{
    for (uint32_t n = 0; n < VISITS; n++)
        visit(number);
    meet();
}

static void second(uint32_t number)
{
    __asm__ volatile("sti");
    visit_all(number);
    count_until(&go_on, number);
    for (;;)
        __asm__ volatile("hlt");
}

uint64_t guest_main(void)
{
    start_cpus(2, second);
    /* No device has its interrupt on. */
    __asm__ volatile("sti");
    visit_all(0);
    both_count();
    count_until(&go_on, 0);
    count_until(&done, 0);
    send_ipi(1, 0x4500); /* INIT, which ends the wait in hlt */
    __asm__ volatile("cli");
    return visits;
}
