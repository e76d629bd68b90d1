/* disk: uses the first IDE disk in every way that PIO has, and prints what it finds: for each command the status and
   error registers at its end, and the number of interrupts it had. The result is the number of differences. */
#include "ata.h"
#include "interrupts.h"
#include "serial.h"

enum { DISK_LINE = 14 };

static volatile uint64_t interrupts;
static uint64_t differences, capacity;
static uint16_t data[16 * ATA_WORDS];

__attribute__((interrupt)) static void on_disk(struct frame *frame)
{
    (void)frame;
    (void)read_port(ATA_STATUS);
    interrupts++;
    end_of_interrupt(DISK_LINE);
}

static void print(const char *name, uint64_t value)
{
    serial_print(COM1, name);
    serial_print_decimal(COM1, value);
}

/* Sleeps until one more interrupt than `before` has come. */
static void wait_for_interrupt(uint64_t before)
{
    interrupts_off();
    while (interrupts == before)
        sleep_until_interrupt();
    interrupts_on();
}

static void report(const char *name, uint64_t before)
{
    serial_print(COM1, name);
    serial_print(COM1, ": status ");
    serial_print_hex(COM1, read_port(ATA_ALTERNATE_STATUS), 2);
    serial_print(COM1, " error ");
    serial_print_hex(COM1, read_port(ATA_ERROR), 2);
    print(" interrupts ", interrupts - before);
    serial_print(COM1, "\n");
}

static uint16_t pattern(uint64_t lba, uint32_t word)
{
    return (uint16_t)(lba * 257 + word);
}

/* A command that reads `sectors` sectors in blocks of `block`, and compares them with the pattern. */
static void read_sectors(const char *name, uint8_t command, struct ata_address at, uint64_t lba, int sectors, int block)
{
    uint64_t before = interrupts;
    ata_command(command, at, sectors);
    for (int done = 0; done < sectors; done += block) {
        wait_for_interrupt(before + (done + block - 1) / block);
        if (!(read_port(ATA_ALTERNATE_STATUS) & ATA_DRQ))
            break;
        int count = sectors - done < block ? sectors - done : block;
        ata_read_data(data, count);
        for (int sector = 0; sector < count; sector++)
            for (int word = 0; word < ATA_WORDS; word += 15)
                differences += data[sector * ATA_WORDS + word] != pattern(lba + done + sector, word);
    }
    report(name, before);
}

static void write_sectors(const char *name, uint8_t command, struct ata_address at, uint64_t lba, int sectors, int block)
{
    uint64_t before = interrupts;
    ata_command(command, at, sectors);
    for (int done = 0; done < sectors; done += block) {
        if (done > 0)
            wait_for_interrupt(before + done / block - 1);
        if (!(read_port(ATA_ALTERNATE_STATUS) & ATA_DRQ))
            break;
        int count = sectors - done < block ? sectors - done : block;
        for (int sector = 0; sector < count; sector++)
            for (int word = 0; word < ATA_WORDS; word++)
                data[sector * ATA_WORDS + word] = pattern(lba + done + sector, word);
        ata_write_data(data, count);
    }
    wait_for_interrupt(before + (sectors - 1) / block);
    report(name, before);
}

static void simple(const char *name, uint8_t command, uint8_t count)
{
    uint64_t before = interrupts;
    ata_command(command, ata_lba28(0), count);
    wait_for_interrupt(before);
    report(name, before);
}

static void identify(void)
{
    uint64_t before = interrupts;
    ata_command(ATA_IDENTIFY, ata_lba28(0), 0);
    wait_for_interrupt(before);
    ata_read_data(data, 1);
    report("identify", before);
    capacity = data[100] | (uint64_t)data[101] << 16 | (uint64_t)data[102] << 32;
    print("sectors ", capacity);
    print(", cylinders ", data[1]);
    print(", heads ", data[3]);
    print(", sectors of a track ", data[6]);
    serial_print(COM1, ", model ");
    for (int word = 27; word < 33; word++) {
        serial_put(COM1, data[word] >> 8);
        serial_put(COM1, data[word] & 0xff);
    }
    serial_print(COM1, "\n");
}

/* Prints the text in sector 0, with interrupts off in the drive. */
static void text_of_the_host(void)
{
    uint64_t before = interrupts;
    write_port(ATA_CONTROL, ATA_NIEN);
    ata_command(ATA_READ, ata_lba28(0), 1);
    while ((read_port(ATA_STATUS) & (ATA_BSY | ATA_DRQ)) != ATA_DRQ)
        ;
    ata_read_data(data, 1);
    report("polled read", before);
    write_port(ATA_CONTROL, 0);
    ((char *)data)[511] = 0;
    serial_print(COM1, (char *)data);
}

static void reset(void)
{
    write_port(ATA_CONTROL, ATA_SRST);
    serial_print(COM1, "in reset ");
    serial_print_hex(COM1, read_port(ATA_ALTERNATE_STATUS), 2);
    write_port(ATA_CONTROL, 0);
    serial_print(COM1, ", signature");
    for (int port = ATA_ERROR; port <= ATA_STATUS; port++) {
        serial_print(COM1, " ");
        serial_print_hex(COM1, read_port(port), 2);
    }
    write_port(ATA_DEVICE, 0x10);
    serial_print(COM1, ", second device ");
    serial_print_hex(COM1, read_port(ATA_STATUS), 2);
    write_port(ATA_DEVICE, 0);
    serial_print(COM1, "\n");
}

uint64_t guest_main(void)
{
    interrupts_setup();
    set_handler(FIRST_VECTOR + DISK_LINE, on_disk);
    unmask_line(DISK_LINE);
    interrupts_on();
    reset();
    identify();
    text_of_the_host();
    write_sectors("write", ATA_WRITE, ata_lba28(10), 10, 3, 1);
    read_sectors("read", ATA_READ, ata_lba28(10), 10, 3, 1);
    read_sectors("read by cylinder, head and sector", ATA_READ, ata_chs(0, 0, 12), 11, 2, 1);
    simple("set multiple", ATA_SET_MULTIPLE, 2);
    write_sectors("write multiple", ATA_WRITE_MULTIPLE, ata_lba28(20), 20, 5, 2);
    read_sectors("read multiple", ATA_READ_MULTIPLE, ata_lba28(20), 20, 5, 2);
    uint64_t far = capacity > 1 << 28 ? (1 << 28) + 1 : 30;
    write_sectors("write with 48 bits", ATA_WRITE_EXT, ata_lba48(far), far, 1, 1);
    read_sectors("read with 48 bits", ATA_READ_EXT, ata_lba48(far), far, 1, 1);
    read_sectors("read beyond the end", ATA_READ_EXT, ata_lba48(capacity), 0, 1, 1);
    simple("flush", ATA_FLUSH, 0);
    simple("unknown command", 0xFF, 0);
    interrupts_off();
    return differences;
}
