/* multiboot2: prints all that a Multiboot2 loader says. The result is the magic number.
 * With the command line "wait" it first waits for input: r resets the machine, and a dot goes on. */
#include "multiboot_check.h"

static void print_tag(uint32_t type, uint32_t size, uint32_t at)
{
    const uint32_t *words = (const uint32_t *)at;
    print_hex("tag", type);
    print_hex(" size", size);
    serial_put(COM1, '\n');
    switch (type) {
    case TAG_COMMAND_LINE:
        take_orders((const char *)at + 8);
        print_text("command line", at + 8);
        break;
    case TAG_LOADER_NAME:
        print_text("loader", at + 8);
        break;
    case TAG_MODULE:
        print_module(words[2], words[3], (const char *)at + 16);
        break;
    case TAG_MEMORY:
        print_hex("lower", words[2]);
        print_hex(" upper", words[3]);
        serial_put(COM1, '\n');
        break;
    case TAG_MEMORY_MAP:
        for (uint32_t entry = at + 16; entry < at + size; entry += words[2])
            print_region(*(const uint64_t *)entry, *(const uint64_t *)(entry + 8), *(const uint32_t *)(entry + 16));
        break;
    case TAG_FRAMEBUFFER:
        print_hex("screen", *(const uint64_t *)(at + 8));
        print_hex(" pitch", words[4]);
        print_hex(" width", words[5]);
        print_hex(" height", words[6]);
        print_hex(" depth", *(const uint8_t *)(at + 28));
        print_hex(" type", *(const uint8_t *)(at + 29));
        serial_put(COM1, '\n');
        break;
    case TAG_SECTIONS:
        print_sections(at + 20, words[2], words[3], words[4]);
        break;
    case TAG_RSDP_1:
    case TAG_RSDP_2:
        print_hex("sum", sum((const uint8_t *)at + 8, type == TAG_RSDP_1 ? 20 : 36));
        serial_print(COM1, *(const uint32_t *)words[6] == 0x54445352 ? " RSDT\n" : " no RSDT\n");
        break;
    case TAG_LOAD_BASE:
        print_hex("load base", words[2]);
        serial_put(COM1, '\n');
        break;
    }
}

uint32_t guest_main(uint32_t magic, uint32_t info)
{
    print_state();
    for (uint32_t at = info + 8;;) {
        const struct multiboot_tag *tag = (const struct multiboot_tag *)at;
        if (tag->type == TAG_END)
            break;
        print_tag(tag->type, tag->size, at);
        at = (at + tag->size + 7) & ~7;
    }
    return magic;
}
