/* chips: reads the registers of the interval timer, the interrupt controllers, the real-time clock, the IOAPIC, the local
   APIC and the IDE channels, and prints what it reads, written so that time plays no part: the same lines on every
   machine that has these chips. It also starts on QEMU (benches/guests/pvh-start.S). tests/guests/chips.txt has the lines.

   The first IDE disk has at least 2048 sectors; the CD is on the secondary channel. Interrupts stay off. At the end it
   turns the machine off. */
#include "ata.h"
#include "bus_master.h"
#include "interrupts.h"
#include "serial.h"

static void name(const char *text)
{
    serial_print(COM1, text);
    serial_put(COM1, ':');
}

static void show(uint64_t value, int digits)
{
    serial_put(COM1, ' ');
    while (digits--)
        serial_put(COM1, "0123456789abcdef"[value >> (4 * digits) & 15]);
}

static void line(void)
{
    serial_put(COM1, '\n');
}

static uint8_t in(uint16_t port)
{
    uint8_t value = read_port(port);
    show(value, 2);
    return value;
}

static uint32_t memory_read(uint64_t address)
{
    return *(volatile uint32_t *)address;
}

static void memory_write(uint64_t address, uint32_t value)
{
    *(volatile uint32_t *)address = value;
}

/* Counter 2 with its gate low: its status without output and null count. Counter 0 stops. Counts are left out, as QEMU
   counts without the gate. */
static void interval_timer(void)
{
    enum { COUNTER = 0x42, CONTROL = 0x43, GATE = 0x61, READ_STATUS = 0xE8, ACCESS_AND_MODE = 0x3F };
    write_port(CONTROL, 0x30);
    write_port(GATE, 0);
    for (int access = 1; access <= 3; access++) {
        name("timer status");
        for (int mode = 0; mode < 6; mode++)
            for (int decimal = 0; decimal < 2; decimal++) {
                write_port(CONTROL, 0x80 | access << 4 | mode << 1 | decimal);
                write_port(COUNTER, 0x12);
                if (access == 3)
                    write_port(COUNTER, 0x34);
                write_port(CONTROL, READ_STATUS);
                show(read_port(COUNTER) & ACCESS_AND_MODE, 2);
            }
        line();
    }
    name("gate");
    for (int value = 0; value < 4; value++) {
        write_port(GATE, value == 1 ? 2 : value == 2 ? 1 : 0);
        show(read_port(GATE) & 3, 2);
    }
    line();
}

static void both(const char *text, uint16_t offset)
{
    name(text);
    in(PIC1 + offset);
    in(PIC2 + offset);
    line();
}

static void command(uint8_t value)
{
    write_port(PIC1, value);
    write_port(PIC2, value);
}

/* A request of the disk shows in the registers of both controllers. */
static void interrupt_controllers(void)
{
    enum { READ_REQUESTS = 0x0A, READ_IN_SERVICE = 0x0B, POLL = 0x0C };
    interrupts_setup();
    both("masks", 1);
    command(READ_IN_SERVICE);
    both("in service", 0);
    write_port(0x4D0, 0xFF);
    write_port(0x4D1, 0xFF);
    name("edge and level");
    in(0x4D0);
    in(0x4D1);
    write_port(0x4D0, 0);
    write_port(0x4D1, 0xC0);
    in(0x4D0);
    in(0x4D1);
    line();
    unmask_line(14);
    command(READ_REQUESTS);
    both("requests", 0);
    write_port(ATA_DEVICE, 0xA0);
    write_port(ATA_CONTROL, 0);
    write_port(ATA_STATUS, 0xE5);
    while (read_port(ATA_ALTERNATE_STATUS) & ATA_BSY)
        ;
    both("requests after a command of the disk", 0);
    name("poll");
    write_port(PIC1, POLL);
    in(PIC1);
    write_port(PIC2, POLL);
    in(PIC2);
    line();
    command(READ_IN_SERVICE);
    both("in service", 0);
    (void)read_port(ATA_STATUS);
    command(END_OF_INTERRUPT);
    both("in service at its end", 0);
    command(READ_REQUESTS);
    both("requests at its end", 0);
    write_port(PIC1 + 1, 0xA5);
    write_port(PIC2 + 1, 0x5A);
    both("masks", 1);
}

static uint8_t clock_read(uint8_t index)
{
    write_port(0x70, index);
    return read_port(0x71);
}

static void clock_write(uint8_t index, uint8_t value)
{
    write_port(0x70, index);
    write_port(0x71, value);
}

/* The clock is stopped by bit SET while its time is written and read. */
static void real_time_clock(void)
{
    static const uint8_t indices[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    static const uint8_t times[2][10] = {{58, 1, 59, 2, 23, 3, 4, 28, 2, 24}, {0x58, 1, 0x59, 2, 0x92, 3, 4, 0x28, 2, 0x24}};
    clock_write(0x0A, 0x26);
    name("clock rate");
    show(clock_read(0x0A) & 0x7F, 2);
    line();
    for (int form = 0; form < 2; form++) {
        uint8_t b = form == 0 ? 0x86 : 0x80;
        clock_write(0x0B, b);
        for (uint32_t i = 0; i < sizeof indices; i++)
            clock_write(indices[i], times[form][i]);
        name("time");
        show(clock_read(0x0B), 2);
        for (uint32_t i = 0; i < sizeof indices; i++)
            show(clock_read(indices[i]), 2);
        line();
    }
    clock_write(0x0B, 0x02);
    (void)clock_read(0x0C);
    name("clock status");
    show(clock_read(0x0B), 2);
    show(clock_read(0x0D), 2);
    line();
    name("memory of the clock");
    clock_write(0x70, 0x5A);
    show(clock_read(0x70), 2);
    write_port(0x70, 0xF0);
    in(0x71);
    line();
}

enum { IOAPIC = 0xFEC00000, LAPIC = 0xFEE00000 };

static uint32_t ioapic_read(uint8_t index)
{
    memory_write(IOAPIC, index);
    return memory_read(IOAPIC + 0x10);
}

static void ioapic_write(uint8_t index, uint32_t value)
{
    memory_write(IOAPIC, index);
    memory_write(IOAPIC + 0x10, value);
}

static void io_apic(void)
{
    ioapic_write(0, 0xFFFFFFFF);
    name("ioapic identity");
    show(ioapic_read(0), 8);
    show(ioapic_read(1), 8);
    line();
    for (int pin = 0; pin < 24; pin++) {
        name("ioapic pin");
        show(pin, 2);
        static const uint32_t low[] = {0xFFFFFFFF, 0x00010000, 0x0001A931, 0x00018705};
        ioapic_write(0x11 + 2 * pin, 0xFFFFFFFF);
        show(ioapic_read(0x11 + 2 * pin), 8);
        for (int i = 0; i < 4; i++) {
            ioapic_write(0x10 + 2 * pin, low[i]);
            show(ioapic_read(0x10 + 2 * pin), 8);
        }
        ioapic_write(0x10 + 2 * pin, 0x00010000);
        line();
    }
}

static void local_apic(void)
{
    /* Bits that are reserved are left out, as QEMU keeps them. */
    static const struct {
        const char *name;
        uint16_t offset;
        uint32_t values[3];
    } registers[] = {
        {"destination format", 0xE0, {0x0FFFFFFF, 0xFFFFFFFF, 0x5FFFFFFF}},
        {"logical destination", 0xD0, {0xF1000000, 0x02FFFFFF, 0x01000000}},
        {"task priority", 0x80, {0x00000031, 0x000000FF, 0x00000000}},
        {"timer", 0x320, {0x000100F3, 0x000300F3, 0x00010030}},
        {"lint0", 0x350, {0x000100F3, 0x0001A751, 0x00010700}},
        {"lint1", 0x360, {0x000100F3, 0x0001A751, 0x00010400}},
        {"error vector", 0x370, {0x000100F3, 0x00010051, 0x000100FF}},
        {"divide", 0x3E0, {0x0B, 0x03, 0x0A}},
        {"command", 0x310, {0xF1000000, 0x0F000000, 0x00000000}},
    };
    memory_write(LAPIC + 0xF0, 0x1FF);
    name("apic spurious");
    show(memory_read(LAPIC + 0xF0) & 0x1FF, 8);
    show(memory_read(LAPIC + 0x20), 8);
    line();
    for (uint32_t i = 0; i < sizeof registers / sizeof *registers; i++) {
        serial_print(COM1, "apic ");
        name(registers[i].name);
        for (int value = 0; value < 3; value++) {
            memory_write(LAPIC + registers[i].offset, registers[i].values[value]);
            show(memory_read(LAPIC + registers[i].offset), 8);
        }
        line();
    }
    memory_write(LAPIC + 0x80, 0x31);
    name("apic priority of the processor");
    show(memory_read(LAPIC + 0xA0), 8);
    memory_write(LAPIC + 0x80, 0);
    show(memory_read(LAPIC + 0xA0), 8);
    line();
    name("apic in service, mode, requests");
    for (int bank = 0; bank < 24; bank++)
        show(memory_read(LAPIC + 0x100 + 16 * bank), 1);
    line();
    memory_write(LAPIC + 0x320, 0x10030);
    memory_write(LAPIC + 0x380, 0);
    name("apic count");
    show(memory_read(LAPIC + 0x380), 8);
    show(memory_read(LAPIC + 0x390), 8);
    line();
}

static uint16_t data[2048] __attribute__((aligned(4096)));
static struct region table[1] __attribute__((aligned(16)));

/* Waits until a channel is not busy; prints status, error and the other registers from `first` on. */
static void task_file(uint16_t base, uint16_t from, uint16_t to)
{
    while (read_port(base + 0x206) & ATA_BSY)
        ;
    for (uint16_t offset = from; offset <= to; offset++)
        in(base + offset);
    /* Bit 4 is obsolete. */
    show(read_port(base + 7) & ~0x10, 2);
}

static void disk_read(const char *text, uint8_t code, struct ata_address at, int sectors)
{
    at.device |= 0xA0;
    name(text);
    ata_command(code, at, sectors);
    for (int sector = 0; sector < sectors; sector++) {
        task_file(0x1F0, 1, 1);
        ata_read_data(data, 1);
        __asm__ volatile("" : : : "memory");
        show(data[0], 4);
        show(data[255], 4);
    }
    task_file(0x1F0, 1, 1);
    line();
}

/* Resets both drives of a channel. Their status is valid after 2 ms, and they accept no register while it says that they
   are busy (ATA-6, 9.2, "Software reset protocol"). It is that of drive 0: drive 1 is absent and never busy. */
static void reset_drives(uint16_t device, uint16_t control)
{
    write_port(device, 0xA0);
    write_port(control, ATA_NIEN | ATA_SRST);
    write_port(control, ATA_NIEN);
    for (int i = 0; i < 1000; i++)
        read_port(0x80);
    while (read_port(control) & ATA_BSY)
        ;
}

static void disk(void)
{
    reset_drives(ATA_DEVICE, ATA_CONTROL);
    write_port(ATA_DEVICE, 0xA0);
    name("disk signature");
    task_file(0x1F0, 1, 5);
    line();
    name("device 1");
    write_port(ATA_DEVICE, 0xB0);
    in(ATA_STATUS);
    in(ATA_ALTERNATE_STATUS);
    write_port(ATA_DEVICE, 0xA0);
    in(ATA_STATUS);
    line();
    name("disk identity");
    write_port(ATA_STATUS, ATA_IDENTIFY);
    task_file(0x1F0, 1, 1);
    ata_read_data(data, 1);
    __asm__ volatile("" : : : "memory");
    static const uint8_t words[] = {1, 3, 6, 47, 54, 55, 56, 57, 58, 60, 61, 100, 101, 102, 103};
    for (uint32_t i = 0; i < sizeof words; i++)
        show(data[words[i]], 4);
    line();
    disk_read("disk read", ATA_READ, ata_lba28(1), 2);
    disk_read("disk read by cylinder, head and sector", ATA_READ, ata_chs(0, 1, 2), 1);
    disk_read("disk read with 48 bits", ATA_READ_EXT, ata_lba48(3), 1);
    name("disk write");
    struct ata_address at = ata_lba28(5);
    at.device |= 0xA0;
    ata_command(ATA_WRITE, at, 1);
    task_file(0x1F0, 1, 1);
    for (int word = 0; word < ATA_WORDS; word++)
        data[word] = word * 3;
    __asm__ volatile("" : : : "memory");
    ata_write_data(data, 1);
    task_file(0x1F0, 1, 1);
    line();
    disk_read("disk read back", ATA_READ, ata_lba28(5), 1);
    name("disk commands");
    static const uint8_t codes[] = {0x00, 0x10, 0x40, 0x70, 0x91, 0xE0, 0xE1, 0xE5, 0xE7, 0xEA, 0xFF};
    for (uint32_t i = 0; i < sizeof codes; i++) {
        write_port(ATA_DEVICE, codes[i] == 0x91 ? 0xAF : 0xE0);
        write_port(ATA_COUNT, 63);
        ata_command(codes[i], (struct ata_address){{0}, {0}, codes[i] == 0x91 ? 0xAF : 0xE0}, 63);
        task_file(0x1F0, 1, 1);
    }
    line();
    name("disk features");
    static const uint8_t features[][2] = {{2, 0}, {0x82, 0}, {3, 0x0C}, {3, 0x42}, {0x99, 0}};
    for (uint32_t i = 0; i < sizeof features / sizeof *features; i++) {
        write_port(ATA_ERROR, features[i][0]);
        write_port(ATA_COUNT, features[i][1]);
        write_port(ATA_STATUS, 0xEF);
        task_file(0x1F0, 1, 1);
    }
    line();
    uint16_t bus_master = bus_master_enable();
    name("bus master");
    write_port(bus_master + BM_STATUS, 0x66);
    in(bus_master + BM_STATUS);
    write_port_dword(bus_master + BM_TABLE, 0x12345677);
    show(read_port_dword(bus_master + BM_TABLE), 8);
    table[0] = region(data, 512, 1);
    data[0] = 0;
    bus_master_prepare(bus_master, table, BM_TO_MEMORY);
    at = ata_lba28(5);
    at.device |= 0xA0;
    write_port(ATA_CONTROL, 0);
    ata_command(ATA_READ_DMA, at, 1);
    write_port(bus_master + BM_COMMAND, BM_TO_MEMORY | BM_START);
    while ((read_port(bus_master + BM_STATUS) & 5) != 4)
        ;
    in(bus_master + BM_COMMAND);
    in(bus_master + BM_STATUS);
    task_file(0x1F0, 1, 1);
    write_port(bus_master + BM_COMMAND, 0);
    in(bus_master + BM_STATUS);
    __asm__ volatile("" : : : "memory");
    show(data[0], 4);
    show(data[255], 4);
    line();
}

/* A packet, and its answer of at most `bytes`. */
static void packet(const char *text, uint8_t code, uint8_t length, uint16_t bytes, int first)
{
    uint16_t words[6] = {code, 0, length, 0, 0, 0};
    if (code == 0x28) {
        words[1] = 0;
        words[2] = 0x0100; /* sector 1 */
        words[4] = 1;
    }
    name(text);
    write_port(0x171, 0);
    write_port(0x174, bytes);
    write_port(0x175, bytes >> 8);
    write_port(0x177, 0xA0);
    task_file(0x170, 2, 2);
    for (int i = 0; i < 6; i++)
        write_port_word(0x170, words[i]);
    for (;;) {
        task_file(0x170, 1, 2);
        if (!(read_port(0x376) & ATA_DRQ))
            break;
        uint16_t count = in(0x174);
        count |= in(0x175) << 8;
        uint64_t left = (count + 1) / 2;
        void *to = data;
        __asm__ volatile("rep insw" : "+D"(to), "+c"(left) : "d"(0x170) : "memory");
        for (int word = first; word < (count + 1) / 2 && word < first + 5; word++)
            show(data[word], 4);
    }
    line();
}

static void cd(void)
{
    reset_drives(0x176, 0x376);
    write_port(0x176, 0xA0);
    name("cd signature");
    task_file(0x170, 1, 5);
    line();
    name("cd identify device");
    write_port(0x177, ATA_IDENTIFY);
    task_file(0x170, 1, 5);
    line();
    packet("cd ready", 0x00, 0, 0, 0);
    packet("cd capacity", 0x25, 0, 8, 0);
    packet("cd read", 0x28, 0, 2048, 0);
    packet("cd read in blocks", 0x28, 0, 512, 0);
    packet("cd unknown command", 0xE7, 0, 8, 0);
    packet("cd sense", 0x03, 18, 18, 1);
    packet("cd inquiry", 0x12, 8, 8, 0);
}

uint64_t guest_main(void)
{
    interrupts_off();
    interval_timer();
    interrupt_controllers();
    real_time_clock();
    io_apic();
    local_apic();
    disk();
    cd();
    serial_print(COM1, "end\n");
    write_port_word(0x604, 0x2000);
    return 0;
}
