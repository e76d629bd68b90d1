/* A hard disk on the primary IDE channel (ATA/ATAPI-6, the PIO data protocols). */
#ifndef ATA_H
#define ATA_H

#include "ports.h"

enum {
    ATA_DATA = 0x1F0,
    ATA_ERROR = 0x1F1,
    ATA_COUNT = 0x1F2,
    ATA_LBA_LOW = 0x1F3,
    ATA_LBA_MID = 0x1F4,
    ATA_LBA_HIGH = 0x1F5,
    ATA_DEVICE = 0x1F6,
    ATA_STATUS = 0x1F7, /* written: the command */
    ATA_CONTROL = 0x3F6,
    ATA_ALTERNATE_STATUS = 0x3F6,
};

/* Bits of the status and of the control register. */
enum { ATA_BSY = 0x80, ATA_DRQ = 0x08, ATA_FAILED = 0x01, ATA_SRST = 0x04, ATA_NIEN = 0x02 };

enum {
    ATA_READ = 0x20,
    ATA_READ_EXT = 0x24,
    ATA_WRITE = 0x30,
    ATA_WRITE_EXT = 0x34,
    ATA_READ_MULTIPLE = 0xC4,
    ATA_WRITE_MULTIPLE = 0xC5,
    ATA_SET_MULTIPLE = 0xC6,
    ATA_READ_DMA = 0xC8,
    ATA_READ_DMA_EXT = 0x25,
    ATA_WRITE_DMA = 0xCA,
    ATA_WRITE_DMA_EXT = 0x35,
    ATA_FLUSH = 0xE7,
    ATA_IDENTIFY = 0xEC,
};

/* Words in a sector. */
enum { ATA_WORDS = 256 };

/* The registers that hold the address of a sector: low, mid, high, for 48 bits their previous contents, and device. */
struct ata_address {
    uint8_t now[3], previous[3], device;
};

static inline struct ata_address ata_lba28(uint32_t lba)
{
    return (struct ata_address){{lba, lba >> 8, lba >> 16}, {0}, 0x40 | (lba >> 24 & 15)};
}

static inline struct ata_address ata_lba48(uint64_t lba)
{
    return (struct ata_address){{lba, lba >> 8, lba >> 16}, {lba >> 24, lba >> 32, lba >> 40}, 0x40};
}

static inline struct ata_address ata_chs(uint16_t cylinder, uint8_t head, uint8_t sector)
{
    return (struct ata_address){{sector, cylinder, cylinder >> 8}, {0}, head};
}

/* Starts a command; a count of 48 bits has its high byte in `count >> 8`. */
static inline void ata_command(uint8_t command, struct ata_address at, uint16_t count)
{
    write_port(ATA_DEVICE, at.device);
    write_port(ATA_COUNT, count >> 8);
    for (int i = 0; i < 3; i++)
        write_port(ATA_LBA_LOW + i, at.previous[i]);
    write_port(ATA_COUNT, count);
    for (int i = 0; i < 3; i++)
        write_port(ATA_LBA_LOW + i, at.now[i]);
    write_port(ATA_STATUS, command);
}

static inline void ata_read_data(uint16_t *data, int sectors)
{
    uint64_t words = sectors * ATA_WORDS;
    __asm__ volatile("rep insw" : "+D"(data), "+c"(words) : "d"(ATA_DATA) : "memory");
}

static inline void ata_write_data(const uint16_t *data, int sectors)
{
    uint64_t words = sectors * ATA_WORDS;
    __asm__ volatile("rep outsw" : "+S"(data), "+c"(words) : "d"(ATA_DATA) : "memory");
}

#endif
