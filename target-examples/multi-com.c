/* multi-com: a line on each of the four serial ports.

   Run:   kvm --serial 1=stdio --serial 2=file:com2.txt --serial 3=log --serial 4=null multi-com.elf
   See:   "This is COM1." on the terminal, COM2's line in com2.txt, COM3's in the log.
   Exit status 0. */
#include "serial.h"

uint64_t guest_main(void)
{
    static const uint16_t ports[4] = { COM1, COM2, COM3, COM4 };
    for (int i = 0; i < 4; i++) {
        serial_print(ports[i], "This is COM");
        serial_put(ports[i], '1' + i);
        serial_print(ports[i], ".\n");
    }
    return 0;
}
