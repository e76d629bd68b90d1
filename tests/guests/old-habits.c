/* old-habits: the state that guests written for earlier teaching supervisors rely on. Each check that
 * fails sets its bit in the result; 0 means that all of it holds. */

#include "ports.h"
#include "start_info.h"

struct pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

static void out32(uint16_t port, uint32_t value)
{
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static uint32_t in32(uint16_t port)
{
    uint32_t value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static uint16_t in16(uint16_t port)
{
    uint16_t value;
    __asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static uint16_t selector_of_ss(void)
{
    uint16_t value;
    __asm__ volatile("mov %%ss, %0" : "=r"(value));
    return value;
}

static uint16_t selector_of_cs(void)
{
    uint16_t value;
    __asm__ volatile("mov %%cs, %0" : "=r"(value));
    return value;
}

static uint16_t data_selectors(void)
{
    uint16_t ds, es, fs, gs;
    __asm__ volatile("mov %%ds, %0; mov %%es, %1; mov %%fs, %2; mov %%gs, %3"
                     : "=r"(ds), "=r"(es), "=r"(fs), "=r"(gs));
    return ds | es | fs | gs;
}

/* Null, ring-0 code at 0x08, and at 0x10 ring-3 code, as such guests have it: SS stays null. */
static uint64_t gdt[] = {0, 0x00209a0000000000, 0x0020fa0000000000};

/* Returns by iretq to where it was called from, on the same stack. */
static void return_by_iretq(void)
{
    __asm__ volatile("mov %%rsp, %%rax\n\t"
                     "mov %%ss, %%ecx\n\t"
                     "push %%rcx\n\t"
                     "push %%rax\n\t"
                     "pushfq\n\t"
                     "push $0x08\n\t"
                     "lea 1f(%%rip), %%rax\n\t"
                     "push %%rax\n\t"
                     "iretq\n\t"
                     "1:" ::: "rax", "rcx", "memory");
}

/* RAM that can be written at `address`. */
static int is_ram(uint64_t address)
{
    volatile uint64_t *word = (uint64_t *)address;
    uint64_t before = *word;
    *word = 0x0123456789abcdef;
    int holds = *word == 0x0123456789abcdef;
    *word = before;
    return holds;
}

/* A device window that reads as zero and swallows writes. */
static int is_empty_window(uint64_t address)
{
    volatile uint32_t *word = (uint32_t *)address;
    *word = 0xffffffff;
    return *word == 0;
}

uint64_t guest_main(const struct start_info *info)
{
    (void)info;
    uint64_t wrong = 0;
    struct pointer gdtr = {sizeof gdt - 1, (uint64_t)gdt};

    wrong |= (selector_of_cs() != 0x08) << 0;
    wrong |= (selector_of_ss() != 0) << 1;
    wrong |= (data_selectors() != 0) << 2;
    /* Stacks that grow down from 0xfffff, through where PCs have ROM. */
    for (uint64_t address = 0x9f000; address < 0x100000; address += 0x1000)
        wrong |= (uint64_t)!is_ram(address + 8) << 3;
    __asm__ volatile("lgdt %0" : : "m"(gdtr));
    return_by_iretq();
    wrong |= (uint64_t)!is_empty_window(0x0fe00000) << 4;
    /* The IOAPIC identifies itself by its version register. */
    *(volatile uint32_t *)0xfec00000 = 1;
    wrong |= (uint64_t)(*(volatile uint32_t *)0xfec00010 != 0x00170020) << 5;
    /* The local APIC is switched on before the guest starts: such guests only write EOI. */
    wrong |= (uint64_t)!(*(volatile uint32_t *)0xfee000f0 & 0x100) << 6;
    *(volatile uint32_t *)0xfee000b0 = 0;
    /* One of them waits until bit 7 of an unassigned port clears. */
    wrong |= (uint64_t)!!(read_port(0x0f) & 0x80) << 7;
    /* The keyboard is enabled with interrupts off, then on, by writing its configuration. */
    write_port(0x64, 0x60);
    write_port(0x60, 0x60);
    wrong |= (uint64_t)(read_port(0x64) & 1) << 8;
    write_port(0x64, 0x60);
    write_port(0x60, 0x61);
    /* Of the PCI devices, only the chipset answers. */
    for (uint32_t device = 2; device < 32; device++) {
        out32(0xcf8, 0x80000000 | device << 11);
        wrong |= (uint64_t)(in32(0xcfc) != 0xffffffff) << 9;
        wrong |= (uint64_t)(in16(0xcfe) != 0xffff) << 10;
    }
    return wrong;
}
