/* The boot information of a guest: `hvm_start_info` version 1 of the Xen PVH boot
   protocol (Xen, public/arch-x86/hvm/start_info.h). All addresses are physical. */
#ifndef START_INFO_H
#define START_INFO_H

#include <stdint.h>

enum { START_INFO_MAGIC = 0x336ec578 };

struct start_info {
    uint32_t magic;
    uint32_t version;
    uint32_t flags;
    uint32_t module_count;
    uint64_t modules;           /* array of struct start_module */
    uint64_t command_line;      /* text ending with a zero byte; 0 if there is none */
    uint64_t acpi_root;         /* the RSDP of the ACPI tables; 0 if there is none */
    uint64_t memory_map;        /* array of struct start_memory; from version 1 on */
    uint32_t memory_map_count;
    uint32_t reserved;
};

struct start_module {
    uint64_t address;
    uint64_t size;
    uint64_t command_line;
    uint64_t reserved;
};

/* Kinds of memory: the numbers of a BIOS memory map (ACPI specification, E820). */
enum { MEMORY_RAM = 1, MEMORY_RESERVED = 2, MEMORY_ACPI_TABLES = 3 };

struct start_memory {
    uint64_t address;
    uint64_t size;
    uint32_t kind;
    uint32_t reserved;
};

#endif
