/* serial: a small command line on the first serial port, with echo and Backspace.

   Run:   kvm --keys serial serial.elf
   See:   a prompt. "help" lists the commands; "quit" or Ctrl-D ends it.
   Exit status 0; the result is the number of commands. */
#include "serial.h"

enum { CTRL_D = 4, BACKSPACE = 8, DELETE = 0x7f, LONGEST = 78 };

/* Offsets of registers, and their bits, that only setting up needs. */
enum { DIVISOR_LOW = 0, DIVISOR_HIGH = 1, INTERRUPTS = 1, FIFO = 2, LINE = 3, MODEM = 4 };
enum { LINE_8N1 = 0x03, LINE_DIVISOR = 0x80, FIFO_ON_AND_CLEAR = 0x07, MODEM_DTR_RTS = 0x03 };

/* 115200 baud, 8 data bits, no parity, 1 stop bit, no interrupts. */
static void set_up(void)
{
    write_port(COM1 + INTERRUPTS, 0);
    write_port(COM1 + LINE, LINE_DIVISOR);
    write_port(COM1 + DIVISOR_LOW, 1);
    write_port(COM1 + DIVISOR_HIGH, 0);
    write_port(COM1 + LINE, LINE_8N1);
    write_port(COM1 + FIFO, FIFO_ON_AND_CLEAR);
    write_port(COM1 + MODEM, MODEM_DTR_RTS);
}

/* Reads a line; returns 0 at the end of the input. */
static int read_line(char *line)
{
    int length = 0;
    for (;;) {
        char character = serial_get(COM1);
        if (character == '\r' || character == '\n') {
            serial_print(COM1, "\r\n");
            line[length] = 0;
            return 1;
        }
        if (character == CTRL_D && length == 0)
            return 0;
        if (character == BACKSPACE || character == DELETE) {
            if (length) {
                length--;
                serial_print(COM1, "\b \b");
            }
        } else if (character >= ' ' && length < LONGEST) {
            line[length++] = character;
            serial_put(COM1, character);
        }
    }
}

/* If line is command, or command and a space and more, returns the more; else 0. */
static const char *arguments(const char *line, const char *command)
{
    while (*command)
        if (*line++ != *command++)
            return 0;
    if (*line == ' ')
        return line + 1;
    return *line ? 0 : line;
}

static void show_status(void)
{
    static const char *const names[8] = { "received", "overrun", "parity error", "framing error",
                                          "break", "can send", "all sent", "FIFO error" };
    uint8_t status = read_port(COM1 + SERIAL_LINE_STATUS);
    serial_print(COM1, "line status ");
    serial_print_hex(COM1, status, 2);
    for (int bit = 0; bit < 8; bit++) {
        if (status & 1 << bit) {
            serial_print(COM1, ", ");
            serial_print(COM1, names[bit]);
        }
    }
    serial_print(COM1, "\r\n");
}

uint64_t guest_main(void)
{
    char line[LONGEST + 1];
    const char *rest;
    uint64_t commands = 0;
    set_up();
    serial_print(COM1, "A command line on COM1; try help.\r\n");
    for (;;) {
        serial_print(COM1, "> ");
        if (!read_line(line))
            break;
        if (!*line)
            continue;
        commands++;
        if (arguments(line, "help")) {
            serial_print(COM1, "help       this list\r\n"
                               "echo TEXT  prints the text\r\n"
                               "status     the line status register\r\n"
                               "quit       the end (or Ctrl-D)\r\n");
        } else if ((rest = arguments(line, "echo"))) {
            serial_print(COM1, rest);
            serial_print(COM1, "\r\n");
        } else if (arguments(line, "status")) {
            show_status();
        } else if (arguments(line, "quit")) {
            break;
        } else {
            serial_print(COM1, "unknown command; try help\r\n");
        }
    }
    serial_print(COM1, "bye\r\n");
    return commands;
}
