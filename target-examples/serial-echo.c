/* serial-echo: reads lines from the first serial port and sends each back in upper case. Ctrl-D at
   the end of the input ends it.

   Run:   printf 'first line\nsecond\n\004' | kvm --keys serial serial-echo.elf
   See:   FIRST LINE and SECOND.
   Exit status 0; the result is the number of lines. */
#include "serial.h"

enum { CTRL_D = 4, LONGEST = 200 };

uint64_t guest_main(void)
{
    char line[LONGEST + 1];
    int length = 0;
    uint64_t lines = 0;
    for (;;) {
        char character = serial_get(COM1);
        if (character == CTRL_D)
            return lines;
        if (character == '\r' || character == '\n') {
            line[length] = 0;
            serial_print(COM1, line);
            serial_put(COM1, '\n');
            length = 0;
            lines++;
        } else if (length < LONGEST) {
            int small = character >= 'a' && character <= 'z';
            line[length++] = small ? character - 'a' + 'A' : character;
        }
    }
}
