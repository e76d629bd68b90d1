/* devices: a scan of PCI buses, and reads and writes of an IDE disk of 16 MiB, by PIO and by DMA. */
#include "pci.h"
#include "platform.h"

/* KVM exits once for many elements of `rep ins`, but for each one of `rep outs`: fewer writes. */
enum { BUSES = 64, SECTORS = 128, COMMANDS = 64, WRITES = 4, SINGLE = 500, LAST_SECTOR = 32768 };
enum { IDE_DEVICE = 1, IDE_FUNCTION = 1, PCI_BAR4 = 0x20 };
enum { PORT = 0x1F0, READ = 0x20, WRITE = 0x30, READ_DMA = 0xC8, WRITE_DMA = 0xCA };
enum { BUSY = 0x80, DATA_REQUEST = 0x08, FAILED = 0x21 };

static uint8_t buffer[SECTORS * 512] __attribute__((aligned(65536)));
static struct {
    uint32_t address, length;
} region __attribute__((aligned(8)));

static void command(uint32_t sector, uint32_t sectors, uint8_t code)
{
    write_port(PORT + 6, 0xE0 | (sector >> 24 & 0xF));
    write_port(PORT + 2, sectors);
    write_port(PORT + 3, sector);
    write_port(PORT + 4, sector >> 8);
    write_port(PORT + 5, sector >> 16);
    write_port(PORT + 7, code);
}

/* True if the drive wants to transfer data. */
static int wait(void)
{
    uint8_t status;
    while ((status = read_port(PORT + 7)) & BUSY)
        ;
    return !(status & FAILED) && status & DATA_REQUEST;
}

static int read_sectors(uint32_t sector, uint32_t sectors)
{
    void *to = buffer;
    command(sector, sectors, READ);
    while (sectors--) {
        uint64_t words = 256;
        if (!wait())
            return 0;
        __asm__ volatile("rep insw" : "+D"(to), "+c"(words) : "d"(PORT) : "memory");
    }
    return 1;
}

static int write_sectors(uint32_t sector, uint32_t sectors)
{
    const void *from = buffer;
    command(sector, sectors, WRITE);
    while (sectors--) {
        uint64_t words = 256;
        if (!wait())
            return 0;
        __asm__ volatile("rep outsw" : "+S"(from), "+c"(words) : "d"(PORT) : "memory");
    }
    wait();
    return 1;
}

/* Ports of the bus master; 0 if there is none. */
static uint16_t bus_master(void)
{
    uint32_t bar = pci_read(0, IDE_DEVICE, IDE_FUNCTION, PCI_BAR4);
    if (bar == 0xFFFFFFFF || !(bar & ~3u))
        return 0;
    uint32_t on = pci_read(0, IDE_DEVICE, IDE_FUNCTION, PCI_COMMAND) | 5;
    write_port_dword(PCI_DATA, on);
    return bar & ~3u;
}

static int transfer(uint16_t master, uint32_t sector, uint32_t sectors, int to_disk)
{
    uint8_t status;
    region.address = (uint32_t)(uint64_t)buffer;
    region.length = 1u << 31 | (sectors * 512 & 0xFFFF);
    write_port_dword(master + 4, (uint32_t)(uint64_t)&region);
    write_port(master, to_disk ? 0 : 8);
    write_port(master + 2, 6);
    command(sector, sectors, to_disk ? WRITE_DMA : READ_DMA);
    write_port(master, to_disk ? 1 : 9);
    while ((status = read_port(master + 2)) & 1 && !(status & 6))
        ;
    while (read_port(PORT + 7) & BUSY)
        ;
    write_port(master, 0);
    return !(status & 2) && !(read_port(PORT + 7) & FAILED);
}

static void many(const char *what, uint16_t master, int to_disk)
{
    uint32_t commands = master || !to_disk ? COMMANDS : WRITES;
    uint64_t start = cycles();
    for (uint32_t i = 0; i < commands; i++) {
        int done = master ? transfer(master, i * SECTORS, SECTORS, to_disk)
                          : to_disk ? write_sectors(i * SECTORS, SECTORS) : read_sectors(i * SECTORS, SECTORS);
        if (!done)
            return;
    }
    report(what, commands * sizeof buffer, cycles() - start);
}

static void single(const char *what, uint16_t master)
{
    uint64_t start = cycles();
    for (uint32_t i = 0, sector = 1; i < SINGLE; i++) {
        sector = (sector * 1103515245 + 12345) % LAST_SECTOR;
        if (!(master ? transfer(master, sector, 1, 0) : read_sectors(sector, 1)))
            return;
    }
    report(what, SINGLE, cycles() - start);
}

uint64_t guest_main(void)
{
    uint64_t start = cycles(), found = 0;
    for (uint32_t bus = 0; bus < BUSES; bus++)
        for (uint32_t function = 0; function < 256; function++)
            found += pci_read(bus, function / 8, function % 8, PCI_IDENTITY) != PCI_ABSENT;
    if (found)
        report("scan", BUSES * 256, cycles() - start);

    write_port(0x3F6, 2); /* no interrupts */
    many("read", 0, 0);
    many("write", 0, 1);
    single("single", 0);
    uint16_t master = bus_master();
    if (master) {
        many("read-dma", master, 0);
        many("write-dma", master, 1);
        single("single-dma", master);
    }
    serial_print(COM1, "end\n");
    return 0;
}
