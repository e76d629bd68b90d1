/* tests: 200 tests in one kernel. Without a test runner it runs the first one alone: then each takes a process of its own. */
#include "kernel_test.h"
#include "serial.h"

void kernel_test_print(const char *text)
{
    serial_print(COM1, text);
}

static uint32_t visits;

#define TEST(number) \
    KERNEL_TEST(test_##number) { CHECK(++visits == 1); }
#define TEN(tens)                                                                                          \
    TEST(tens##0) TEST(tens##1) TEST(tens##2) TEST(tens##3) TEST(tens##4) TEST(tens##5) TEST(tens##6)      \
    TEST(tens##7) TEST(tens##8) TEST(tens##9)
#define HUNDRED(hundreds)                                                                                  \
    TEN(hundreds##0) TEN(hundreds##1) TEN(hundreds##2) TEN(hundreds##3) TEN(hundreds##4) TEN(hundreds##5)  \
    TEN(hundreds##6) TEN(hundreds##7) TEN(hundreds##8) TEN(hundreds##9)
HUNDRED(0)
HUNDRED(1)

uint64_t guest_main(void)
{
    uint32_t wanted = read_port_dword(KERNEL_TEST_PORT);
    __start_kvm_tests[wanted == 0xFFFFFFFF ? 0 : wanted].run();
    kernel_test_exit(true);
}
