/* entry-return: its entry point is a C function, which returns: with interrupts on if the command line says so. */
#include "serial.h"
#include "start_info.h"

uint64_t _start(const struct start_info *info)
{
    serial_print(COM1, "returning\n");
    if (*(const char *)info->command_line)
        __asm__ volatile("sti");
    return 42;
}
