/* test-ends: ends a test in the way that its command line names: see tests/e2e/test_runner.rs. */
#include <stdbool.h>

#include "ports.h"
#include "serial.h"
#include "start_info.h"
#include "vga.h"

static bool wanted(const char *line, const char *word)
{
    while (*word && *line == *word)
        line++, word++;
    return !*word;
}

uint64_t guest_main(const struct start_info *info)
{
    const char *line = (const char *)info->command_line;
    serial_print(COM1, "begin\n");
    if (wanted(line, "halt-0"))
        return 0;
    if (wanted(line, "halt-1"))
        return 1;
    if (wanted(line, "exit-33"))
        write_port(0xF4, 0x10);
    if (wanted(line, "exit-35"))
        write_port(0xF4, 0x11);
    if (wanted(line, "panic")) {
        serial_print(COM1, "panicked at main.rs:7\n");
        return 0;
    }
    if (wanted(line, "loop-panic")) {
        serial_print(COM1, "panicked at main.rs:7\n");
        for (;;)
            __asm__ volatile("pause");
    }
    if (wanted(line, "loop"))
        for (;;)
            ;
    if (wanted(line, "busy"))
        for (volatile int count = 0;; count++)
            ;
    if (wanted(line, "reset"))
        write_port(0xCF9, 6);
    if (wanted(line, "power-off"))
        write_port_word(0x604, 0x2000);
    if (wanted(line, "screen")) {
        vga_print(3, 0, "login: ", 7);
        for (volatile int count = 0;; count++)
            ;
    }
    return 2;
}
