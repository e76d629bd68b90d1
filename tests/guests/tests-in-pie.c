/* tests-in-pie: tests in a kernel that the loader relocates: the names in the table are addresses, too. */
#include "kernel_test.h"
#include "serial.h"

void kernel_test_print(const char *text)
{
    serial_print(COM1, text);
}

KERNEL_TEST(passes) { CHECK(true); }
KERNEL_TEST(fails) { CHECK(1 + 1 == 3); }
KERNEL_TEST_WITH(fails_as_it_should, KERNEL_TEST_SHOULD_FAIL) { CHECK(false); }
KERNEL_TEST_WITH(is_ignored, KERNEL_TEST_IGNORED) { CHECK(false); }
/* The runner takes the snapshot at the first question only: a second one says that the test is done. */
KERNEL_TEST(asks_again) { kernel_test_run(); }

uint64_t guest_main(void)
{
    kernel_test_run();
}
