/* multiboot1: prints all that a Multiboot 1 loader says. The result is the magic number.
 * With the command line "wait" it first waits for input: r resets the machine, and a dot goes on. */
#include "multiboot_check.h"

uint32_t guest_main(uint32_t magic, const struct multiboot_info *info)
{
    print_state();
    if (info->flags & HAS_COMMAND_LINE)
        take_orders((const char *)info->command_line);
    print_hex("flags", info->flags);
    print_hex("\nlower", info->memory_lower);
    print_hex(" upper", info->memory_upper);
    serial_put(COM1, '\n');
    print_text("command line", info->command_line);
    print_text("loader", info->loader_name);
    const struct multiboot_module *module = (const struct multiboot_module *)info->modules;
    for (uint32_t i = 0; i < info->module_count; i++, module++)
        print_module(module->start, module->end, (const char *)module->command_line);
    for (uint32_t at = info->map; at < info->map + info->map_length;) {
        const struct multiboot_region *region = (const struct multiboot_region *)at;
        print_region(region->start, region->length, region->type);
        at += region->size + sizeof region->size;
    }
    print_hex("screen", info->framebuffer);
    print_hex(" pitch", info->pitch);
    print_hex(" width", info->width);
    print_hex(" height", info->height);
    print_hex(" depth", info->depth);
    print_hex(" type", info->framebuffer_type);
    serial_put(COM1, '\n');
    if (info->flags & HAS_SECTIONS)
        print_sections(info->sections, info->section_count, info->section_size, info->section_names);
    return magic;
}
