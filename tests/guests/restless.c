/* restless: writes the number of its round to each of 64 pages, round after round, as fast as it can. When
   a byte arrives on COM1 it prints, at the end of the round, how many pages did not have the number of the
   previous round. With a command line that begins with an m there are 2048 pages: more than are written while
   a few are sent. */
#include "serial.h"
#include "start_info.h"

enum { FEW = 64, MANY = 2048, PAGE = 4096, WORDS = PAGE / 8 };

static volatile uint64_t pages[MANY][WORDS] __attribute__((aligned(PAGE)));

uint64_t guest_main(const struct start_info *info)
{
    const char *command_line = (const char *)info->command_line;
    int count = command_line && *command_line == 'm' ? MANY : FEW;
    uint64_t wrong = 0;
    serial_print(COM1, "writing\n");
    for (uint64_t round = 1;; round++) {
        for (int page = 0; page < count; page++) {
            /* What it wrote last must be there still. */
            wrong += pages[page][0] != round - 1 || pages[page][WORDS - 1] != round - 1;
            pages[page][0] = round;
            pages[page][WORDS - 1] = round;
        }
        if (!(read_port(COM1 + SERIAL_LINE_STATUS) & SERIAL_RECEIVED))
            continue;
        read_port(COM1 + SERIAL_DATA);
        serial_print(COM1, "wrong pages: ");
        serial_print_decimal(COM1, wrong);
        serial_put(COM1, '\n');
    }
}
