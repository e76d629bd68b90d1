/* keyboard: shows the scan codes of the keys as they are pressed and released.

   Run:   kvm keyboard.elf
   See:   two hexadecimal digits for each code: releases in grey, presses in yellow, and the prefix
          byte E0 of the newer keys in cyan. Escape ends it.
   Exit status 0; the result is the number of codes. */
#include "keyboard.h"
#include "vga.h"

enum { FIRST_ROW = 4, PER_ROW = VGA_COLUMNS / 3 };

static uint8_t colour_of(uint8_t code)
{
    if (code == SCAN_EXTENDED)
        return VGA_ATTRIBUTE(LIGHT_CYAN, BLACK);
    return VGA_ATTRIBUTE(code & SCAN_RELEASED ? DARK_GREY : YELLOW, BLACK);
}

/* Shows the code in its place, and the cursor where the next one will be. */
static void show(uint64_t number, uint8_t code)
{
    static const char digits[] = "0123456789ABCDEF";
    enum { PLACES = (VGA_ROWS - FIRST_ROW) * PER_ROW };
    int place = number % PLACES;
    if (place == 0)
        vga_clear(FIRST_ROW, VGA_ROWS - FIRST_ROW, VGA_ATTRIBUTE(LIGHT_GREY, BLACK));
    int row = FIRST_ROW + place / PER_ROW, column = 3 * (place % PER_ROW);
    vga_put(row, column, digits[code >> 4], colour_of(code));
    vga_put(row, column + 1, digits[code & 15], colour_of(code));
    vga_cursor(row, column + 2);
}

uint64_t guest_main(void)
{
    uint64_t codes = 0;
    uint8_t code;
    vga_clear(0, VGA_ROWS, VGA_ATTRIBUTE(LIGHT_GREY, BLACK));
    vga_print(0, 0, "Scan codes, set 1", VGA_ATTRIBUTE(WHITE, BLACK));
    vga_print(1, 0, "Press keys; Escape ends.", VGA_ATTRIBUTE(LIGHT_GREY, BLACK));
    vga_print(2, 0, "pressed", colour_of(0));
    vga_print(2, 9, "released", colour_of(SCAN_RELEASED));
    vga_print(2, 19, "prefix", colour_of(SCAN_EXTENDED));
    vga_cursor(FIRST_ROW, 0);
    keyboard_enable();
    do {
        code = keyboard_code();
        show(codes++, code);
    } while (code != SCAN_ESCAPE);
    return codes;
}
