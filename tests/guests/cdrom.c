/* cdrom: finds the CD-ROM drive on the secondary IDE channel and reads the volume descriptor of its ISO image, by PIO and
   by DMA, with interrupts. The result is the number of differences. */
#include "bus_master.h"
#include "interrupts.h"
#include "serial.h"

enum { CD_LINE = 15, CD_SECTOR = 2048, DESCRIPTOR = 16 };
enum { DATA = 0x170, ERROR = 0x171, REASON = 0x172, LOW = 0x173, MID = 0x174, HIGH = 0x175, DEVICE = 0x176, STATUS = 0x177,
       CONTROL = 0x376 };
enum { DRQ = 0x08, FAILED = 0x01, COMMAND_DMA = 0x01 };
enum { IDENTIFY_DEVICE = 0xEC, IDENTIFY_PACKET_DEVICE = 0xA1, PACKET = 0xA0 };
enum { TEST_UNIT_READY = 0x00, REQUEST_SENSE = 0x03, READ_CAPACITY = 0x25, READ_10 = 0x28 };

static volatile uint64_t interrupts;
static uint8_t data[2 * CD_SECTOR], again[2 * CD_SECTOR];
static struct region table[1] __attribute__((aligned(8)));

__attribute__((interrupt)) static void on_drive(struct frame *frame)
{
    (void)frame;
    (void)read_port(STATUS);
    interrupts++;
    end_of_interrupt(CD_LINE);
}

/* Sleeps until the interrupt with this number. */
static void wait_for_interrupt(uint64_t number)
{
    interrupts_off();
    while (interrupts < number)
        sleep_until_interrupt();
    interrupts_on();
}

static void read_words(void *to, uint64_t words)
{
    __asm__ volatile("rep insw" : "+D"(to), "+c"(words) : "d"(DATA) : "memory");
}

static void report(const char *name)
{
    serial_print(COM1, name);
    serial_print(COM1, ": status ");
    serial_print_hex(COM1, read_port(CONTROL), 2);
    serial_print(COM1, " error ");
    serial_print_hex(COM1, read_port(ERROR), 2);
    serial_print(COM1, " interrupts ");
    serial_print_decimal(COM1, interrupts);
    serial_print(COM1, "\n");
}

static void send_packet(uint8_t features, uint16_t limit, uint8_t command, uint32_t lba, uint16_t count)
{
    uint8_t packet[12] = {command, 0, lba >> 24, lba >> 16, lba >> 8, lba, 0, count >> 8, count};
    if (command == REQUEST_SENSE)
        packet[4] = 18;
    interrupts = 0;
    write_port(ERROR, features);
    write_port(MID, limit & 0xff);
    write_port(HIGH, limit >> 8);
    write_port(STATUS, PACKET);
    while (!(read_port(CONTROL) & DRQ))
        ;
    uint16_t *word = (uint16_t *)packet;
    for (int i = 0; i < 6; i++)
        write_port_word(DATA, word[i]);
}

/* A packet whose answer is read in blocks of `limit` bytes. */
static void receive(const char *name, uint16_t limit, uint8_t command, uint32_t lba, uint16_t count, uint8_t *to)
{
    send_packet(0, limit, command, lba, count);
    for (uint64_t number = 1;; number++) {
        wait_for_interrupt(number);
        if (!(read_port(CONTROL) & DRQ))
            break;
        uint16_t bytes = read_port(MID) | read_port(HIGH) << 8;
        read_words(to, bytes / 2);
        to += bytes;
    }
    report(name);
}

uint64_t guest_main(void)
{
    uint64_t differences = 0;
    interrupts_setup();
    set_handler(FIRST_VECTOR + CD_LINE, on_drive);
    unmask_line(CD_LINE);
    interrupts_on();
    uint16_t bus_master = bus_master_enable() + BM_SECONDARY;

    write_port(DEVICE, 0);
    write_port(STATUS, IDENTIFY_DEVICE);
    wait_for_interrupt(1);
    report("identify device");
    serial_print(COM1, "signature ");
    serial_print_hex(COM1, read_port(MID) | read_port(HIGH) << 8, 4);
    interrupts = 0;
    write_port(STATUS, IDENTIFY_PACKET_DEVICE);
    wait_for_interrupt(1);
    read_words(data, 256);
    serial_print(COM1, ", model ");
    for (int at = 54; at < 64; at++)
        serial_put(COM1, data[at ^ 1]);
    serial_print(COM1, "\n");

    receive("ready", 0, TEST_UNIT_READY, 0, 0, data);
    receive("capacity", 8, READ_CAPACITY, 0, 0, data);
    uint32_t last = (uint32_t)data[0] << 24 | data[1] << 16 | data[2] << 8 | data[3];
    serial_print_decimal(COM1, last + 1);
    serial_print(COM1, " sectors\n");

    receive("read", 1024, READ_10, DESCRIPTOR, 1, data);
    serial_print(COM1, "volume ");
    for (int at = 1; at < 6; at++)
        serial_put(COM1, data[at]);
    serial_print(COM1, " ");
    for (int at = 40; at < 72 && data[at] != ' '; at++)
        serial_put(COM1, data[at]);
    serial_print(COM1, "\n");

    table[0] = region(again, CD_SECTOR, 1);
    bus_master_prepare(bus_master, table, BM_TO_MEMORY);
    send_packet(COMMAND_DMA, 0, READ_10, DESCRIPTOR, 1);
    write_port(bus_master + BM_COMMAND, BM_TO_MEMORY | BM_START);
    wait_for_interrupt(1);
    report("read by DMA");
    write_port(bus_master + BM_COMMAND, 0);
    for (int at = 0; at < CD_SECTOR; at++)
        differences += data[at] != again[at];

    receive("read beyond the end", 2048, READ_10, last, 2, data);
    receive("sense", 18, REQUEST_SENSE, 0, 0, data);
    serial_print_hex(COM1, data[2] << 8 | data[12], 4);
    serial_print(COM1, "\n");
    interrupts_off();
    return differences;
}
