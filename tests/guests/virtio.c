/* virtio: uses the first virtio disk by the legacy interface and with interrupts, and prints what it finds: for each
   request its status, and the number of interrupts it had. The result is the number of differences.

   With `reset` on the command line it resets the machine while a request is under way, once: sector 1 says that it has
   done so. */
#include "interrupts.h"
#include "pci.h"
#include "serial.h"
#include "start_info.h"
#include "virtio.h"

/* Registers of the legacy interface. */
enum { DEVICE_FEATURES = 0x00, DRIVER_FEATURES = 0x04, QUEUE_PAGE = 0x08, QUEUE_SIZE = 0x0C, QUEUE_NOTIFY = 0x10,
       STATUS = 0x12, INTERRUPT_STATUS = 0x13, CAPACITY = 0x14 };

enum { SECTORS = 16 };

static volatile uint64_t interrupts;
static uint16_t port;
static uint8_t line;
static uint64_t differences;
static uint16_t data[SECTORS * VIRTIO_SECTOR / 2];

__attribute__((interrupt)) static void on_disk(struct frame *frame)
{
    (void)frame;
    if (read_port(port + INTERRUPT_STATUS))
        interrupts++;
    end_of_interrupt(line);
}

static void print(const char *name, uint64_t value)
{
    serial_print(COM1, name);
    serial_print_decimal(COM1, value);
}

static void set_up(void)
{
    write_port(port + STATUS, 0);
    write_port(port + STATUS, VIRTIO_ACKNOWLEDGE);
    write_port(port + STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    write_port_dword(port + DRIVER_FEATURES, VIRTIO_DISK_FLUSH);
    virtio_queue.available.index = virtio_queue.used.index = 0;
    write_port_dword(port + QUEUE_PAGE, (uint64_t)&virtio_queue / VIRTIO_PAGE);
    write_port(port + STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_DRIVER_OK);
}

/* Notifies the device and sleeps until it interrupts. */
static void wait(void)
{
    uint64_t before = interrupts;
    interrupts_off();
    write_port_word(port + QUEUE_NOTIFY, 0);
    while (interrupts == before)
        sleep_until_interrupt();
}

static void carry_out(const char *name, uint32_t kind, uint64_t sector, uint32_t length)
{
    uint64_t before = interrupts;
    virtio_submit(kind, sector, data, length);
    wait();
    serial_print(COM1, name);
    print(": status ", virtio_status);
    print(" interrupts ", interrupts - before);
    uint16_t last = virtio_queue.used.index - 1;
    print(" written ", virtio_queue.used.ring[last % VIRTIO_QUEUE_SIZE].written);
    serial_print(COM1, "\n");
}

/* The same pattern as that of the guest `disk`. */
static void fill(uint64_t sector)
{
    for (uint32_t at = 0; at < SECTORS * VIRTIO_SECTOR / 2; at++)
        data[at] = (sector + at / 256) * 257 + at % 256;
}

static void compare(uint64_t sector)
{
    for (uint32_t at = 0; at < SECTORS * VIRTIO_SECTOR / 2; at++)
        differences += data[at] != (uint16_t)((sector + at / 256) * 257 + at % 256);
}

static void reset_once(void)
{
    carry_out("read", VIRTIO_READ, 1, VIRTIO_SECTOR);
    if (data[0] == 1) {
        serial_print(COM1, "was reset\n");
        return;
    }
    data[0] = 1;
    carry_out("write", VIRTIO_WRITE, 1, VIRTIO_SECTOR);
    fill(10);
    virtio_submit(VIRTIO_WRITE, 10, data, sizeof data);
    write_port_word(port + QUEUE_NOTIFY, 0);
    write_port(0xCF9, 6);
}

uint64_t guest_main(const struct start_info *info)
{
    uint32_t device = 0;
    while (device < 32 && pci_read(0, device, 0, PCI_IDENTITY) != VIRTIO_DISK)
        device++;
    if (device == 32)
        return 1;
    port = pci_read(0, device, 0, 0x10) & ~3u;
    line = pci_read(0, device, 0, 0x3C);
    interrupts_setup();
    set_handler(FIRST_VECTOR + line, on_disk);
    unmask_line(line);
    set_up();
    const char *options = (const char *)info->command_line;
    if (options && options[0] == 'r') {
        reset_once();
        return 0;
    }
    print("capacity ", read_port_dword(port + CAPACITY));
    print(" queue ", read_port(port + QUEUE_SIZE));
    print(" line ", line);
    print(" read-only ", (read_port_dword(port + DEVICE_FEATURES) & VIRTIO_DISK_READ_ONLY) != 0);
    serial_print(COM1, "\n");
    carry_out("read", VIRTIO_READ, 0, VIRTIO_SECTOR);
    serial_print(COM1, (const char *)data);
    fill(10);
    carry_out("write", VIRTIO_WRITE, 10, sizeof data);
    carry_out("flush", VIRTIO_FLUSH, 0, 0);
    for (uint32_t at = 0; at < SECTORS * VIRTIO_SECTOR / 2; at++)
        data[at] = 0;
    carry_out("read back", VIRTIO_READ, 10, sizeof data);
    compare(10);
    carry_out("read beyond the end", VIRTIO_READ, read_port_dword(port + CAPACITY), VIRTIO_SECTOR);
    carry_out("half a sector", VIRTIO_READ, 0, VIRTIO_SECTOR / 2);
    carry_out("identity", VIRTIO_GET_ID, 0, 20);
    serial_print(COM1, (const char *)data);
    carry_out("\nunknown request", 99, 0, 0);
    /* A chain of descriptors without an end: the device needs a reset, and works after it. */
    virtio_submit(VIRTIO_READ, 0, data, VIRTIO_SECTOR);
    virtio_queue.descriptors[2] = virtio_queue.descriptors[1];
    wait();
    print("malformed: device status ", read_port(port + STATUS));
    serial_print(COM1, "\n");
    set_up();
    carry_out("read after a reset", VIRTIO_READ, 10, sizeof data);
    compare(10);
    return differences;
}
