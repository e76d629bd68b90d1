/* virtio-disk: turns the text in the first sector of a virtio disk into capital letters.

   Run:   truncate -s 1M disk.img; printf 'some text' | dd of=disk.img conv=notrunc
          kvm --disk disk.img,virtio virtio-disk.elf
   See:   the number of sectors; `head -c 512 disk.img` has the text in capital letters.
   Exit status 0; the result is the number of sectors.

   The driver uses the modern interface: structures in memory, which capabilities in the configuration space name
   (Virtual I/O Device (VIRTIO) Version 1.2, 4.1.4). */
#include "pci.h"
#include "serial.h"
#include "virtio.h"

/* Common configuration. */
struct common {
    volatile uint32_t device_feature_select, device_feature, driver_feature_select, driver_feature;
    volatile uint16_t config_vector, queues;
    volatile uint8_t status, generation;
    volatile uint16_t queue_select, queue_size, queue_vector, queue_enable, queue_notify_offset;
    volatile uint64_t queue_descriptors, queue_available, queue_used;
};

/* Types of the structures; the capabilities that name them. */
enum { COMMON = 1, NOTIFY = 2, INTERRUPT_STATUS = 3, DISK = 4, STRUCTURES };
enum { CAPABILITIES = 0x34, VENDOR_SPECIFIC = 0x09, FIRST_BAR = 0x10, COMMAND = 0x04, MEMORY_AND_MASTER = 0x6 };

static volatile uint8_t *structures[STRUCTURES];
static char sector[VIRTIO_SECTOR];

/* The number of the first device that is a virtio disk; 32 if there is none. */
static uint32_t find(void)
{
    uint32_t device = 0;
    while (device < 32 && pci_read(0, device, 0, PCI_IDENTITY) != VIRTIO_DISK)
        device++;
    return device;
}

/* Finds the structures of the device. */
static void map(uint32_t device)
{
    pci_write(0, device, 0, COMMAND, pci_read(0, device, 0, COMMAND) | MEMORY_AND_MASTER);
    uint32_t at = pci_read(0, device, 0, CAPABILITIES) & 0xFC;
    while (at) {
        uint32_t header = pci_read(0, device, 0, at);
        uint32_t kind = header >> 24, bar = pci_read(0, device, 0, at + 4) & 0xFF;
        if ((header & 0xFF) == VENDOR_SPECIFIC && kind < STRUCTURES) {
            uint64_t base = pci_read(0, device, 0, FIRST_BAR + 4 * bar) & ~0xFu;
            structures[kind] = (volatile uint8_t *)(base + pci_read(0, device, 0, at + 8));
        }
        at = header >> 8 & 0xFC;
    }
}

/* Carries out a request and waits for its end; its status. */
static uint8_t carry_out(uint32_t kind, void *data, uint32_t length)
{
    virtio_submit(kind, 0, data, length);
    *(volatile uint16_t *)structures[NOTIFY] = 0;
    while (!*structures[INTERRUPT_STATUS])
        ;
    return virtio_status;
}

uint64_t guest_main(void)
{
    uint32_t device = find();
    if (device == 32) {
        serial_print(COM1, "There is no disk: --disk FILE,virtio.\n");
        return 0;
    }
    map(device);
    struct common *common = (struct common *)structures[COMMON];
    common->status = 0;
    common->status = VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER;
    common->driver_feature_select = 0;
    common->driver_feature = VIRTIO_DISK_FLUSH;
    common->driver_feature_select = 1;
    common->driver_feature = 1; /* version 1 */
    common->status = VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK;
    if (!(common->status & VIRTIO_FEATURES_OK))
        return 0;
    common->queue_select = 0;
    common->queue_size = VIRTIO_QUEUE_SIZE;
    common->queue_descriptors = (uint64_t)virtio_queue.descriptors;
    common->queue_available = (uint64_t)&virtio_queue.available;
    common->queue_used = (uint64_t)&virtio_queue.used;
    common->queue_enable = 1;
    common->status = VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK;

    uint64_t sectors = *(volatile uint64_t *)structures[DISK];
    serial_print_decimal(COM1, sectors);
    serial_print(COM1, " sectors\n");
    uint8_t status = carry_out(VIRTIO_READ, sector, VIRTIO_SECTOR);
    for (int at = 0; at < VIRTIO_SECTOR; at++)
        if (sector[at] >= 'a' && sector[at] <= 'z')
            sector[at] -= 'a' - 'A';
    status |= carry_out(VIRTIO_WRITE, sector, VIRTIO_SECTOR);
    status |= carry_out(VIRTIO_FLUSH, 0, 0);
    if (status != VIRTIO_DONE)
        serial_print(COM1, "The disk cannot be written.\n");
    return sectors;
}
