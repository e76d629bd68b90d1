/* virtio-churn: writes the first virtio disk and reads it back without end (churn.h), by the legacy interface and with
   interrupts. Each write is flushed, which takes the host its time, so that a request is mostly under way. */
#include "churn.h"
#include "interrupts.h"
#include "pci.h"
#include "virtio.h"

enum { QUEUE_PAGE = 0x08, QUEUE_NOTIFY = 0x10, STATUS = 0x12, INTERRUPT_STATUS = 0x13, DRIVER_FEATURES = 0x04 };

static volatile uint64_t interrupts;
static uint16_t port;
static uint8_t line;

__attribute__((interrupt)) static void on_disk(struct frame *frame)
{
    (void)frame;
    if (read_port(port + INTERRUPT_STATUS))
        interrupts++;
    end_of_interrupt(line);
}

static void carry_out(uint32_t kind, uint32_t lba, uint32_t length)
{
    uint64_t before = interrupts;
    virtio_submit(kind, lba, churn_data, length);
    interrupts_off();
    write_port_word(port + QUEUE_NOTIFY, 0);
    while (interrupts == before)
        sleep_until_interrupt();
    interrupts_on();
    /* Once, and without an error. */
    churn_wrong += interrupts != before + 1 || virtio_status != VIRTIO_DONE;
}

static void write_sectors(uint32_t lba)
{
    carry_out(VIRTIO_WRITE, lba, sizeof churn_data);
    carry_out(VIRTIO_FLUSH, 0, 0);
}

static void read_sectors(uint32_t lba)
{
    carry_out(VIRTIO_READ, lba, sizeof churn_data);
}

uint64_t guest_main(void)
{
    uint32_t device = 0;
    while (device < 32 && pci_read(0, device, 0, PCI_IDENTITY) != VIRTIO_DISK)
        device++;
    if (device == 32)
        return -1;
    port = pci_read(0, device, 0, 0x10) & ~3u;
    line = pci_read(0, device, 0, 0x3C);
    interrupts_setup();
    set_handler(FIRST_VECTOR + line, on_disk);
    unmask_line(line);
    write_port(port + STATUS, 0);
    write_port(port + STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    write_port_dword(port + DRIVER_FEATURES, VIRTIO_DISK_FLUSH);
    write_port_dword(port + QUEUE_PAGE, (uint64_t)&virtio_queue / VIRTIO_PAGE);
    write_port(port + STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_DRIVER_OK);
    interrupts_on();
    uint64_t wrong = churn();
    interrupts_off();
    return wrong;
}
