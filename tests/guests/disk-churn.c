/* disk-churn: writes the first disk and reads it back without end, eight sectors a command. The sectors of a slot hold
   the number of the round that wrote them; the guest remembers it, and counts the sectors that hold anything else.
   When a byte arrives on COM1 it prints how many rounds there were and how many sectors were wrong, and after a \x04
   it ends; the result is the number of wrong sectors. */
#include "ata.h"
#include "interrupts.h"
#include "serial.h"

enum { DISK_LINE = 14, SLOTS = 64, SECTORS = 8, END = 4 };

static volatile uint64_t interrupts;
static uint64_t wrong, rounds, written[SLOTS];
static uint16_t data[SECTORS * ATA_WORDS];

__attribute__((interrupt)) static void on_disk(struct frame *frame)
{
    (void)frame;
    (void)read_port(ATA_STATUS);
    interrupts++;
    end_of_interrupt(DISK_LINE);
}

/* Sleeps until one more interrupt than `before` has come. */
static void wait_for_interrupt(uint64_t before)
{
    interrupts_off();
    while (interrupts == before)
        sleep_until_interrupt();
    interrupts_on();
}

static uint16_t pattern(uint64_t round, uint32_t sector, uint32_t word)
{
    return (uint16_t)(round * 31 + sector * 257 + word);
}

static void write_slot(uint32_t slot, uint64_t round)
{
    for (uint32_t sector = 0; sector < SECTORS; sector++)
        for (uint32_t word = 0; word < ATA_WORDS; word++)
            data[sector * ATA_WORDS + word] = pattern(round, sector, word);
    uint64_t before = interrupts;
    ata_command(ATA_WRITE, ata_lba28(slot * SECTORS), SECTORS);
    for (uint32_t sector = 0; sector < SECTORS; sector++) {
        if (sector > 0)
            wait_for_interrupt(before + sector - 1);
        ata_write_data(data + sector * ATA_WORDS, 1);
    }
    wait_for_interrupt(before + SECTORS - 1);
    written[slot] = round;
}

static void check_slot(uint32_t slot)
{
    if (written[slot] == 0)
        return;
    uint64_t before = interrupts;
    ata_command(ATA_READ, ata_lba28(slot * SECTORS), SECTORS);
    for (uint32_t sector = 0; sector < SECTORS; sector++) {
        wait_for_interrupt(before + sector);
        ata_read_data(data, 1);
        int same = 1;
        for (uint32_t word = 0; word < ATA_WORDS; word += 5)
            same &= data[word] == pattern(written[slot], sector, word);
        wrong += !same;
    }
}

uint64_t guest_main(void)
{
    interrupts_setup();
    set_handler(FIRST_VECTOR + DISK_LINE, on_disk);
    unmask_line(DISK_LINE);
    interrupts_on();
    serial_print(COM1, "writing\n");
    for (;;) {
        rounds++;
        write_slot(rounds * 5 % SLOTS, rounds);
        check_slot(rounds * 7 % SLOTS);
        if (!(read_port(COM1 + SERIAL_LINE_STATUS) & SERIAL_RECEIVED))
            continue;
        int last = read_port(COM1 + SERIAL_DATA) == END;
        if (last)
            for (uint32_t slot = 0; slot < SLOTS; slot++)
                check_slot(slot);
        serial_print(COM1, "rounds ");
        serial_print_decimal(COM1, rounds);
        serial_print(COM1, " wrong ");
        serial_print_decimal(COM1, wrong);
        serial_print(COM1, "\n");
        if (last)
            break;
    }
    interrupts_off();
    return wrong;
}
