/* two-thousand-lines: lines "line 1" to "line 2000" on COM2. */
#include "serial.h"

uint64_t guest_main(void)
{
    for (uint64_t line = 1; line <= 2000; line++) {
        serial_print(COM2, "line ");
        serial_print_decimal(COM2, line);
        serial_put(COM2, '\n');
    }
    return 0;
}
