/* watched: accesses to memory that a debugger watches: of every width, beside a busy neighbour, beside code
   that runs, through two more mappings, one of which is made late, and by an instruction that some hosts
   refuse. Then it halts with the number of rounds the busy neighbour was written, 1000, or, with any
   command line, resets the machine. */
#include <stdint.h>

#include "ports.h"
#include "start_info.h"

/* All in one page. */
__attribute__((aligned(4096))) volatile struct {
    uint8_t one;
    uint16_t two;
    uint32_t four;
    uint64_t eight;
    uint8_t many[64];
    uint64_t busy;
    uint64_t aliased;
    uint64_t later;
    uint64_t vector[2];
    uint64_t mapped;
} data;

/* A variable in the page of the code that counts it up, eight times. */
extern void count_up(void);
__asm__(".balign 64\n"
        ".globl near_code\n"
        "near_code: .quad 0\n"
        ".globl count_up\n"
        "count_up: movl $8, %ecx\n"
        "1: incq near_code(%rip)\n"
        "decl %ecx\n"
        "jnz 1b\n"
        "ret\n");

/* Maps the first GiB again at `gib` GiB. */
static void map_again(int gib)
{
    uint64_t root;
    __asm__ volatile("mov %%cr3, %0" : "=r"(root));
    volatile uint64_t *pml4 = (volatile uint64_t *)(root & ~0xfffULL);
    volatile uint64_t *pdpt = (volatile uint64_t *)(pml4[0] & 0xffffffffff000ULL);
    pdpt[gib] = pdpt[0];
    __asm__ volatile("mov %0, %%cr3" : : "r"(root) : "memory");
}

static volatile uint64_t *at_gib(int gib, volatile uint64_t *variable)
{
    return (volatile uint64_t *)((uintptr_t)variable + ((uint64_t)gib << 30));
}

uint64_t guest_main(const struct start_info *info)
{
    volatile uint64_t local = 5;
    data.one = 1;
    data.two = 2;
    data.four = 4;
    data.eight = 8;
    data.many[33] = 33;
    for (int round = 0; round < 1000; round++)
        data.busy++;
    (void)data.eight;
    data.eight = 9;
    (void)data.eight;
    count_up();
    map_again(1);
    *at_gib(1, &data.aliased) = 11;
    map_again(2);
    data.mapped = 1;
    *at_gib(2, &data.later) = 12;
    __asm__ volatile("movq %0, %%xmm0\nmovss %%xmm0, %1" : : "r"(77ULL), "m"(data.vector[1]) : "memory");
    local++;
    if (info->command_line && *(const char *)info->command_line)
        write_port(0xcf9, 6);
    return data.busy;
}
