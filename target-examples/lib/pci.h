/* The configuration spaces of PCI functions, by mechanism #1 (PCI Local Bus Specification 3.0, 3.2.2.3.2). */
#ifndef PCI_H
#define PCI_H

#include "ports.h"

enum { PCI_ADDRESS = 0xcf8, PCI_DATA = 0xcfc };

/* Registers of a configuration space. */
enum { PCI_IDENTITY = 0x00, PCI_COMMAND = 0x04, PCI_CLASS = 0x08, PCI_HEADER_TYPE = 0x0c };

/* Bit 7 of the header type, in the dword at PCI_HEADER_TYPE: the device has several functions. */
static const uint32_t PCI_MULTI_FUNCTION = 0x00800000;

/* What PCI_IDENTITY reads as where there is no function. */
static const uint32_t PCI_ABSENT = 0xffffffff;

/* The dword of the configuration space that `reg` lies in. */
static inline uint32_t pci_read(uint32_t bus, uint32_t device, uint32_t function, uint32_t reg)
{
    write_port_dword(PCI_ADDRESS, 0x80000000 | bus << 16 | device << 11 | function << 8 | (reg & 0xfc));
    return read_port_dword(PCI_DATA);
}

static inline void pci_write(uint32_t bus, uint32_t device, uint32_t function, uint32_t reg, uint32_t value)
{
    write_port_dword(PCI_ADDRESS, 0x80000000 | bus << 16 | device << 11 | function << 8 | (reg & 0xfc));
    write_port_dword(PCI_DATA, value);
}

#endif
