/* disk-dma: writes to the first IDE disk and reads it by bus master DMA, and prints for each command the status and error
   registers, the number of interrupts, and the status of the bus master. The result is the number of differences. */
#include "ata.h"
#include "bus_master.h"
#include "interrupts.h"
#include "serial.h"

enum { DISK_LINE = 14, SECTORS = 16, BYTES = SECTORS * 512 };

static volatile uint64_t interrupts;
static uint64_t differences;
static uint16_t bus_master;
static uint16_t written[SECTORS * ATA_WORDS], found[SECTORS * ATA_WORDS];
static struct region table[4] __attribute__((aligned(64)));

__attribute__((interrupt)) static void on_disk(struct frame *frame)
{
    (void)frame;
    (void)read_port(ATA_STATUS);
    interrupts++;
    end_of_interrupt(DISK_LINE);
}

static void report(const char *name)
{
    serial_print(COM1, name);
    serial_print(COM1, ": status ");
    serial_print_hex(COM1, read_port(ATA_ALTERNATE_STATUS), 2);
    serial_print(COM1, " error ");
    serial_print_hex(COM1, read_port(ATA_ERROR), 2);
    serial_print(COM1, " interrupts ");
    serial_print_decimal(COM1, interrupts);
    serial_print(COM1, " bus master ");
    serial_print_hex(COM1, read_port(bus_master + BM_STATUS), 2);
    serial_print(COM1, "\n");
}

/* Starts a command and its transfer; `to_memory` for one that reads. */
static void start(uint8_t command, struct ata_address at, int sectors, uint8_t to_memory)
{
    interrupts = 0;
    bus_master_prepare(bus_master, table, to_memory);
    ata_command(command, at, sectors);
    write_port(bus_master + BM_COMMAND, to_memory | BM_START);
}

static void wait_for_interrupt(void)
{
    interrupts_off();
    while (interrupts == 0)
        sleep_until_interrupt();
    interrupts_on();
}

static void transfer(const char *name, uint8_t command, struct ata_address at, int sectors, uint8_t to_memory)
{
    start(command, at, sectors, to_memory);
    wait_for_interrupt();
    report(name);
    write_port(bus_master + BM_COMMAND, 0);
}

static void reset_drive(void)
{
    write_port(bus_master + BM_COMMAND, 0);
    write_port(ATA_CONTROL, ATA_SRST);
    write_port(ATA_CONTROL, 0);
}

/* Waits until the drive is not busy and the bus master has stopped, which ends without an interrupt. */
static void wait_until_stopped(void)
{
    while ((read_port(ATA_ALTERNATE_STATUS) & ATA_BSY) || (read_port(bus_master + BM_STATUS) & BM_ACTIVE))
        ;
}

uint64_t guest_main(void)
{
    interrupts_setup();
    set_handler(FIRST_VECTOR + DISK_LINE, on_disk);
    unmask_line(DISK_LINE);
    interrupts_on();
    bus_master = bus_master_enable();
    serial_print(COM1, "bus master at ");
    serial_print_hex(COM1, bus_master, 4);
    serial_print(COM1, "\n");

    /* The text of the host. */
    table[0] = region(found, 512, 1);
    transfer("read the text", ATA_READ_DMA, ata_lba28(0), 1, BM_TO_MEMORY);
    ((char *)found)[511] = 0;
    serial_print(COM1, (char *)found);

    /* In one piece to the disk, and back in three. */
    for (int word = 0; word < SECTORS * ATA_WORDS; word++)
        written[word] = (10 + word / ATA_WORDS) * 257 + word % ATA_WORDS;
    table[0] = region(written, BYTES, 1);
    transfer("write", ATA_WRITE_DMA, ata_lba28(10), SECTORS, 0);
    table[0] = region(found, 100, 0);
    table[1] = region((char *)found + 100, 5000, 0);
    table[2] = region((char *)found + 5100, BYTES - 5100, 1);
    transfer("read", ATA_READ_DMA_EXT, ata_lba48(10), SECTORS, BM_TO_MEMORY);
    for (int word = 0; word < SECTORS * ATA_WORDS; word++)
        differences += written[word] != found[word];

    /* A table for more than the command transfers, and for less. */
    table[0] = region(found, 0, 1);
    transfer("read with a long table", ATA_READ_DMA, ata_lba28(10), 1, BM_TO_MEMORY);
    table[0] = region(found, 512, 1);
    start(ATA_READ_DMA, ata_lba28(10), 2, BM_TO_MEMORY);
    wait_until_stopped();
    report("read with a short table");
    reset_drive();

    /* Memory that does not exist. */
    table[0] = (struct region){0xD0000000, 512, REGION_LAST};
    start(ATA_READ_DMA, ata_lba28(10), 1, BM_TO_MEMORY);
    wait_until_stopped();
    report("read to where nothing is");
    reset_drive();

    transfer("read beyond the end", ATA_READ_DMA_EXT, ata_lba48(1ull << 40), 1, BM_TO_MEMORY);
    interrupts_off();
    return differences;
}
