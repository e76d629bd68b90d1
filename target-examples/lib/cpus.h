/* Several processors: how many there are, and how all but the first are started
   (Intel SDM volume 3A, "MP Initialization Protocol Algorithm for MP Systems").

   A processor that is started begins in real mode at a page below 1 MiB. The code there enters 64-bit mode with the page
   tables, descriptors and interrupt table of the first one, takes a stack, and calls a function with its number. */
#ifndef CPUS_H
#define CPUS_H

#include "ports.h"

enum {
    MOST_CPUS = 64,
    CPU_STACK = 4096,
    CPU_START_PAGE = 0x70, /* at 0x70000: free in a machine that boots a small kernel */
    LOCAL_APIC = 0xFEE00000,
};

/* What a started processor runs; it must not return. */
typedef void cpu_function(uint32_t number);

/* Numbers processors in the order in which they start; the first one is 0. */
volatile uint32_t cpus_started = 1;
cpu_function *cpu_main;
uint8_t cpu_stacks[MOST_CPUS][CPU_STACK] __attribute__((aligned(16)));

/* Copied to the start page. The values behind it are those of the first processor. */
__asm__(".pushsection .text\n"
        ".code16\n"
        "cpu_start: cli\n"
        "   mov %cs, %ax\n"
        "   mov %ax, %ds\n"
        "   lgdtl cpu_start_gdt - cpu_start\n"
        "   mov cpu_start_cr4 - cpu_start, %eax\n"
        "   mov %eax, %cr4\n"
        "   mov cpu_start_cr3 - cpu_start, %eax\n"
        "   mov %eax, %cr3\n"
        "   mov $0xC0000080, %ecx\n" /* EFER, without LMA, which follows */
        "   mov cpu_start_efer - cpu_start, %eax\n"
        "   xor %edx, %edx\n"
        "   wrmsr\n"
        "   mov cpu_start_cr0 - cpu_start, %eax\n"
        "   mov %eax, %cr0\n"
        "   ljmpl *(cpu_start_entry - cpu_start)\n"
        "   .balign 8\n"
        "cpu_start_gdt: .skip 10\n"
        "   .balign 4\n"
        "cpu_start_cr0: .skip 4\n"
        "cpu_start_cr3: .skip 4\n"
        "cpu_start_cr4: .skip 4\n"
        "cpu_start_efer: .skip 4\n"
        "cpu_start_entry: .skip 6\n"
        "cpu_start_end:\n"
        ".code64\n"
        "cpu_enter:\n"
        "   mov %ss:cpu_data_selector, %eax\n"
        "   mov %eax, %ds\n"
        "   mov %eax, %es\n"
        "   mov %eax, %ss\n"
        "   lidt cpu_idt\n"
        "   mov $1, %edi\n"
        "   lock xadd %edi, cpus_started\n"
        "   lea 1(%rdi), %eax\n"
        "   shl $12, %eax\n" /* CPU_STACK */
        "   lea cpu_stacks(%rax), %rsp\n"
        "   xor %ebp, %ebp\n"
        "   call *cpu_main\n"
        "1: cli\n"
        "   hlt\n"
        "   jmp 1b\n"
        ".popsection\n");
extern uint8_t cpu_start[], cpu_start_end[], cpu_start_gdt[], cpu_start_cr0[], cpu_start_cr3[], cpu_start_cr4[],
    cpu_start_efer[], cpu_start_entry[], cpu_enter[];
uint32_t cpu_data_selector;
struct __attribute__((packed)) {
    uint16_t limit;
    uint64_t base;
} cpu_idt, cpu_gdt;

static inline void copy_bytes(volatile uint8_t *to, const volatile uint8_t *from, uint64_t count)
{
    while (count--)
        *to++ = *from++;
}

/* How many processors there are: the machine leaves the number of the others in the CMOS RAM. */
static inline uint32_t cpu_count(void)
{
    write_port(0x70, 0x5F);
    return read_port(0x71) + 1u;
}

/* About a microsecond on a PC: the port of the progress codes. */
static inline void wait_a_moment(void)
{
    read_port(0x80);
}

static inline void send_ipi(uint32_t destination, uint32_t command)
{
    *(volatile uint32_t *)(LOCAL_APIC + 0x310ull) = destination << 24;
    *(volatile uint32_t *)(LOCAL_APIC + 0x300ull) = command;
}

/* Starts processors 1 to count - 1, and returns when all of them run `function`. */
static inline void start_cpus(uint32_t count, cpu_function *function)
{
    uint8_t *page = (uint8_t *)(CPU_START_PAGE * 0x1000ull);
    uint64_t cr0, cr3, cr4;
    uint32_t efer, high;
    uint16_t code, data;
    __asm__ volatile("mov %%cr0, %0; mov %%cr3, %1; mov %%cr4, %2" : "=r"(cr0), "=r"(cr3), "=r"(cr4));
    __asm__ volatile("rdmsr" : "=a"(efer), "=d"(high) : "c"(0xC0000080));
    __asm__ volatile("mov %%cs, %0; mov %%ss, %1" : "=r"(code), "=r"(data));
    __asm__ volatile("sgdt %0; sidt %1" : "=m"(cpu_gdt), "=m"(cpu_idt));
    cpu_main = function;
    cpu_data_selector = data;
    copy_bytes(page, cpu_start, cpu_start_end - cpu_start);
    copy_bytes(page + (cpu_start_gdt - cpu_start), (uint8_t *)&cpu_gdt, sizeof cpu_gdt);
    *(volatile uint32_t *)(page + (cpu_start_cr0 - cpu_start)) = cr0;
    *(volatile uint32_t *)(page + (cpu_start_cr3 - cpu_start)) = cr3;
    *(volatile uint32_t *)(page + (cpu_start_cr4 - cpu_start)) = cr4;
    *(volatile uint32_t *)(page + (cpu_start_efer - cpu_start)) = efer & ~(1u << 10);
    *(volatile uint32_t *)(page + (cpu_start_entry - cpu_start)) = (uint32_t)(uint64_t)cpu_enter;
    *(volatile uint16_t *)(page + (cpu_start_entry - cpu_start) + 4) = code;
    for (uint32_t number = 1; number < count; number++) {
        send_ipi(number, 0x4500); /* INIT */
        send_ipi(number, 0x4600 | CPU_START_PAGE);
        send_ipi(number, 0x4600 | CPU_START_PAGE); /* as the protocol asks for; it is ignored */
        while (cpus_started <= number)
            wait_a_moment();
    }
}

#endif
