/* raised: vector instructions whose exceptions are not masked in MXCSR, and bytes that are no instruction. Each
 * line has the vector that is raised, and MXCSR after it. With "unhandled" on the command line there is no
 * handler, so that the first one is a triple fault. */

#include "serial.h"
#include "start_info.h"

struct pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

struct gate {
    uint16_t low, selector, flags, middle;
    uint32_t high, zero;
};

/* Vector of the last exception, and where the guest goes on after it. */
volatile uint64_t vector, resume;

__asm__(".text\n"
        "undefined: movq $6, vector(%rip)\n\t"
        "jmp leave\n"
        "x87: movq $16, vector(%rip)\n\t"
        "jmp leave\n"
        "simd: movq $19, vector(%rip)\n"
        "leave: pushq %rax\n\t"
        "movq resume(%rip), %rax\n\t"
        "movq %rax, 8(%rsp)\n\t"
        "popq %rax\n\t"
        "iretq\n");

void undefined(void), x87(void), simd(void);

static struct gate idt[32];

static void catch(int number, void (*handler)(void))
{
    uint64_t address = (uint64_t)handler;
    idt[number] = (struct gate){address, 0x08, 0x8E00, address >> 16, address >> 32, 0};
}

static const uint32_t nan[4] __attribute__((aligned(16))) = {0x7fc00000, 0x7fc00000, 0x7fc00000, 0x7fc00000};
/* 2^100 and 2^-100. */
static const uint32_t large[4] __attribute__((aligned(16))) = {0x71800000, 0x71800000, 0x71800000, 0x71800000};
static const uint32_t small[4] __attribute__((aligned(16))) = {0x0d800000, 0x0d800000, 0x0d800000, 0x0d800000};

/* Executes an instruction with all exceptions of MXCSR unmasked. */
#define ATTEMPT(name, instruction)                                                                              \
    do {                                                                                                        \
        uint32_t mxcsr = 0;                                                                                     \
        vector = 0;                                                                                             \
        __asm__ volatile("fninit\n\tldmxcsr %0\n\t"                                                             \
                         "leaq 1f(%%rip), %%r11\n\tmovq %%r11, resume(%%rip)\n\t" instruction                   \
                         "\n1: stmxcsr %0\n\tfninit"                                                            \
                         : "+m"(mxcsr)                                                                          \
                         : [nan] "m"(nan), [large] "m"(large), [small] "m"(small)                               \
                         : "r11", "memory");                                                                    \
        tell(name, mxcsr);                                                                                      \
    } while (0)

static void tell(const char *name, uint32_t mxcsr)
{
    serial_print(COM1, name);
    serial_print(COM1, ": exception ");
    serial_print_decimal(COM1, vector);
    serial_print(COM1, ", mxcsr ");
    serial_print_hex(COM1, mxcsr, 4);
    serial_print(COM1, "\n");
}

uint64_t guest_main(const struct start_info *info)
{
    static struct pointer table;
    uint64_t cr4;
    const char *way = info && info->command_line ? (const char *)info->command_line : "";
    if (*way != 'u') {
        catch(6, undefined);
        catch(16, x87);
        catch(19, simd);
    }
    table = (struct pointer){sizeof idt - 1, (uint64_t)idt};
    __asm__ volatile("lidt %0" : : "m"(table));
    /* OSFXSR and OSXMMEXCPT. */
    __asm__ volatile("movq %%cr4, %0" : "=r"(cr4));
    __asm__ volatile("movq %0, %%cr4" : : "r"(cr4 | 0x600));

    ATTEMPT("cvttps2pi", "cvttps2pi %[nan], %%mm0");
    ATTEMPT("cvtps2pi", "cvtps2pi %[nan], %%mm0");
    ATTEMPT("cvttpd2pi", "cvttpd2pi %[nan], %%mm0");
    ATTEMPT("cvtpd2pi", "movaps %[nan], %%xmm0\n\tcvtpd2pi %%xmm0, %%mm0");
    ATTEMPT("cvtpi2ps", "pcmpeqd %%mm0, %%mm0\n\tpsrld $1, %%mm0\n\tcvtpi2ps %%mm0, %%xmm0");
    ATTEMPT("cvtpi2pd", "cvtpi2pd %[nan], %%xmm0");
    ATTEMPT("mulps, too large", "movaps %[large], %%xmm0\n\tmulps %[large], %%xmm0");
    ATTEMPT("mulps, too small", "movaps %[small], %%xmm0\n\tmulps %[small], %%xmm0");
    ATTEMPT("prefix", ".byte 0xf3, 0x49, 0x0f, 0x38, 0x14, 0xcc");
    ATTEMPT("x87", ".byte 0xda, 0xea");
    ATTEMPT("vex", ".byte 0xc4, 0xe2, 0x7d, 0x41, 0xc0");
    ATTEMPT("lock", ".byte 0xf0, 0x48, 0x8b, 0x07");
    return 0;
}
