/* mouse: a driver of the PS/2 mouse with its wheel, which tells where the mouse has gone.

   Run:   kvm --display vga --serial 1=file:mouse.txt mouse.elf
   See:   a line in mouse.txt for each packet: the way since the start (right and down), the wheel and the buttons (1
          left, 2 right, 4 middle). The right button ends it. On the console, mouse_move and mouse_button do the same.
   Exit status 0; the result is the number of packets. */
#include "interrupts.h"
#include "keyboard.h"
#include "serial.h"

enum { MOUSE_LINE = 12 };

/* Commands to the controller: enable the mouse's port; the next byte at the data port is for the mouse. */
enum { MOUSE_PORT_ENABLE = 0xA8, MOUSE_WRITE = 0xD4 };

/* Configuration: as KEYBOARD_POLLED, with the mouse and its interrupt. */
enum { MOUSE_INTERRUPTS = 0x42 };

/* Commands to the mouse. */
enum { MOUSE_RESET = 0xFF, MOUSE_IDENTIFY = 0xF2, MOUSE_SAMPLE_RATE = 0xF3, MOUSE_ENABLE = 0xF4, MOUSE_DISABLE = 0xF5 };

/* First byte of a packet. */
enum { BUTTONS = 0x07, RIGHT_BUTTON = 0x02, ALWAYS_ONE = 0x08, X_NEGATIVE = 0x10, Y_NEGATIVE = 0x20 };

static volatile uint64_t packets;
static volatile int ended;
static int32_t x, y, wheel;
static uint8_t packet[4];
static int received;
static int packet_size = 3;

static void print_signed(const char *name, int32_t value)
{
    serial_print(COM1, name);
    if (value < 0)
        serial_put(COM1, '-');
    serial_print_decimal(COM1, value < 0 ? -(int64_t)value : value);
}

static uint8_t answer(void)
{
    while (!(read_port(KEYBOARD_STATUS) & KEYBOARD_FULL))
        ;
    return read_port(KEYBOARD_DATA);
}

/* Sends a byte to the mouse; it acknowledges it. */
static void tell_mouse(uint8_t byte)
{
    write_port(KEYBOARD_COMMAND, MOUSE_WRITE);
    write_port(KEYBOARD_DATA, byte);
    answer();
}

/* These three rates in a row ask for the wheel. */
static void ask_for_wheel(void)
{
    static const uint8_t rates[] = {200, 100, 80};
    for (int i = 0; i < 3; i++) {
        tell_mouse(MOUSE_SAMPLE_RATE);
        tell_mouse(rates[i]);
    }
}

__attribute__((interrupt)) static void on_mouse(struct frame *frame)
{
    uint8_t byte = read_port(KEYBOARD_DATA);
    (void)frame;
    /* Without this bit it is no first byte of a packet. */
    if (received || byte & ALWAYS_ONE)
        packet[received++] = byte;
    if (received == packet_size) {
        received = 0;
        packets++;
        x += packet[1] - (packet[0] & X_NEGATIVE ? 256 : 0);
        y -= packet[2] - (packet[0] & Y_NEGATIVE ? 256 : 0);
        if (packet_size == 4)
            wheel += (int8_t)packet[3];
        print_signed("x ", x);
        print_signed(" y ", y);
        print_signed(" wheel ", wheel);
        print_signed(" buttons ", packet[0] & BUTTONS);
        serial_put(COM1, '\n');
        ended |= packet[0] & RIGHT_BUTTON;
    }
    end_of_interrupt(MOUSE_LINE);
}

uint64_t guest_main(void)
{
    write_port(KEYBOARD_COMMAND, MOUSE_PORT_ENABLE);
    tell_mouse(MOUSE_RESET);
    answer(); /* the self-test has passed */
    answer(); /* the identity of a mouse without a wheel */
    ask_for_wheel();
    tell_mouse(MOUSE_IDENTIFY);
    if (answer() == 3)
        packet_size = 4;

    interrupts_setup();
    set_handler(FIRST_VECTOR + MOUSE_LINE, on_mouse);
    serial_print(COM1, packet_size == 4 ? "A mouse with a wheel.\n" : "A mouse.\n");
    tell_mouse(MOUSE_ENABLE);
    write_port(KEYBOARD_COMMAND, KEYBOARD_CONFIGURE);
    write_port(KEYBOARD_DATA, MOUSE_INTERRUPTS);
    unmask_line(MOUSE_LINE);
    serial_print(COM1, "Move it; the right button ends.\n");
    while (!ended)
        sleep_until_interrupt();
    interrupts_off();
    tell_mouse(MOUSE_DISABLE);
    return packets;
}
