/* restless: writes the number of its round to each of 64 pages, round after round, as fast as it can. When
   a byte arrives on COM1 it tells whether all pages hold the number of the last one. */
#include "serial.h"

enum { PAGES = 64, PAGE = 4096, WORDS = PAGE / 8 };

static volatile uint64_t pages[PAGES][WORDS] __attribute__((aligned(PAGE)));

uint64_t guest_main(void)
{
    serial_print(COM1, "writing\n");
    for (uint64_t round = 1;; round++) {
        for (int page = 0; page < PAGES; page++) {
            pages[page][0] = round;
            pages[page][WORDS - 1] = round;
        }
        if (!(read_port(COM1 + SERIAL_LINE_STATUS) & SERIAL_RECEIVED))
            continue;
        read_port(COM1 + SERIAL_DATA);
        int wrong = 0;
        for (int page = 0; page < PAGES; page++)
            wrong += pages[page][0] != round || pages[page][WORDS - 1] != round;
        serial_print(COM1, "wrong pages: ");
        serial_print_decimal(COM1, wrong);
        serial_put(COM1, '\n');
    }
}
