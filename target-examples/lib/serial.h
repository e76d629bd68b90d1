/* The serial ports: 16550 UARTs, as on a PC (National Semiconductor PC16550D datasheet).
   No setup is needed before the first byte: an emulated line has no speed. */
#ifndef SERIAL_H
#define SERIAL_H

#include "ports.h"

enum { COM1 = 0x3f8, COM2 = 0x2f8, COM3 = 0x3e8, COM4 = 0x2e8 };

/* Offsets from the first port of a UART. */
enum { SERIAL_DATA = 0, SERIAL_LINE_STATUS = 5 };

/* Bits of the line status register. */
enum { SERIAL_RECEIVED = 0x01, SERIAL_CAN_SEND = 0x20 };

static inline void serial_put(uint16_t com, char character)
{
    while (!(read_port(com + SERIAL_LINE_STATUS) & SERIAL_CAN_SEND))
        ;
    write_port(com + SERIAL_DATA, character);
}

/* Waits for a byte. */
static inline char serial_get(uint16_t com)
{
    while (!(read_port(com + SERIAL_LINE_STATUS) & SERIAL_RECEIVED))
        ;
    return read_port(com + SERIAL_DATA);
}

static inline void serial_print(uint16_t com, const char *text)
{
    while (*text)
        serial_put(com, *text++);
}

/* Prints 0x and `digits` digits, 1 to 16. */
static inline void serial_print_hex(uint16_t com, uint64_t value, int digits)
{
    serial_print(com, "0x");
    while (digits--)
        serial_put(com, "0123456789abcdef"[value >> (4 * digits) & 15]);
}

static inline void serial_print_decimal(uint16_t com, uint64_t value)
{
    char digits[20];
    int count = 0;
    do {
        digits[count++] = '0' + value % 10;
        value /= 10;
    } while (value);
    while (count)
        serial_put(com, digits[--count]);
}

#endif
