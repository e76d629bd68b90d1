/* restless: writes the number of its round to each of 64 pages, round after round, as fast as it can. When
   a byte arrives on COM1 it tells how often a page did not hold the number of the round before. */
#include "serial.h"

enum { PAGES = 64, PAGE = 4096, WORDS = PAGE / 8 };

static volatile uint64_t pages[PAGES][WORDS] __attribute__((aligned(PAGE)));

uint64_t guest_main(void)
{
    uint64_t wrong = 0;
    serial_print(COM1, "writing\n");
    for (uint64_t round = 1;; round++) {
        for (int page = 0; page < PAGES; page++) {
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
