/* reset: resets the machine, in the way that the command line names:
     cf9       the reset control register of the chip set, port 0xCF9 (the default)
     keyboard  the keyboard controller's pulse on the reset line, command 0xFE to port 0x64
     fast      the fast reset bit of system control port A, port 0x92

   Run:   kvm --no-reboot --append keyboard reset.elf
   See:   one line; without --no-reboot the same line again and again, once for each restart.
   Exit status 18. */
#include "keyboard.h"
#include "serial.h"
#include "start_info.h"

static int same(const char *one, const char *other)
{
    while (*one && *one == *other) {
        one++;
        other++;
    }
    return *one == *other;
}

uint64_t guest_main(const struct start_info *info)
{
    const char *way = info && info->command_line ? (const char *)info->command_line : "";
    if (same(way, "keyboard")) {
        serial_print(COM1, "Reset by the keyboard controller ...\n");
        write_port(KEYBOARD_COMMAND, 0xfe);
    } else if (same(way, "fast")) {
        serial_print(COM1, "Reset by port 0x92 ...\n");
        /* The reset happens when bit 0 rises, so it has to be 0 first. */
        uint8_t control = read_port(0x92) & ~1;
        write_port(0x92, control);
        write_port(0x92, control | 1);
    } else {
        serial_print(COM1, "Reset by port 0xcf9 ...\n");
        write_port(0xcf9, 0x02); /* reset type: the whole machine */
        write_port(0xcf9, 0x06); /* start the reset */
    }
    serial_print(COM1, "Still here. The reset was ignored.\n");
    return 1;
}
