/* Virtqueues and the requests of virtio disks (Virtual I/O Device (VIRTIO) Version 1.2, 2.7 and 5.2.6). */
#ifndef VIRTIO_H
#define VIRTIO_H

#include <stdint.h>

/* Identity of a disk that also has the legacy interface: device and vendor. */
static const uint32_t VIRTIO_DISK = 0x10011af4;

/* Device status. */
enum { VIRTIO_ACKNOWLEDGE = 1, VIRTIO_DRIVER = 2, VIRTIO_DRIVER_OK = 4, VIRTIO_FEATURES_OK = 8, VIRTIO_NEEDS_RESET = 64 };

/* Features. VIRTIO_VERSION_1 is bit 32. */
enum { VIRTIO_DISK_READ_ONLY = 1 << 5, VIRTIO_DISK_FLUSH = 1 << 9 };

/* Requests, and what the device answers. */
enum { VIRTIO_READ = 0, VIRTIO_WRITE = 1, VIRTIO_FLUSH = 4, VIRTIO_GET_ID = 8 };
enum { VIRTIO_DONE = 0, VIRTIO_FAILED = 1, VIRTIO_UNSUPPORTED = 2, VIRTIO_NO_ANSWER = 255 };

/* Flags of a descriptor: another one follows; the device writes. */
enum { VIRTIO_NEXT = 1, VIRTIO_DEVICE_WRITES = 2 };

/* The legacy interface demands the size that the device has, which is this one. */
enum { VIRTIO_QUEUE_SIZE = 128, VIRTIO_SECTOR = 512, VIRTIO_PAGE = 4096 };

struct virtio_descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};

/* A queue as the legacy interface has it: the used ring on a page of its own. */
struct virtio_queue {
    struct virtio_descriptor descriptors[VIRTIO_QUEUE_SIZE];
    struct {
        uint16_t flags, index, ring[VIRTIO_QUEUE_SIZE], event;
    } available;
    struct {
        uint16_t flags, index;
        struct {
            uint32_t head, written;
        } ring[VIRTIO_QUEUE_SIZE];
    } used __attribute__((aligned(VIRTIO_PAGE)));
} __attribute__((aligned(VIRTIO_PAGE)));

struct virtio_request {
    uint32_t kind, reserved;
    uint64_t sector;
};

static struct virtio_queue virtio_queue;
static struct virtio_request virtio_request;
static volatile uint8_t virtio_status;

/* Makes a request available to the device: header, data if there are some, and status. Guest-physical and virtual
   addresses are the same. */
static inline void virtio_submit(uint32_t kind, uint64_t sector, void *data, uint32_t length)
{
    struct virtio_descriptor *next = virtio_queue.descriptors;
    virtio_request = (struct virtio_request){kind, 0, sector};
    virtio_status = VIRTIO_NO_ANSWER;
    *next++ = (struct virtio_descriptor){(uint64_t)&virtio_request, sizeof virtio_request, VIRTIO_NEXT, 1};
    if (length) {
        uint16_t flags = VIRTIO_NEXT | (kind == VIRTIO_WRITE ? 0 : VIRTIO_DEVICE_WRITES);
        *next++ = (struct virtio_descriptor){(uint64_t)data, length, flags, 2};
    }
    *next = (struct virtio_descriptor){(uint64_t)&virtio_status, 1, VIRTIO_DEVICE_WRITES, 0};
    virtio_queue.available.ring[virtio_queue.available.index % VIRTIO_QUEUE_SIZE] = 0;
    /* Everything is in memory before the index says so. */
    __asm__ volatile("" : : : "memory");
    virtio_queue.available.index++;
    __asm__ volatile("" : : : "memory");
}

#endif
