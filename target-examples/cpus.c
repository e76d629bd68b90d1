/* cpus: starts all processors; together they count to a million.

   Run:   kvm --cpus 2 cpus.elf
   See:   how many processors have counted.
   Exit status 0; the result is the count, 1000000. */
#include "cpus.h"
#include "serial.h"

enum { COUNT = 1000000, UNROLLED = 10 };

static volatile uint64_t count, finished;
static uint32_t cpus;

/* Adds this processor's share: with a bus lock each time, so that none is lost. */
static void add_share(uint32_t number)
{
    uint64_t share = COUNT / UNROLLED / cpus + (number < COUNT / UNROLLED % cpus ? 1 : 0);
    __asm__ volatile("1: .rept 10\n"
                     "   lock incq %0\n"
                     "   .endr\n"
                     "   dec %1\n"
                     "   jnz 1b"
                     : "+m"(count), "+r"(share)
                     :
                     : "cc");
    __asm__ volatile("lock incq %0" : "+m"(finished));
}

uint64_t guest_main(void)
{
    cpus = cpu_count();
    start_cpus(cpus, add_share);
    add_share(0);
    while (finished < cpus)
        wait_a_moment();
    char digits[] = "00 processors have counted\n";
    digits[0] += cpus / 10;
    digits[1] += cpus % 10;
    serial_print(COM1, digits[0] == '0' ? digits + 1 : digits);
    return count;
}
