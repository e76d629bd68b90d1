/* The Limine boot protocol, base revision 3: requests that a kernel has in its data, and the responses that the boot
   loader adds. */
#ifndef LIMINE_H
#define LIMINE_H

#include <stdint.h>

/* Requests are found by their IDs. The compiler must neither drop them nor assume that no one writes them. */
#define LIMINE_DATA(part) __attribute__((used, aligned(8), section(".limine_requests" part)))
#define LIMINE_REQUEST(name, response_type, ...)                                                                     \
    LIMINE_DATA("") static volatile struct {                                                                         \
        uint64_t id[4], revision;                                                                                    \
        response_type *response;                                                                                     \
        uint64_t arguments[3];                                                                                       \
    } name = {.id = {0xc7b1dd30df4c8b88, 0x0a82e883a194f07b, __VA_ARGS__}}

/* What is between these two is searched. */
#define LIMINE_START                                                                                                 \
    LIMINE_DATA("_start")                                                                                            \
    static volatile uint64_t limine_start[4] = {0xf6b8f4b39de7d1ae, 0xfab91a6940fcb9cf, 0x785c6ed015d3e316,          \
                                                0x181e920a7852b9d9}
#define LIMINE_END                                                                                                   \
    LIMINE_DATA("_end") static volatile uint64_t limine_end[2] = {0xadc0e0531bb10d03, 0x9572709f31764c62}
/* The loader sets the last word to 0 if it has this revision, and the second one to the revision that it uses. */
#define LIMINE_BASE_REVISION(revision)                                                                               \
    LIMINE_DATA("") static volatile uint64_t limine_base[3] = {0xf9562b2d5c95a6c8, 0x6a7b384944536bdc, revision}

struct limine_loader {
    uint64_t revision;
    const char *name, *version;
};
#define LIMINE_LOADER 0xf55038d8e2a1202f, 0x279426fcf5f59740

struct limine_command_line {
    uint64_t revision;
    const char *text;
};
#define LIMINE_COMMAND_LINE 0x4b161536e598651e, 0xb390ad4a2f1f303a

/* Firmware type, HHDM, paging mode, RSDP, date at boot: a number. */
struct limine_number {
    uint64_t revision, value;
};
#define LIMINE_FIRMWARE_TYPE 0x8c2f75d90bef28a8, 0x7045a4688eac00c3
#define LIMINE_HHDM 0x48dcf1cb8ad2b852, 0x63984e959a98244b
#define LIMINE_PAGING_MODE 0x95c1a0edab0944cb, 0xa4e5cb3842f7488a
#define LIMINE_RSDP 0xc5e77b6b397e7b43, 0x27637845accdcf3c
#define LIMINE_DATE 0x502746e184c088aa, 0xfbc5ec83e6327893
/* The argument is the size in bytes. */
#define LIMINE_STACK_SIZE 0x224ef0460a8e8926, 0xe1cb0fc25f46ea3d
/* The argument is the address. */
#define LIMINE_ENTRY_POINT 0x13d86c035a1cd3e1, 0x2b0caa89d8f3026a
struct limine_framebuffer {
    uint32_t *pixels;
    uint64_t width, height, pitch;
    uint16_t bits;
    uint8_t model, red_size, red_shift, green_size, green_shift, blue_size, blue_shift;
};
struct limine_framebuffers {
    uint64_t revision, count;
    struct limine_framebuffer **framebuffers;
};
#define LIMINE_FRAMEBUFFER 0x9d5827dcd881dd75, 0xa3148604f6fab11b
#define LIMINE_SMBIOS 0x9e9046f11e095391, 0xaa4a520fefbde5ee
#define LIMINE_EFI_SYSTEM_TABLE 0x5ceba5163eaaf6d6, 0x0a6981610cf65fcc

struct limine_region {
    uint64_t base, length, type;
};
struct limine_memory_map {
    uint64_t revision, count;
    struct limine_region **regions;
};
#define LIMINE_MEMORY_MAP 0x67cf3d9d378a806f, 0xe304acdfc50c3c62

struct limine_file {
    uint64_t revision;
    const char *address;
    uint64_t size;
    const char *path, *command_line;
    uint64_t medium[9];
};
struct limine_executable_file {
    uint64_t revision;
    struct limine_file *file;
};
#define LIMINE_EXECUTABLE_FILE 0xad97e90e83f1ed67, 0x31eb5d1c5ff23b69

struct limine_modules {
    uint64_t revision, count;
    struct limine_file **files;
};
#define LIMINE_MODULES 0x3e7e279702be32af, 0xca1c4f3bd1280cee

struct limine_executable_address {
    uint64_t revision, physical, virtual;
};
#define LIMINE_EXECUTABLE_ADDRESS 0x71ba76863cc55f63, 0xb2644a48c516a487

struct limine_processor {
    uint32_t number, lapic_id;
    uint64_t reserved;
    /* Written last: the processor calls it. */
    void (*volatile goto_address)(struct limine_processor *);
    volatile uint64_t argument;
};
struct limine_processors {
    uint64_t revision;
    uint32_t flags, first_lapic_id;
    uint64_t count;
    struct limine_processor **processors;
};
#define LIMINE_PROCESSORS 0x95a67b819a1b857e, 0xa0b61b723b6a73e0

#endif
