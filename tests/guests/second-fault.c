/* second-fault: the second processor causes a triple fault while the first one computes. */
#include "cpus.h"

static void second(uint32_t number)
{
    (void)number;
    struct __attribute__((packed)) {
        uint16_t limit;
        uint64_t base;
    } none = {0, 0};
    __asm__ volatile("lidt %0; ud2" : : "m"(none));
}

uint64_t guest_main(void)
{
    start_cpus(2, second);
    __asm__ volatile("sti");
    for (;;)
        __asm__ volatile("pause");
}
