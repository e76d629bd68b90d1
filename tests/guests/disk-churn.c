/* disk-churn: writes the first IDE disk by PIO and reads it back without end (churn.h), with an interrupt for each
   sector. */
#include "ata.h"
#include "churn.h"
#include "interrupts.h"

enum { DISK_LINE = 14 };

static volatile uint64_t interrupts;

__attribute__((interrupt)) static void on_disk(struct frame *frame)
{
    (void)frame;
    (void)read_port(ATA_STATUS);
    interrupts++;
    end_of_interrupt(DISK_LINE);
}

/* Sleeps until one more interrupt than `before` has come. */
static void wait_for_interrupt(uint64_t before)
{
    interrupts_off();
    while (interrupts == before)
        sleep_until_interrupt();
    interrupts_on();
}

static void write_sectors(uint32_t lba)
{
    uint64_t before = interrupts;
    ata_command(ATA_WRITE, ata_lba28(lba), CHURN_SECTORS);
    for (uint32_t sector = 0; sector < CHURN_SECTORS; sector++) {
        if (sector > 0)
            wait_for_interrupt(before + sector - 1);
        if (sector == CHURN_SECTORS / 2)
            churn_in_the_middle();
        ata_write_data(churn_data + sector * ATA_WORDS, 1);
    }
    wait_for_interrupt(before + CHURN_SECTORS - 1);
}

static void read_sectors(uint32_t lba)
{
    uint64_t before = interrupts;
    ata_command(ATA_READ, ata_lba28(lba), CHURN_SECTORS);
    for (uint32_t sector = 0; sector < CHURN_SECTORS; sector++) {
        wait_for_interrupt(before + sector);
        if (sector == CHURN_SECTORS / 2)
            churn_in_the_middle();
        ata_read_data(churn_data + sector * ATA_WORDS, 1);
    }
}

uint64_t guest_main(void)
{
    interrupts_setup();
    set_handler(FIRST_VECTOR + DISK_LINE, on_disk);
    unmask_line(DISK_LINE);
    interrupts_on();
    uint64_t wrong = churn();
    interrupts_off();
    return wrong;
}
