/* The bus master of the IDE function (Programming Interface for Bus Master IDE Controller, revision 1.0). */
#ifndef BUS_MASTER_H
#define BUS_MASTER_H

#include "pci.h"

/* Its ports; those of the secondary channel follow. */
enum { BM_COMMAND = 0, BM_STATUS = 2, BM_TABLE = 4, BM_SECONDARY = 8 };

enum { BM_START = 0x01, BM_TO_MEMORY = 0x08 };
enum { BM_ACTIVE = 0x01, BM_ERROR = 0x02, BM_INTERRUPT = 0x04 };

/* A physical region descriptor; a table of them lies at a multiple of four and crosses no boundary of 64 KiB. */
struct region {
    uint32_t address;
    uint16_t length; /* 0: 64 KiB */
    uint16_t flags;
};

enum { REGION_LAST = 0x8000 };

/* Lets the function at 00:01.1 act as a bus master; its first port. */
static inline uint16_t bus_master_enable(void)
{
    pci_write(0, 1, 1, PCI_COMMAND, (pci_read(0, 1, 1, PCI_COMMAND) & 0xffff) | 0x05);
    return pci_read(0, 1, 1, 0x20) & 0xfff0;
}

static inline struct region region(const void *memory, uint32_t length, int last)
{
    return (struct region){(uint32_t)(uint64_t)memory, length, last ? REGION_LAST : 0};
}

/* Prepares a transfer; BM_START of the command starts it. */
static inline void bus_master_prepare(uint16_t port, const struct region *table, uint8_t direction)
{
    /* The table and what is to be written are in memory. */
    __asm__ volatile("" : : : "memory");
    write_port(port + BM_COMMAND, direction);
    write_port(port + BM_STATUS, BM_ERROR | BM_INTERRUPT);
    write_port_dword(port + BM_TABLE, (uint32_t)(uint64_t)table);
}

#endif
