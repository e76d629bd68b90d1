/* linux-kernel: a small "Linux kernel" that prints what its boot loader has given it: the state of the processor and
   boot_params (Linux, Documentation/arch/x86/boot.rst and zero-page.rst). linux-start.S starts it. */
#include "serial.h"

static void text(const char *text)
{
    serial_print(COM1, text);
}

/* Prints a word, and a number without leading zeros. */
static void field(const char *name, uint64_t value)
{
    int digits = 1;
    text(name);
    while (digits < 16 && value >> (4 * digits))
        digits++;
    serial_print_hex(COM1, value, digits);
}

static uint32_t word(const uint8_t *at)
{
    return at[0] | at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint64_t long_word(const uint8_t *at)
{
    return word(at) | (uint64_t)word(at + 4) << 32;
}

/* Prints bytes, the others than text as dots. */
static void bytes(const uint8_t *at, uint32_t count)
{
    for (; count; at++, count--)
        serial_put(COM1, *at >= ' ' && *at <= '~' ? *at : '.');
}

void report(const uint8_t *params, unsigned flags, unsigned cs, unsigned ds, unsigned es, unsigned ss)
{
    uint32_t initrd = word(params + 0x218), size = word(params + 0x21c);
    text(sizeof(long) == 8 ? "64-bit entry" : "32-bit entry");
    field(", cs ", cs);
    field(" ds ", ds);
    field(" es ", es);
    field(" ss ", ss);
    field(", IF ", flags >> 9 & 1);
    field("\nloader ", params[0x210]);
    field(", loaded at ", word(params + 0x214));
    text("\ncommand line \"");
    text((const char *)(uintptr_t)word(params + 0x228));
    text("\"");
    field("\ninitrd ", initrd);
    field(", size ", size);
    text(": ");
    bytes((const uint8_t *)(uintptr_t)initrd, size);
    field("\nscreen mode ", params[6]);
    field(", columns ", params[7]);
    field(", lines ", params[14]);
    field(", VGA ", params[15]);
    text("\nRSDP ");
    bytes((const uint8_t *)(uintptr_t)long_word(params + 0x70), 8);
    for (int i = 0; i < params[0x1e8]; i++) {
        const uint8_t *entry = params + 0x2d0 + 20 * i;
        field("\nmemory ", long_word(entry));
        field(" size ", long_word(entry + 8));
        field(" type ", word(entry + 16));
    }
    text("\n");
}
