/* start-info: prints the boot information: the memory map, the command line and the modules that
   were given to the guest.

   Run:   kvm --append "colour=blue" --module notes.txt="a text" start-info.elf
   See:   the memory map, the command line, and for each module its address, size, command line and
          first line.
   Exit status 0; the debug exit status 3 if there is no start info. */
#include "serial.h"
#include "start_info.h"

static void print_range(uint64_t address, uint64_t size)
{
    serial_print_hex(COM1, address, 12);
    serial_print(COM1, " + ");
    serial_print_hex(COM1, size, 12);
}

static void print_text(uint64_t address)
{
    serial_print(COM1, address ? (const char *)address : "(none)");
}

static const char *kind_name(uint32_t kind)
{
    return kind == MEMORY_RAM ? " RAM\n" : kind == MEMORY_ACPI_TABLES ? " ACPI tables\n" : " reserved\n";
}

/* Prints up to the first line feed, control characters as dots. */
static void print_first_line(const struct start_module *module)
{
    const char *text = (const char *)module->address;
    for (uint64_t i = 0; i < module->size && i < 60 && text[i] != '\n'; i++)
        serial_put(COM1, text[i] < ' ' ? '.' : text[i]);
}

uint64_t guest_main(const struct start_info *info)
{
    if (!info || info->magic != START_INFO_MAGIC) {
        serial_print(COM1, "no start info\n");
        write_port(0xf4, 1);
    }
    serial_print(COM1, "start info version ");
    serial_print_decimal(COM1, info->version);

    const struct start_memory *memory = (const struct start_memory *)info->memory_map;
    uint32_t ranges = info->version >= 1 ? info->memory_map_count : 0;
    serial_print(COM1, "\nmemory map:\n");
    for (uint32_t i = 0; i < ranges; i++) {
        serial_print(COM1, "  ");
        print_range(memory[i].address, memory[i].size);
        serial_print(COM1, kind_name(memory[i].kind));
    }

    serial_print(COM1, "command line: ");
    print_text(info->command_line);

    const struct start_module *modules = (const struct start_module *)info->modules;
    serial_print(COM1, "\nmodules: ");
    serial_print_decimal(COM1, info->module_count);
    serial_put(COM1, '\n');
    for (uint32_t i = 0; i < info->module_count; i++) {
        serial_print(COM1, "  ");
        print_range(modules[i].address, modules[i].size);
        serial_print(COM1, "\n    command line: ");
        print_text(modules[i].command_line);
        serial_print(COM1, "\n    first line:   ");
        print_first_line(&modules[i]);
        serial_put(COM1, '\n');
    }
    return 0;
}
