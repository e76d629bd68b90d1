/* framebuffer: finds the display adapter on the PCI bus, sets a mode of 640 by 480 pixels with 32 bits each, and draws.

   Run:   kvm framebuffer.elf --vga std
   See:   a gradient, and a white square on it; "drawn" on COM1. Any key ends the run.
   Exit status 0; the result is the address of the framebuffer. */
#include "pci.h"
#include "serial.h"

enum { WIDTH = 640, HEIGHT = 480 };

/* The display adapter of Bochs and QEMU. */
static const uint32_t ADAPTER = 0x11111234;
/* Its registers, in the window of base address register 2. */
enum { PCI_BAR0 = 0x10, PCI_BAR2 = 0x18, REGISTERS = 0x500 };
enum { ID, XRES, YRES, BPP, ENABLE };
enum { ENABLED = 0x01, LINEAR = 0x40 };

static uint32_t find_adapter(uint32_t reg)
{
    for (uint32_t device = 0; device < 32; device++)
        if (pci_read(0, device, 0, PCI_IDENTITY) == ADAPTER)
            return pci_read(0, device, 0, reg) & ~15u;
    return 0;
}

static void fill(volatile uint32_t *pixels, uint32_t colour, uint64_t count)
{
    asm volatile("rep stosl" : "+D"(pixels), "+c"(count) : "a"(colour) : "memory");
}

uint64_t guest_main(void)
{
    uint32_t memory = find_adapter(PCI_BAR0);
    volatile uint16_t *registers = (volatile uint16_t *)(uint64_t)(find_adapter(PCI_BAR2) + REGISTERS);
    if (!memory) {
        serial_print(COM1, "There is no display adapter: run me with --vga std.\n");
        return 0;
    }
    registers[ENABLE] = 0;
    registers[XRES] = WIDTH;
    registers[YRES] = HEIGHT;
    registers[BPP] = 32;
    registers[ENABLE] = ENABLED | LINEAR;

    volatile uint32_t *pixels = (volatile uint32_t *)(uint64_t)memory;
    for (uint32_t y = 0; y < HEIGHT; y++) {
        fill(pixels + y * WIDTH, y / 2 << 16, WIDTH / 2);
        fill(pixels + y * WIDTH + WIDTH / 2, 255 - y / 2, WIDTH / 2);
    }
    for (uint32_t y = 200; y < 264; y++)
        fill(pixels + y * WIDTH + 288, 0xffffff, 64);
    serial_print(COM1, "drawn\n");
    while (!(read_port(0x64) & 1))
        asm volatile("pause");
    return memory;
}
