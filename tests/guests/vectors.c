/* vectors: computes in vector registers until a byte arrives: sixteen of them, each increased by
   different numbers in every round, with one more on the x87 stack, an unusual rounding mode, and 32 bytes
   wide where the processor has AVX. No value is in memory before a byte arrives on COM1. Then it prints
   whether all of them are correct for the number of rounds, and continues; Ctrl-D ends it. A command line
   that begins with an n disables the use of AVX. */
#include "serial.h"
#include "start_info.h"

enum { REGISTERS = 16, LANES = 4, CTRL_D = 4 };

/* MXCSR: rounds toward zero, and raises no exception. x87: the same, with 53 bits. */
enum { TOWARD_ZERO = 0x7f80, X87_TOWARD_ZERO = 0xe7f };

typedef double numbers[LANES] __attribute__((aligned(32)));

static numbers steps[REGISTERS], values[REGISTERS];

/* All sixteen, by the instruction `name` with memory from RDI on. */
#define EACH(one)                                                                                  \
    one(0) one(1) one(2) one(3) one(4) one(5) one(6) one(7) one(8) one(9) one(10) one(11) one(12) \
        one(13) one(14) one(15)
#define LOAD(n) "movapd 32*" #n "(%0), %%xmm" #n "\n"
#define ADD(n) "addpd 32*" #n "(%0), %%xmm" #n "\n"
#define STORE(n) "movapd %%xmm" #n ", 32*" #n "(%0)\n"
#define WIDE_LOAD(n) "vmovapd 32*" #n "(%0), %%ymm" #n "\n"
#define WIDE_ADD(n) "vaddpd 32*" #n "(%0), %%ymm" #n ", %%ymm" #n "\n"
#define WIDE_STORE(n) "vmovapd %%ymm" #n ", 32*" #n "(%0)\n"
#define RUN(text, memory) __asm__ volatile(text : : "r"(memory) : "memory")

/* Switches on the wide registers, if there are any. */
static int widen(void)
{
    uint32_t a = 1, b, c = 0, d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    if ((~c >> 26 | ~c >> 28) & 1) /* XSAVE and AVX */
        return 0;
    uint64_t cr4;
    __asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
    __asm__ volatile("mov %0, %%cr4" : : "r"(cr4 | 1 << 18));
    __asm__ volatile("xsetbv" : : "a"(7), "d"(0), "c"(0));
    return 1;
}

/* `to[n]` is `number`, without a vector register in the compiler's own code. */
static void set(double *to, int64_t number)
{
    __asm__ volatile("fildq %1\nfstpl %0" : "=m"(*to) : "m"(number));
}

static int64_t whole(const double *from)
{
    int64_t number;
    __asm__ volatile("fldl %1\nfistpll %0" : "=m"(number) : "m"(*from));
    return number;
}

static int64_t step(int n, int lane)
{
    return n * LANES + lane + 1;
}

static void check(int64_t rounds, int lanes)
{
    uint32_t mxcsr;
    uint16_t control;
    int64_t on_stack;
    __asm__ volatile("stmxcsr %0\nfnstcw %1\nfld %%st(0)\nfistpll %2" : "=m"(mxcsr), "=m"(control), "=m"(on_stack));
    if (lanes == LANES)
        RUN(EACH(WIDE_STORE), values);
    else
        RUN(EACH(STORE), values);
    int wrong = 0;
    for (int n = 0; n < REGISTERS; n++)
        for (int lane = 0; lane < lanes; lane++)
            wrong += whole(&values[n][lane]) != rounds * step(n, lane);
    wrong += (mxcsr & 0xffc0) != TOWARD_ZERO;
    wrong += control != X87_TOWARD_ZERO;
    wrong += on_stack != rounds;
    serial_print_decimal(COM1, REGISTERS * lanes * 8);
    serial_print(COM1, " bytes, wrong: ");
    serial_print_decimal(COM1, wrong);
    serial_print(COM1, ", rounds: ");
    serial_print_decimal(COM1, rounds);
    serial_put(COM1, '\n');
}

uint64_t guest_main(const struct start_info *info)
{
    const char *command_line = (const char *)info->command_line;
    int wide = !(command_line && *command_line == 'n') && widen();
    uint32_t mxcsr = TOWARD_ZERO;
    uint16_t control = X87_TOWARD_ZERO;
    for (int n = 0; n < REGISTERS; n++)
        for (int lane = 0; lane < LANES; lane++)
            set(&steps[n][lane], step(n, lane));
    __asm__ volatile("fninit\nfldcw %0\nldmxcsr %1\nfldz" : : "m"(control), "m"(mxcsr));
    if (wide)
        RUN(EACH(WIDE_LOAD), values);
    else
        RUN(EACH(LOAD), values);
    serial_print(COM1, "computing\n");
    for (int64_t rounds = 0;; rounds++) {
        if (read_port(COM1 + SERIAL_LINE_STATUS) & SERIAL_RECEIVED) {
            if (read_port(COM1 + SERIAL_DATA) == CTRL_D)
                return 0;
            check(rounds, wide ? LANES : 2);
        }
        if (wide)
            RUN(EACH(WIDE_ADD), steps);
        else
            RUN(EACH(ADD), steps);
        __asm__ volatile("fld1\nfaddp");
    }
}
