/* handled: raises an invalid opcode, a general protection fault and a page fault, in this order, which handlers of its
 * own count: the result is their number. With "triple" on the command line it then takes its gates away, writes to two
 * ports and raises the next one, which is a triple fault. */
#include "ports.h"
#include "start_info.h"

struct pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

struct gate {
    uint16_t low, selector, flags, middle;
    uint32_t high, zero;
};

/* Exceptions so far, and where the guest goes on after the next one. */
volatile uint64_t count, resume;

__asm__(".text\n"
        ".globl on_undefined, on_protection, on_page_fault\n"
        "on_undefined: incq count\n\t"
        "jmp leave\n"
        "on_protection: incq count\n\t"
        "jmp drop\n"
        "on_page_fault: incq count\n"
        "drop: addq $8, %rsp\n"
        "leave: pushq %rax\n\t"
        "movq resume, %rax\n\t"
        "movq %rax, 8(%rsp)\n\t"
        "popq %rax\n\t"
        "iretq\n");

void on_undefined(void), on_protection(void), on_page_fault(void);

static struct gate idt[32];
static struct pointer table = {sizeof idt - 1, 0};

static void set_gate(int vector, void (*handler)(void))
{
    uint64_t address = (uint64_t)handler;
    idt[vector] = (struct gate){address, 0x08, 0x8E00, address >> 16, address >> 32, 0};
}

#define RAISE(place, instruction)                                                                              \
    __asm__ volatile("movq $1f, resume\n" place ": " instruction "\n1:" : : : "rax", "memory")

uint64_t guest_main(const struct start_info *info)
{
    const char *way = info && info->command_line ? (const char *)info->command_line : "";
    set_gate(6, on_undefined);
    set_gate(13, on_protection);
    set_gate(14, on_page_fault);
    table.base = (uint64_t)idt;
    __asm__ volatile("lidt %0" : : "m"(table));
    RAISE("undefined_place", "ud2");
    RAISE("protection_place", "movl $0x1000, %%eax\nselector_place: movl %%eax, %%fs");
    RAISE("page_fault_place", "movabsq $0x700000000000, %%rax\nwrite_place: movb $1, (%%rax)");
    if (*way == 't') {
        for (int vector = 0; vector < 32; vector++)
            idt[vector] = (struct gate){0};
        write_port(0x80, 0x42);
        write_port_word(0x1E0, 0x1234);
        __asm__ volatile("last_place: ud2");
    }
    return count;
}
