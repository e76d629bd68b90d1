/* Writes a disk and reads it back without end, eight sectors at a time; how, a guest says by write_sectors and
   read_sectors. The sectors of a slot hold the number of the round that wrote them; the guest remembers it, and counts the
   sectors that hold anything else.
   When a byte arrives on COM1 it prints how many rounds there were and how many sectors were wrong, and after a \x04
   it ends; the result is the number of wrong sectors. After an h the next transfer stops in the middle, where the guest
   can (churn_in_the_middle), until another byte comes. */
#ifndef CHURN_H
#define CHURN_H

#include "serial.h"

enum { CHURN_SLOTS = 64, CHURN_SECTORS = 8, CHURN_WORDS = 256, CHURN_END = 4 };

static uint64_t churn_wrong, churn_rounds, churn_written[CHURN_SLOTS];
static uint16_t churn_data[CHURN_SECTORS * CHURN_WORDS] __attribute__((aligned(4096)));
static int churn_stops;

/* The sectors from `lba` on, in churn_data. */
static void write_sectors(uint32_t lba);
static void read_sectors(uint32_t lba);

/* Waits there for a byte if one has asked for it. */
static inline void churn_in_the_middle(void)
{
    if (!churn_stops)
        return;
    churn_stops = 0;
    serial_print(COM1, "in the middle\n");
    (void)serial_get(COM1);
}

static inline uint16_t churn_pattern(uint64_t round, uint32_t sector, uint32_t word)
{
    return (uint16_t)(round * 31 + sector * 257 + word);
}

static void churn_write(uint32_t slot)
{
    for (uint32_t sector = 0; sector < CHURN_SECTORS; sector++)
        for (uint32_t word = 0; word < CHURN_WORDS; word++)
            churn_data[sector * CHURN_WORDS + word] = churn_pattern(churn_rounds, sector, word);
    write_sectors(slot * CHURN_SECTORS);
    churn_written[slot] = churn_rounds;
}

static void churn_check(uint32_t slot)
{
    if (churn_written[slot] == 0)
        return;
    for (uint32_t sector = 0; sector < CHURN_SECTORS; sector++)
        for (uint32_t word = 0; word < CHURN_WORDS; word += 5)
            churn_data[sector * CHURN_WORDS + word] = 0xEEEE;
    read_sectors(slot * CHURN_SECTORS);
    for (uint32_t sector = 0; sector < CHURN_SECTORS; sector++) {
        int same = 1;
        for (uint32_t word = 0; word < CHURN_WORDS; word += 5)
            same &= churn_data[sector * CHURN_WORDS + word] == churn_pattern(churn_written[slot], sector, word);
        churn_wrong += !same;
    }
}

/* Until a \x04; the number of wrong sectors. */
static uint64_t churn(void)
{
    serial_print(COM1, "writing\n");
    for (;;) {
        churn_rounds++;
        churn_write(churn_rounds * 5 % CHURN_SLOTS);
        churn_check(churn_rounds * 7 % CHURN_SLOTS);
        if (!(read_port(COM1 + SERIAL_LINE_STATUS) & SERIAL_RECEIVED))
            continue;
        char byte = read_port(COM1 + SERIAL_DATA);
        if (byte == 'h') {
            churn_stops = 1;
            continue;
        }
        if (byte == CHURN_END)
            for (uint32_t slot = 0; slot < CHURN_SLOTS; slot++)
                churn_check(slot);
        serial_print(COM1, "rounds ");
        serial_print_decimal(COM1, churn_rounds);
        serial_print(COM1, " wrong ");
        serial_print_decimal(COM1, churn_wrong);
        serial_print(COM1, "\n");
        if (byte == CHURN_END)
            return churn_wrong;
    }
}

#endif
