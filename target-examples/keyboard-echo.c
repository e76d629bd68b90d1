/* keyboard-echo: reads the keyboard, turns scan codes into characters of a US keyboard and sends
   them to the second serial port. Escape ends it.

   Run:   kvm --keys keyboard --serial 1=log --serial 2=stdio keyboard-echo.elf
   See:   the characters that you type, with upper and lower case.
   Exit status 0; the result is the number of characters sent. */
#include "keyboard.h"
#include "serial.h"

/* One character for each scan code from 0x00 to 0x39; a zero byte where the key has none. */
static const char plain[] = "\0\033" "1234567890-=\b\tqwertyuiop[]\n\0asdfghjkl;'`\0\\zxcvbnm,./\0*\0 ";
static const char shifted[] = "\0\033" "!@#$%^&*()_+\b\tQWERTYUIOP{}\n\0ASDFGHJKL:\"~\0|ZXCVBNM<>?\0*\0 ";

uint64_t guest_main(void)
{
    uint64_t sent = 0;
    int shift = 0;
    keyboard_enable();
    serial_print(COM2, "Type; Escape ends.\n");
    for (;;) {
        uint8_t code = keyboard_code();
        uint8_t key = code & ~SCAN_RELEASED;
        int pressed = !(code & SCAN_RELEASED);
        if (code == SCAN_EXTENDED) {
            keyboard_code(); /* arrows and the like have no character */
        } else if (key == SCAN_LEFT_SHIFT || key == SCAN_RIGHT_SHIFT) {
            shift = pressed;
        } else if (pressed && key == SCAN_ESCAPE) {
            serial_put(COM2, '\n');
            return sent;
        } else if (pressed && key < sizeof plain) {
            char character = shift ? shifted[key] : plain[key];
            if (character) {
                serial_put(COM2, character);
                sent++;
            }
        }
    }
}
