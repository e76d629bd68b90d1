/* disk-copy: copies the first sector of a disk to its last one, and polls while the disk works.

   Run:   truncate -s 1M disk.img; printf 'some text' | dd of=disk.img conv=notrunc
          kvm --disk disk.img disk-copy.elf
   See:   the number of sectors; `tail -c 512 disk.img` has the text.
   Exit status 0; the result is the number of sectors. */
#include "ata.h"
#include "serial.h"

static uint16_t data[ATA_WORDS];

/* Waits for the disk; its status. */
static uint8_t wait_for_disk(void)
{
    uint8_t status;
    while ((status = read_port(ATA_STATUS)) & ATA_BSY)
        ;
    return status;
}

uint64_t guest_main(void)
{
    ata_command(ATA_IDENTIFY, ata_lba28(0), 0);
    if (!(wait_for_disk() & ATA_DRQ)) {
        serial_print(COM1, "There is no disk: --disk FILE.\n");
        return 0;
    }
    ata_read_data(data, 1);
    uint32_t sectors = data[60] | (uint32_t)data[61] << 16;
    serial_print_decimal(COM1, sectors);
    serial_print(COM1, " sectors\n");

    ata_command(ATA_READ, ata_lba28(0), 1);
    wait_for_disk();
    ata_read_data(data, 1);
    ata_command(ATA_WRITE, ata_lba28(sectors - 1), 1);
    wait_for_disk();
    ata_write_data(data, 1);
    ata_command(ATA_FLUSH, ata_lba28(0), 0);
    if (wait_for_disk() & ATA_FAILED)
        serial_print(COM1, "The disk cannot be written.\n");
    return sectors;
}
