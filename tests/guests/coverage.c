/* coverage: tests whose lines are run, or not, as the comments behind them say: "run" or "not run"
   (tests/e2e/coverage.rs). */
#include "kernel_test.h"
#include "serial.h"

#define APART __attribute__((noinline, noclone))

static volatile uint64_t seen;

void kernel_test_print(const char *text)
{
    serial_print(COM1, text); // not run
}

APART static void note(uint64_t value)
{
    seen = seen * 3 + value; // run
}

APART static void branch(uint64_t value)
{
    if (value > 2)
        note(value); // run
    else
        note(value + 1); // not run
}

APART static void loop(uint64_t rounds)
{
    while (seen < rounds) // run
        note(1); // run
    note(2); // run
}

/* Compiled to a jump by a table, with cases that go on in the next one. */
APART static void jump(uint64_t value)
{
    switch (value) {
    case 0:
        note(10); // not run
        break;
    case 1:
        note(11); // not run
        break;
    case 2:
        seen = 12; // not run
        /* fall through */
    case 3:
        seen = 13; // run
        /* fall through */
    case 4:
        seen = 14; // run
        break;
    case 5:
        note(15); // run
        break;
    default:
        note(16); // not run
    }
}

APART static void never(void)
{
    note(20); // not run
}

APART static void by_pointer(void)
{
    note(30); // run
}

static void (*volatile pointers[])(void) = {by_pointer, never};

APART static void check(bool is_right)
{
    if (!is_right)
        kernel_test_exit(false); // not run
}

KERNEL_TEST(branches)
{
    branch(3); // run
    check(seen == 3); // run
}

KERNEL_TEST(loops)
{
    loop(10); // run
    check(seen > 10); // run
}

KERNEL_TEST(jumps)
{
    jump(3); // run
    jump(5); // run
    check(seen == 14 * 3 + 15); // run
}

KERNEL_TEST(calls_by_pointer)
{
    pointers[0](); // run
    if (seen != 30)
        pointers[1](); // not run
}

KERNEL_TEST(crashes)
{
    note(1); // run
    __asm__ volatile("ud2"); // run
    note(2); // not run
}

KERNEL_TEST(waits_for_ever)
{
    note(1); // run
    __asm__ volatile("cli; hlt"); // run
    note(2); // not run
}

KERNEL_TEST(computes_for_ever)
{
    note(1);
    for (;;)
        seen++; // stopped here
}

KERNEL_TEST_WITH(is_ignored, KERNEL_TEST_IGNORED)
{
    note(1); // not run
}

uint64_t guest_main(void)
{
    note(0); // run
    kernel_test_run(); // run
}
