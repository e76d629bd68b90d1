/* vga: the text screen's registers, each changed by a key.

   Run:   kvm --display vga vga.elf
     c        other colours
     b        blinking or bright backgrounds (attribute controller, mode control, bit 3)
     s        the cursor's shape: underline, half block, block, none (CRTC 0x0A and 0x0B)
     u, d     scroll up and down (CRTC start address, 0x0C and 0x0D)
     arrows   move the face, and the cursor with it (CRTC cursor location, 0x0E and 0x0F)
     Escape   ends it
   Exit status 0. */
#include "keyboard.h"
#include "vga.h"

/* Scan codes of set 1; the arrows' are preceded by SCAN_EXTENDED. */
enum {
    KEY_U = 0x16, KEY_S = 0x1f, KEY_D = 0x20, KEY_C = 0x2e, KEY_B = 0x30,
    KEY_UP = 0x48, KEY_LEFT = 0x4b, KEY_RIGHT = 0x4d, KEY_DOWN = 0x50
};

/* Two screens' worth of rows, so that there is something to scroll to. */
enum { ALL_ROWS = 2 * VGA_ROWS, FACE = 1 };

enum { ATTRIBUTE_WRITE = 0x3c0, ATTRIBUTE_READ = 0x3c1, INPUT_STATUS = 0x3da };
enum { ATTRIBUTE_MODE = 0x10, ATTRIBUTE_MODE_BLINK = 0x08, ATTRIBUTE_SCREEN_ON = 0x20 };

static struct {
    int colours;     /* added to every row's background */
    int shape;       /* of the cursor */
    int start;       /* first row shown */
    int row, column; /* of the face */
    uint16_t under;  /* the cell the face covers */
} demo;

static volatile uint16_t *cell(int row, int column)
{
    return (volatile uint16_t *)0xb8000 + row * VGA_COLUMNS + column;
}

static void show_face(void)
{
    demo.under = *cell(demo.row, demo.column);
    vga_put(demo.row, demo.column, FACE, VGA_ATTRIBUTE(YELLOW, BLACK));
    vga_cursor(demo.row, demo.column);
}

static void move_face(int down, int right)
{
    *cell(demo.row, demo.column) = demo.under;
    demo.row = (demo.row + down + ALL_ROWS) % ALL_ROWS;
    demo.column = (demo.column + right + VGA_COLUMNS) % VGA_COLUMNS;
    show_face();
}

/* Each row on the next of the 16 backgrounds: the last 8 of them are seen as blinking text instead,
   unless blinking is off. */
static void draw(void)
{
    static const char help[] =
        "c colours  b blink  s cursor  u/d scroll  arrows move  Escape ends";
    for (int row = 0; row < ALL_ROWS; row++) {
        int background = (row + demo.colours) % 16;
        int text = background % 8 == LIGHT_GREY ? BLACK : WHITE;
        uint8_t attribute = VGA_ATTRIBUTE(text, background);
        vga_clear(row, 1, attribute);
        vga_put(row, 1, '0' + row / 10, attribute);
        vga_put(row, 2, '0' + row % 10, attribute);
        vga_print(row, 5, row == 0 || row == VGA_ROWS ? help : "text on a background", attribute);
    }
    show_face();
}

/* The attribute controller takes register number and value at one port, in turn; reading the
   input status makes the number the next. */
static void toggle_blink(void)
{
    read_port(INPUT_STATUS);
    write_port(ATTRIBUTE_WRITE, ATTRIBUTE_MODE | ATTRIBUTE_SCREEN_ON);
    uint8_t mode = read_port(ATTRIBUTE_READ);
    write_port(ATTRIBUTE_WRITE, mode ^ ATTRIBUTE_MODE_BLINK);
}

static void next_cursor_shape(void)
{
    /* First and last scan line of a 16-line character; bit 5 of the first switches it off. */
    static const uint8_t cursor_shapes[4][2] = { { 14, 15 }, { 8, 15 }, { 0, 15 }, { 0x20, 0 } };
    demo.shape = (demo.shape + 1) % 4;
    vga_crtc(CRTC_CURSOR_START, cursor_shapes[demo.shape][0]);
    vga_crtc(CRTC_CURSOR_END, cursor_shapes[demo.shape][1]);
}

static void scroll(int rows)
{
    int start = demo.start + rows;
    if (start < 0 || start > ALL_ROWS - VGA_ROWS)
        return;
    demo.start = start;
    vga_crtc(CRTC_START_HIGH, start * VGA_COLUMNS >> 8);
    vga_crtc(CRTC_START_LOW, start * VGA_COLUMNS & 0xff);
}

uint64_t guest_main(void)
{
    demo.row = VGA_ROWS / 2;
    demo.column = VGA_COLUMNS / 2;
    draw();
    keyboard_enable();
    for (;;) {
        switch (keyboard_code()) {
        case KEY_C:
            demo.colours++;
            draw();
            break;
        case KEY_B:
            toggle_blink();
            break;
        case KEY_S:
            next_cursor_shape();
            break;
        case KEY_U:
            scroll(-1);
            break;
        case KEY_D:
            scroll(1);
            break;
        case KEY_UP:
            move_face(-1, 0);
            break;
        case KEY_DOWN:
            move_face(1, 0);
            break;
        case KEY_LEFT:
            move_face(0, -1);
            break;
        case KEY_RIGHT:
            move_face(0, 1);
            break;
        case SCAN_ESCAPE:
            return 0;
        }
    }
}
