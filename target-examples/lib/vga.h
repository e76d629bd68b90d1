/* The VGA text screen: 25 rows of 80 cells at 0xB8000, each cell a character (low byte) and an
   attribute (high byte), and the CRT controller's registers for the cursor (IBM VGA technical
   reference). */
#ifndef VGA_H
#define VGA_H

#include "ports.h"

enum { VGA_ROWS = 25, VGA_COLUMNS = 80 };

enum vga_colour {
    BLACK, BLUE, GREEN, CYAN, RED, MAGENTA, BROWN, LIGHT_GREY,
    DARK_GREY, LIGHT_BLUE, LIGHT_GREEN, LIGHT_CYAN, LIGHT_RED, PINK, YELLOW, WHITE
};

/* An attribute: text colour in bits 0-3, background in bits 4-6, and bit 7 blinks. */
#define VGA_ATTRIBUTE(text, background) ((uint8_t)((background) << 4 | (text)))

/* CRT controller: the register's number goes to one port, its value to the next. */
enum { VGA_CRTC = 0x3d4 };
enum {
    CRTC_CURSOR_START = 0x0a, CRTC_CURSOR_END = 0x0b,
    CRTC_START_HIGH = 0x0c, CRTC_START_LOW = 0x0d,
    CRTC_CURSOR_HIGH = 0x0e, CRTC_CURSOR_LOW = 0x0f
};

static inline void vga_crtc(uint8_t number, uint8_t value)
{
    write_port(VGA_CRTC, number);
    write_port(VGA_CRTC + 1, value);
}

/* Rows beyond the 25th exist too: the buffer holds 32 KiB, the screen shows a part of it. */
static inline void vga_put(int row, int column, char character, uint8_t attribute)
{
    volatile uint16_t *cells = (volatile uint16_t *)0xb8000;
    cells[row * VGA_COLUMNS + column] = (uint16_t)(attribute << 8 | (uint8_t)character);
}

static inline void vga_print(int row, int column, const char *text, uint8_t attribute)
{
    while (*text && column < VGA_COLUMNS)
        vga_put(row, column++, *text++, attribute);
}

/* Places the cursor; row and column count from 0. */
static inline void vga_cursor(int row, int column)
{
    uint16_t cell = row * VGA_COLUMNS + column;
    vga_crtc(CRTC_CURSOR_HIGH, cell >> 8);
    vga_crtc(CRTC_CURSOR_LOW, cell & 0xff);
}

/* Fills rows from `row` on with blanks of one attribute. */
static inline void vga_clear(int row, int count, uint8_t attribute)
{
    for (int cell = row * VGA_COLUMNS; cell < (row + count) * VGA_COLUMNS; cell++)
        vga_put(0, cell, ' ', attribute);
}

#endif
