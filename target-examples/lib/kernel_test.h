/* Tests for a kernel in C, to be run by `kvm test` (docs/testing.md). Copy this file into a kernel.

       KERNEL_TEST(addition) { CHECK(1 + 1 == 2); }

   Each KERNEL_TEST puts an entry into the section kvm_tests, which the runner reads. Once the kernel has started up, it
   calls kernel_test_run(). A guest defines kernel_test_print(), which prints a text on a serial port. */
#ifndef KERNEL_TEST_H
#define KERNEL_TEST_H

#include <stdbool.h>
#include <stdint.h>

/* Reading it asks the runner for a test; without one it reads as all ones. */
#define KERNEL_TEST_PORT 0xF8
#define KERNEL_TEST_EXIT_PORT 0xF4

/* Flags. */
#define KERNEL_TEST_IGNORED 1
#define KERNEL_TEST_SHOULD_FAIL 2

struct kernel_test {
    const char *name;
    uintptr_t name_length;
    void (*run)(void);
    uintptr_t flags;
};

#define KERNEL_TEST(test) KERNEL_TEST_WITH(test, 0)
#define KERNEL_TEST_WITH(test, test_flags)                                                      \
    static void test(void);                                                                     \
    __attribute__((used, section("kvm_tests"))) static const struct kernel_test test##_entry = { \
        #test, sizeof #test - 1, test, test_flags};                                             \
    static void test(void)

#define CHECK(condition)                                                                            \
    do {                                                                                            \
        if (!(condition)) {                                                                         \
            kernel_test_print(__FILE__ ": " #condition " is false\n");                              \
            kernel_test_exit(false);                                                                \
        }                                                                                           \
    } while (0)

/* Defined by the linker. */
extern const struct kernel_test __start_kvm_tests[], __stop_kvm_tests[];

void kernel_test_print(const char *text);

/* Ends the run, or the test. */
__attribute__((noreturn)) static inline void kernel_test_exit(bool success)
{
    uint32_t value = success ? 0x10 : 0x11;
    for (;;)
        __asm__ volatile("outl %0, %w1; cli; hlt" : : "a"(value), "Nd"(KERNEL_TEST_EXIT_PORT));
}

/* Runs the test that the runner asks for, or all tests if there is no runner, and ends the run. */
__attribute__((noreturn)) static inline void kernel_test_run(void)
{
    uint32_t wanted;
    __asm__ volatile("inl %w1, %0" : "=a"(wanted) : "Nd"(KERNEL_TEST_PORT) : "memory");
    if (wanted != 0xFFFFFFFF) {
        __start_kvm_tests[wanted].run();
    } else {
        for (const struct kernel_test *test = __start_kvm_tests; test < __stop_kvm_tests; test++)
            if (test->flags == 0)
                test->run();
    }
    kernel_test_exit(true);
}

#endif
