/* hello-vga: text in colour on the VGA screen, and the cursor where the text ends.

   Run:   kvm --dump-screen hello-vga.elf
   See:   a greeting, the sixteen text colours and the eight backgrounds, one blinking word.
   Exit status 0. */
#include "vga.h"

static const char *const names[16] = {
    "black", "blue", "green", "cyan", "red", "magenta", "brown", "light grey",
    "dark grey", "light blue", "light green", "light cyan", "light red", "pink", "yellow", "white"
};

uint64_t guest_main(void)
{
    vga_clear(0, VGA_ROWS, VGA_ATTRIBUTE(LIGHT_GREY, BLACK));
    vga_print(1, 2, "Hello from the VGA text screen!", VGA_ATTRIBUTE(WHITE, BLUE));
    for (int colour = BLACK; colour <= WHITE; colour++) {
        /* Black text is invisible on black. */
        uint8_t background = colour == BLACK ? LIGHT_GREY : BLACK;
        vga_print(3 + colour, 2, names[colour], VGA_ATTRIBUTE(colour, background));
        if (colour <= LIGHT_GREY)
            vga_print(3 + colour, 20, "  background  ", VGA_ATTRIBUTE(WHITE, colour));
    }
    vga_print(20, 2, "blinking", 0x80 | VGA_ATTRIBUTE(YELLOW, BLACK));
    vga_print(22, 2, "The cursor is here:", VGA_ATTRIBUTE(LIGHT_GREY, BLACK));
    vga_cursor(22, 22);
    return 0;
}
