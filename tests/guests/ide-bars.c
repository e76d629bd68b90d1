/* ide-bars: the low halves of base address registers 0 and 1 of the IDE function are its result, after it has written to
   them and reset the machine once. */
#include "pci.h"

enum { IDE_BUS = 0, IDE_DEVICE = 1, IDE_FUNCTION = 1, BAR0 = 0x10, BAR1 = 0x14, RESET_CONTROL = 0xcf9 };

/* CMOS RAM keeps its contents in a reset. */
enum { CMOS_INDEX = 0x70, CMOS_DATA = 0x71, MARK_REGISTER = 0x40, MARK = 0x5a };

static uint32_t bar(uint32_t reg)
{
    pci_read(IDE_BUS, IDE_DEVICE, IDE_FUNCTION, reg);
    write_port_dword(PCI_DATA, 0xffffffff);
    return pci_read(IDE_BUS, IDE_DEVICE, IDE_FUNCTION, reg);
}

uint64_t guest_main(void)
{
    uint64_t result = (uint64_t)bar(BAR1) << 16 | bar(BAR0);
    write_port(CMOS_INDEX, MARK_REGISTER);
    if (read_port(CMOS_DATA) != MARK) {
        write_port(CMOS_DATA, MARK);
        write_port(RESET_CONTROL, 0x06);
    }
    return result;
}
