/* two-devices: two devices that print take turns. The command line names them, 1 to 4 for a serial port and e for
   port 0xE9, for example "1e"; a p after them asks for a prompt on the first one and a line on the second, and then
   waits for ever. Nothing is polled in between, so that a supervisor may collect the writes. */
#include "serial.h"
#include "start_info.h"

enum { ROUNDS = 40, DEBUG_CONSOLE = 0xe9 };

static uint16_t port(char name)
{
    static const uint16_t serial[4] = { COM1, COM2, COM3, COM4 };
    return name == 'e' ? DEBUG_CONSOLE : serial[(name - '1') & 3];
}

/* Puts "line NN of X, PHASE\n" together; its length. */
static int line(char *text, int number, char name, char phase)
{
    const char *form = "line 00 of X, phase P\n";
    int length = 0;
    for (; form[length]; length++)
        text[length] = form[length];
    text[5] += number / 10;
    text[6] += number % 10;
    text[11] = name;
    text[length - 2] = phase;
    return length;
}

static void print(uint16_t to, const char *text, int length)
{
    for (int i = 0; i < length; i++)
        write_port(to, text[i]);
}

uint64_t guest_main(const struct start_info *info)
{
    const char *names = (const char *)info->command_line;
    uint16_t ports[2] = { port(names[0]), port(names[1]) };
    char text[2][32];
    if (names[2] == 'p') {
        print(ports[0], "> ", 2);
        print(ports[1], text[0], line(text[0], 0, names[1], 'p'));
        for (;;)
            __asm__ volatile("sti; hlt");
    }
    /* Phase a: line by line. Both become busy. */
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < 2; i++)
            print(ports[i], text[i], line(text[i], round, names[i], 'a'));
    /* Phase b: byte by byte. */
    for (int round = 0; round < ROUNDS; round++) {
        int length = 0;
        for (int i = 0; i < 2; i++)
            length = line(text[i], round, names[i], 'b');
        for (int at = 0; at < length; at++)
            for (int i = 0; i < 2; i++)
                write_port(ports[i], text[i][at]);
    }
    /* Phase c: a panic in the middle of a log line. */
    int length = line(text[0], 0, names[0], 'c');
    print(ports[0], text[0], 7);
    print(ports[1], text[1], line(text[1], 0, names[1], 'c'));
    print(ports[0], text[0] + 7, length - 7);
    print(ports[1], "the end", 7);
    return 0;
}
