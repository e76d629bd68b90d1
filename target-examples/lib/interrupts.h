/* Interrupts: the descriptor table of the processor and the two interrupt controllers of a PC
   (Intel SDM volume 3A, "Interrupt and Exception Handling"; Intel 8259A datasheet).

   A handler is a function with __attribute__((interrupt)) that takes a pointer. */
#ifndef INTERRUPTS_H
#define INTERRUPTS_H

#include "ports.h"

enum {
    PIC1 = 0x20,
    PIC2 = 0xA0,
    END_OF_INTERRUPT = 0x20,
    /* Lines 0 to 15 have the vectors from here on; those below 32 belong to exceptions. */
    FIRST_VECTOR = 32,
    TIMER_LINE = 0,
    KEYBOARD_LINE = 1,
    CASCADE_LINE = 2,
    COM1_LINE = 4,
    /* What the timer chip counts by. */
    TIMER_HZ = 1193182,
};

struct frame;
typedef void handler_function(struct frame *);

struct gate {
    uint16_t offset_low, selector, attributes, offset_middle;
#ifdef __x86_64__
    uint32_t offset_high, reserved;
#endif
};

static struct gate interrupt_table[256] __attribute__((aligned(16)));

static inline void set_handler(uint8_t vector, handler_function *handler)
{
    uintptr_t offset = (uintptr_t)handler;
    uint16_t selector;
    __asm__ volatile("mov %%cs, %0" : "=r"(selector));
    interrupt_table[vector] = (struct gate){
        .offset_low = offset, .offset_middle = offset >> 16,
#ifdef __x86_64__
        .offset_high = offset >> 32,
#endif
        .selector = selector, .attributes = 0x8E00, /* present, ring 0, interrupt gate */
    };
}

/* Loads the table and gives the lines their vectors; all lines are masked. */
static inline void interrupts_setup(void)
{
    struct __attribute__((packed)) {
        uint16_t limit;
        uintptr_t base;
    } table = {sizeof interrupt_table - 1, (uintptr_t)interrupt_table};
    __asm__ volatile("lidt %0" : : "m"(table));
    write_port(PIC1, 0x11); /* ICW1: edge-triggered, two controllers, ICW4 follows */
    write_port(PIC2, 0x11);
    write_port(PIC1 + 1, FIRST_VECTOR);
    write_port(PIC2 + 1, FIRST_VECTOR + 8);
    write_port(PIC1 + 1, 1 << CASCADE_LINE);
    write_port(PIC2 + 1, CASCADE_LINE);
    write_port(PIC1 + 1, 0x01); /* ICW4: 8086 */
    write_port(PIC2 + 1, 0x01);
    write_port(PIC1 + 1, 0xFF & ~(1 << CASCADE_LINE));
    write_port(PIC2 + 1, 0xFF);
}

static inline void unmask_line(int line)
{
    uint16_t port = line < 8 ? PIC1 + 1 : PIC2 + 1;
    write_port(port, read_port(port) & ~(1 << line % 8));
}

/* Makes the timer chip (Intel 8254) request interrupts at this rate, from 19 a second on. */
static inline void start_timer(uint32_t ticks_per_second)
{
    uint16_t divisor = TIMER_HZ / ticks_per_second;
    write_port(0x43, 0x34); /* counter 0, low byte and high byte, mode 2 */
    write_port(0x40, divisor & 0xFF);
    write_port(0x40, divisor >> 8);
}

static inline void end_of_interrupt(int line)
{
    if (line >= 8)
        write_port(PIC2, END_OF_INTERRUPT);
    write_port(PIC1, END_OF_INTERRUPT);
}

static inline void interrupts_on(void)
{
    __asm__ volatile("sti" : : : "memory");
}

static inline void interrupts_off(void)
{
    __asm__ volatile("cli" : : : "memory");
}

/* Sleeps until the next interrupt. One that arrives between the two instructions ends it, too. */
static inline void sleep_until_interrupt(void)
{
    __asm__ volatile("sti; hlt; cli" : : : "memory");
}

#endif
