/* dma-churn: writes the first IDE disk by bus master DMA and reads it back without end (churn.h). The table of the bus
   master first ends in the middle of a sector; the drive then waits for the next table. */
#include "ata.h"
#include "bus_master.h"
#include "churn.h"
#include "interrupts.h"

enum { DISK_LINE = 14, FIRST = 3 * 512 + 100, REST = CHURN_SECTORS * 512 - FIRST };

static volatile uint64_t interrupts;
static uint16_t bus_master;
static struct region table[2] __attribute__((aligned(16)));

__attribute__((interrupt)) static void on_disk(struct frame *frame)
{
    (void)frame;
    (void)read_port(ATA_STATUS);
    interrupts++;
    end_of_interrupt(DISK_LINE);
}

static void transfer(uint8_t command, uint32_t lba, uint8_t direction)
{
    uint64_t before = interrupts;
    char *data = (char *)churn_data;
    table[0] = region(data, 1000, 0);
    table[1] = region(data + 1000, FIRST - 1000, 1);
    bus_master_prepare(bus_master, table, direction);
    ata_command(command, ata_lba28(lba), CHURN_SECTORS);
    write_port(bus_master + BM_COMMAND, direction | BM_START);
    while (read_port(bus_master + BM_STATUS) & BM_ACTIVE)
        ;
    churn_in_the_middle();
    table[0] = region(data + FIRST, REST, 1);
    bus_master_prepare(bus_master, table, direction);
    write_port(bus_master + BM_COMMAND, direction | BM_START);
    interrupts_off();
    while (interrupts == before)
        sleep_until_interrupt();
    interrupts_on();
    write_port(bus_master + BM_COMMAND, direction);
    __asm__ volatile("" : : : "memory");
}

static void write_sectors(uint32_t lba)
{
    transfer(ATA_WRITE_DMA, lba, 0);
}

static void read_sectors(uint32_t lba)
{
    transfer(ATA_READ_DMA, lba, BM_TO_MEMORY);
}

uint64_t guest_main(void)
{
    interrupts_setup();
    set_handler(FIRST_VECTOR + DISK_LINE, on_disk);
    unmask_line(DISK_LINE);
    interrupts_on();
    bus_master = bus_master_enable();
    uint64_t wrong = churn();
    interrupts_off();
    return wrong;
}
