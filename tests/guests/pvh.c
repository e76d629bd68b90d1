/* pvh: a PVH guest that prints what its boot loader has given it: CR0, and the start info (start_info.h). Its
   start is that of the measured guests (benches/guests/pvh-start.S); other boot protocols find an invalid instruction. */
#include "serial.h"
#include "start_info.h"

__asm__(".globl _start\n_start: ud2");

static void text(const char *text)
{
    serial_print(COM1, text);
}

static const void *at(uint64_t address)
{
    return (const void *)address;
}

void report(const struct start_info *info, uint64_t cr0, uint64_t flags)
{
    const struct start_module *module = at(info->modules);
    const struct start_memory *memory = at(info->memory_map);
    const char *rsdp = at(info->acpi_root);
    text(info->magic == START_INFO_MAGIC ? "start info version " : "no start info: ");
    serial_print_decimal(COM1, info->version);
    text(", CR0 ");
    serial_print_hex(COM1, cr0, 8);
    text(", IF ");
    serial_print_decimal(COM1, flags >> 9 & 1);
    text("\ncommand line \"");
    text(at(info->command_line));
    for (uint32_t i = 0; i < info->module_count; i++, module++) {
        text("\"\nmodule \"");
        for (uint64_t j = 0; j < module->size; j++)
            serial_put(COM1, *(const char *)at(module->address + j));
        text("\" with \"");
        text(at(module->command_line));
    }
    text("\"\nRSDP ");
    for (int i = 0; i < 8; i++)
        serial_put(COM1, rsdp[i]);
    for (uint32_t i = 0; i < info->memory_map_count; i++, memory++) {
        text("\nmemory ");
        serial_print_hex(COM1, memory->address, 8);
        text(" size ");
        serial_print_hex(COM1, memory->size, 8);
        text(" type ");
        serial_print_decimal(COM1, memory->kind);
    }
    text("\n");
}
