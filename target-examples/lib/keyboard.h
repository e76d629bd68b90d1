/* The keyboard behind its controller, an Intel 8042 (IBM PS/2 technical reference). Key presses
   and releases arrive as scan codes of set 1. */
#ifndef KEYBOARD_H
#define KEYBOARD_H

#include "ports.h"

enum { KEYBOARD_DATA = 0x60, KEYBOARD_STATUS = 0x64, KEYBOARD_COMMAND = 0x64 };

/* Status: a byte waits at the data port. */
enum { KEYBOARD_FULL = 0x01 };

/* Command to the controller: the next byte at the data port is its configuration. */
enum { KEYBOARD_CONFIGURE = 0x60 };

/* Configuration: scan codes are translated to set 1, no mouse, keyboard on, no interrupts. */
enum { KEYBOARD_POLLED = 0x60 };

/* Scan codes: a key's release is its press with bit 7 set. */
enum {
    SCAN_ESCAPE = 0x01, SCAN_LEFT_SHIFT = 0x2a, SCAN_RIGHT_SHIFT = 0x36,
    SCAN_RELEASED = 0x80, SCAN_EXTENDED = 0xe0
};

static inline void keyboard_enable(void)
{
    write_port(KEYBOARD_COMMAND, KEYBOARD_CONFIGURE);
    write_port(KEYBOARD_DATA, KEYBOARD_POLLED);
}

/* Waits for a scan code. */
static inline uint8_t keyboard_code(void)
{
    while (!(read_port(KEYBOARD_STATUS) & KEYBOARD_FULL))
        ;
    return read_port(KEYBOARD_DATA);
}

#endif
