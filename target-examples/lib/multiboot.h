/* The boot information of Multiboot 1 (0.6.96, 3.3) and the tags of Multiboot2 (2.0, 3.6). */
#ifndef MULTIBOOT_H
#define MULTIBOOT_H

#include <stdint.h>

/* EAX at entry. */
enum { MULTIBOOT1_MAGIC = 0x2BADB002, MULTIBOOT2_MAGIC = 0x36D76289 };

/* Flags of version 1: which fields are valid. */
enum {
    HAS_MEMORY = 1 << 0,
    HAS_BOOT_DEVICE = 1 << 1,
    HAS_COMMAND_LINE = 1 << 2,
    HAS_MODULES = 1 << 3,
    HAS_SECTIONS = 1 << 5,
    HAS_MEMORY_MAP = 1 << 6,
    HAS_DRIVES = 1 << 7,
    HAS_CONFIGURATION = 1 << 8,
    HAS_LOADER_NAME = 1 << 9,
    HAS_APM = 1 << 10,
    HAS_VBE = 1 << 11,
    HAS_FRAMEBUFFER = 1 << 12,
};

struct multiboot_info {
    uint32_t flags, memory_lower, memory_upper, boot_device, command_line, module_count, modules;
    uint32_t section_count, section_size, sections, section_names;
    uint32_t map_length, map, drives_length, drives, configuration, loader_name, apm;
    uint32_t vbe_control, vbe_mode;
    uint16_t vbe_mode_number, vbe_segment, vbe_offset, vbe_length;
    uint64_t framebuffer;
    uint32_t pitch, width, height;
    uint8_t depth, framebuffer_type;
} __attribute__((packed));

struct multiboot_module {
    uint32_t start, end, command_line, reserved;
};

struct multiboot_region {
    uint32_t size; /* without this field */
    uint64_t start, length;
    uint32_t type;
} __attribute__((packed));

/* Types of tags of version 2. */
enum {
    TAG_END = 0,
    TAG_COMMAND_LINE = 1,
    TAG_LOADER_NAME = 2,
    TAG_MODULE = 3,
    TAG_MEMORY = 4,
    TAG_MEMORY_MAP = 6,
    TAG_FRAMEBUFFER = 8,
    TAG_SECTIONS = 9,
    TAG_RSDP_1 = 14,
    TAG_RSDP_2 = 15,
    TAG_LOAD_BASE = 21,
};

struct multiboot_tag {
    uint32_t type, size;
};

/* The type of memory that can be used. */
enum { REGION_AVAILABLE = 1 };

#endif
