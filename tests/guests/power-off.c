/* power-off: powers the machine off as the command line says: "bochs" by the port of Bochs, "old" by the
   port of Bochs and old QEMU, "reset" resets it by the register that the FADT names; otherwise by QEMU's port.
   The debug exit status 3 if the machine is still on. */
#include "serial.h"
#include "start_info.h"

uint64_t guest_main(const struct start_info *info)
{
    const char *way = (const char *)info->command_line;
    switch (*way) {
    case 'b':
        for (const char *text = "Shutdown"; *text; text++)
            write_port(0x8900, *text);
        break;
    case 'o':
        write_port_word(0xb004, 0x2000);
        break;
    case 'r':
        write_port(0xcf9, 6);
        break;
    default:
        write_port_word(0x604, 0x2000);
    }
    serial_print(COM1, "still on\n");
    write_port(0xf4, 1);
    return 0;
}
