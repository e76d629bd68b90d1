/* careless-tables: loads a GDT, a task state segment and a stack pointer that `lint` finds wrong, and then waits for
   keys that it ignores. */
#include "interrupts.h"

static char stack[4096] __attribute__((aligned(16)));

static struct __attribute__((packed)) {
    uint32_t reserved;
    uint64_t rsp[3], reserved2, ist[7], reserved3;
    uint16_t reserved4, io_bitmap;
} task_state;

/* Code and data of ring 0, data of ring 3, the task state segment, and one more. */
static uint64_t gdt[] __attribute__((aligned(16))) = {
    0, 0x00AF9B000000FFFF, 0x00CF93000000FFFF, 0x00CFF3000000FFFF, 0, 0, 0x00CF93000000FFFF};

struct __attribute__((packed)) table {
    uint16_t limit;
    uint64_t base;
};

uint64_t guest_main(void)
{
    uint64_t at = (uint64_t)&task_state;
    task_state.io_bitmap = sizeof task_state;
    /* Two events on one stack, and none for ring 0. */
    task_state.ist[0] = task_state.ist[1] = (uint64_t)(stack + sizeof stack);
    gdt[4] = 0x0000890000000067 | (at & 0xFFFFFF) << 16 | (at >> 24 & 0xFF) << 56;
    gdt[5] = at >> 32;
    interrupts_setup();
    unmask_line(KEYBOARD_LINE);
    /* The size where the limit is wanted would be one more; this is one less. */
    struct table table = {sizeof gdt - 2, (uint64_t)gdt};
    __asm__ volatile("lgdt %0\n"
                     "ltr %w1\n"
                     "subq $4, %%rsp\n"
                     "1: sti\n"
                     "hlt\n"
                     "jmp 1b"
                     :
                     : "m"(table), "r"(0x20));
    __builtin_unreachable();
}
