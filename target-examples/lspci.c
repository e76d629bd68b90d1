/* lspci: lists the functions on the PCI buses, as the Linux program of this name does with -n.

   Run:   kvm lspci.elf
   See:   for each function its bus, device and number, class and subclass, vendor and device.
   Exit status 0; the result is how many there are. */
#include "pci.h"
#include "serial.h"

static void print_hex(uint32_t value, int digits)
{
    while (digits--)
        serial_put(COM1, "0123456789abcdef"[value >> (4 * digits) & 15]);
}

static void print(uint32_t bus, uint32_t device, uint32_t function, uint32_t identity)
{
    print_hex(bus, 2);
    serial_put(COM1, ':');
    print_hex(device, 2);
    serial_put(COM1, '.');
    print_hex(function, 1);
    serial_put(COM1, ' ');
    print_hex(pci_read(bus, device, function, PCI_CLASS) >> 16, 4);
    serial_print(COM1, ": ");
    print_hex(identity & 0xffff, 4);
    serial_put(COM1, ':');
    print_hex(identity >> 16, 4);
    serial_put(COM1, '\n');
}

/* Lists the functions of a device; returns how many it has. */
static int list(uint32_t bus, uint32_t device)
{
    int found = 0;
    uint32_t functions = 1;
    for (uint32_t function = 0; function < functions; function++) {
        uint32_t identity = pci_read(bus, device, function, PCI_IDENTITY);
        if (identity == PCI_ABSENT)
            continue;
        /* Function 0 says whether there are others. */
        if (pci_read(bus, device, function, PCI_HEADER_TYPE) & PCI_MULTI_FUNCTION)
            functions = 8;
        print(bus, device, function, identity);
        found++;
    }
    return found;
}

uint64_t guest_main(void)
{
    int found = 0;
    for (uint32_t bus = 0; bus < 256; bus++)
        for (uint32_t device = 0; device < 32; device++)
            found += list(bus, device);
    return found;
}
