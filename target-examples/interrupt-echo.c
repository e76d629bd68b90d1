/* interrupt-echo: sleeps until a key is pressed or a byte arrives, and tells which interrupt it was.

   Run:   kvm --keys keyboard --display serial interrupt-echo.elf
   See:   a line for each scan code of the keyboard and each byte of COM1. Escape ends it.
   Exit status 0; the result is the number of interrupts. */
#include "interrupts.h"
#include "keyboard.h"
#include "serial.h"

/* Configuration of the keyboard controller: as KEYBOARD_POLLED, with interrupts. */
enum { KEYBOARD_INTERRUPTS = 0x61 };
/* Interrupt enable register of a serial port, and its bit for received bytes. */
enum { SERIAL_INTERRUPT_ENABLE = 1, SERIAL_ON_RECEIVED = 0x01 };

static volatile uint64_t interrupts;
static volatile int ended;

__attribute__((interrupt)) static void on_key(struct frame *frame)
{
    uint8_t code = read_port(KEYBOARD_DATA);
    (void)frame;
    interrupts++;
    serial_print(COM1, "key ");
    serial_print_hex(COM1, code, 2);
    serial_put(COM1, '\n');
    ended |= code == SCAN_ESCAPE;
    end_of_interrupt(KEYBOARD_LINE);
}

__attribute__((interrupt)) static void on_serial(struct frame *frame)
{
    (void)frame;
    interrupts++;
    while (read_port(COM1 + SERIAL_LINE_STATUS) & SERIAL_RECEIVED) {
        uint8_t byte = read_port(COM1 + SERIAL_DATA);
        serial_print(COM1, "byte ");
        serial_print_hex(COM1, byte, 2);
        serial_put(COM1, '\n');
        ended |= byte == 0x1B;
    }
    end_of_interrupt(COM1_LINE);
}

uint64_t guest_main(void)
{
    interrupts_setup();
    set_handler(FIRST_VECTOR + KEYBOARD_LINE, on_key);
    set_handler(FIRST_VECTOR + COM1_LINE, on_serial);
    write_port(KEYBOARD_COMMAND, KEYBOARD_CONFIGURE);
    write_port(KEYBOARD_DATA, KEYBOARD_INTERRUPTS);
    write_port(COM1 + SERIAL_INTERRUPT_ENABLE, SERIAL_ON_RECEIVED);
    unmask_line(KEYBOARD_LINE);
    unmask_line(COM1_LINE);
    serial_print(COM1, "Type; Escape ends.\n");
    while (!ended)
        sleep_until_interrupt();
    return interrupts;
}
