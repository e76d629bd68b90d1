/* system-instructions: checks of selectors by lar, lsl, verr and verw, and instructions that a processor
 * has only if CPUID reports them. Each line is the same on every host: results that depend on CPUID are
 * compared with it. */

#include "serial.h"

struct pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

struct gate {
    uint16_t low, selector, flags, middle;
    uint32_t high, zero;
};

/* Vector and error code of the last exception, and where the guest goes on after it. */
volatile uint64_t vector, error_code, resume;

__asm__(".text\n"
        "undefined: movq $6, vector(%rip)\n\t"
        "jmp leave\n"
        "no_unit: movq $7, vector(%rip)\n\t"
        "jmp leave\n"
        "protection: movq $13, vector(%rip)\n\t"
        "popq error_code(%rip)\n\t"
        "jmp leave\n"
        "page_fault: movq $14, vector(%rip)\n\t"
        "popq error_code(%rip)\n"
        "leave: pushq %rax\n\t"
        "movq resume(%rip), %rax\n\t"
        "movq %rax, 8(%rsp)\n\t"
        "popq %rax\n\t"
        "iretq\n");

void undefined(void), no_unit(void), protection(void), page_fault(void);

static struct gate idt[32];

static void catch(int number, void (*handler)(void))
{
    uint64_t address = (uint64_t)handler;
    idt[number] = (struct gate){address, 0x08, 0x8E00, address >> 16, address >> 32, 0};
}

/* Carries out instructions; the vector of the exception they raise, 0 if there is none. */
#define ATTEMPT(instructions, ...)                                                                   \
    ({                                                                                               \
        vector = error_code = 0;                                                                     \
        __asm__ volatile("leaq 1f(%%rip), %%r11\n\tmovq %%r11, resume(%%rip)\n\t" instructions       \
                         "\n1:" __VA_ARGS__);                                                        \
        vector;                                                                                      \
    })

static uint32_t cpuid(uint32_t leaf, uint32_t subleaf, int result)
{
    uint32_t r[4];
    __asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(subleaf));
    return r[result];
}

static int has(uint32_t leaf, uint32_t subleaf, int result, int bit)
{
    uint32_t last = cpuid(leaf & 0x80000000, 0, 0);
    return leaf <= last && cpuid(leaf, subleaf, result) >> bit & 1;
}

/* What segments, gates and other things look like; the index times 8 is the selector. */
static uint64_t gdt[] = {
    0,
    0x00209b0000000000, /* 08: 64-bit code */
    0x00cf93000000ffff, /* 10: data */
    0x00cffb000000ffff, /* 18: 32-bit code of ring 3 */
    0x00cf98000000ffff, /* 20: code that cannot be read */
    0x00cf9f000000ffff, /* 28: conforming code */
    0x0040910000001234, /* 30: data that cannot be written */
    0x00c097000000000f, /* 38: data that grows downwards */
    0x0000820000000027, /* 40: local descriptor table */
    0,
    0x0000890000000067, /* 50: task state segment */
    0,
    0x00008c0000080000, /* 60: call gate */
    0,
    0x00008e0000080000, /* 70: interrupt gate */
    0x00cf13000000ffff, /* 78: data that is not present */
};

static void print_hex(const char *name, uint64_t value, int digits)
{
    serial_print(COM1, name);
    serial_print_hex(COM1, value, digits);
}

static void look_at(uint64_t selector)
{
    uint64_t rights = 0x1111222233334444, limit = rights;
    uint8_t has_rights, has_limit, readable, writable;
    __asm__ volatile("lar %2, %k0; setz %1" : "+r"(rights), "=r"(has_rights) : "r"((uint32_t)selector) : "cc");
    __asm__ volatile("lsl %2, %k0; setz %1" : "+r"(limit), "=r"(has_limit) : "r"((uint32_t)selector) : "cc");
    __asm__ volatile("verr %w1; setz %0" : "=r"(readable) : "r"(selector) : "cc");
    __asm__ volatile("verw %w1; setz %0" : "=r"(writable) : "r"(selector) : "cc");
    /* Processors differ in four of the bits that lar gives. */
    if (has_rights)
        rights &= 0xfffffffffff0ffff;
    print_hex("selector ", selector, 4);
    print_hex(": rights ", rights, 16);
    print_hex(", limit ", limit, 16);
    serial_print(COM1, readable ? ", readable" : "");
    serial_print(COM1, writable ? ", writable" : "");
    serial_print(COM1, has_rights ? ", has rights" : "");
    serial_print(COM1, has_limit ? ", has a limit\n" : "\n");
}

static void print_result(const char *name, uint64_t raised)
{
    serial_print(COM1, name);
    serial_print(COM1, ": exception ");
    serial_print_decimal(COM1, raised);
    print_hex(", error code ", error_code, 4);
    serial_print(COM1, "\n");
}

/* An instruction that is to work if the processor has it, and to raise #UD if not. */
static void optional(const char *name, int present, uint64_t raised)
{
    serial_print(COM1, name);
    serial_print(COM1, raised == (present ? 0 : 6) ? ": as CPUID says\n" : ": other than CPUID says\n");
}

static void check(const char *name, int right)
{
    serial_print(COM1, name);
    serial_print(COM1, right ? ": right\n" : ": wrong\n");
}

static void clock(void)
{
    int present = has(0x80000001, 0, 3, 27);
    uint32_t before_low, before_high, low = -1, high = -1, number = 0;
    __asm__ volatile("rdtsc" : "=a"(before_low), "=d"(before_high));
    uint64_t raised = ATTEMPT("rdtscp", : "+a"(low), "+d"(high), "+c"(number) : : "r11", "memory");
    optional("rdtscp", present, raised);
    uint64_t before = (uint64_t)before_high << 32 | before_low, after = (uint64_t)high << 32 | low;
    check("the time goes on", after > before);
}

static void access_flag(void)
{
    int present = has(7, 0, 1, 20);
    uint64_t flags = 0;
    uint64_t raised = ATTEMPT("stac\n\tpushfq\n\tpopq %0\n\tclac", : "+r"(flags) : : "r11", "memory", "cc");
    optional("stac and clac", present, raised);
    check("the flag", flags == 0 ? !present : flags >> 18 & 1);
}

static uint8_t area[4096] __attribute__((aligned(64)));

static void extended_state(void)
{
    uint32_t low = 0, high = 0;
    uint64_t cr4;
    int present = has(1, 0, 2, 26);
    print_result("xgetbv without CR4.OSXSAVE", ATTEMPT("xgetbv", : "+a"(low), "+d"(high) : "c"(0) : "r11", "memory"));
    print_result("xsave without CR4.OSXSAVE",
         ATTEMPT("xsave64 (%0)", : : "r"(area), "a"(3), "d"(0) : "r11", "memory"));
    if (!present) {
        check("XSAVE is used if it is there", 1);
        return;
    }
    __asm__ volatile("movq %%cr4, %0; orq $0x40000, %0; movq %0, %%cr4" : "=r"(cr4));
    int right = ATTEMPT("xsetbv", : : "a"(3), "d"(0), "c"(0) : "r11", "memory") == 0;
    right &= ATTEMPT("xgetbv", : "+a"(low), "+d"(high) : "c"(0) : "r11", "memory") == 0 && low == 3;
    right &= ATTEMPT("xsetbv", : : "a"(2), "d"(0), "c"(0) : "r11", "memory") == 13;
    right &= ATTEMPT("xsave64 (%0)", : : "r"(area), "a"(3), "d"(0) : "r11", "memory") == 0;
    right &= area[0] == 0x7f && area[1] == 3 && area[24] == 0x80 && area[25] == 0x1f;
    right &= ATTEMPT("xrstor64 (%0)", : : "r"(area), "a"(3), "d"(0) : "r11", "memory") == 0;
    right &= ATTEMPT("xsave64 (%0)", : : "r"(area + 32), "a"(3), "d"(0) : "r11", "memory") == 13;
    area[512] = 0x80;
    right &= ATTEMPT("xrstor64 (%0)", : : "r"(area), "a"(3), "d"(0) : "r11", "memory") == 13;
    check("XSAVE is used if it is there", right);
}

uint64_t guest_main(void)
{
    catch(6, undefined);
    catch(7, no_unit);
    catch(13, protection);
    catch(14, page_fault);
    struct pointer table = {sizeof idt - 1, (uint64_t)idt};
    __asm__ volatile("lidt %0" : : "m"(table));
    table = (struct pointer){sizeof gdt - 1, (uint64_t)gdt};
    __asm__ volatile("lgdt %0" : : "m"(table));

    for (uint64_t selector = 0; selector <= sizeof gdt; selector += 8)
        look_at(selector);
    look_at(0x13);
    look_at(0x1b);
    look_at(0x2b);
    look_at(0x14);
    uint32_t narrow = 0x11112222;
    __asm__ volatile("lar %w1, %w0" : "+r"(narrow) : "r"(0x10) : "cc");
    print_hex("16 bits of rights: ", narrow, 8);
    narrow = 0x11112222;
    __asm__ volatile("lsl %w1, %w0" : "+r"(narrow) : "r"(0x10) : "cc");
    print_hex("\n16 bits of a limit: ", narrow, 8);
    serial_print(COM1, "\n");

    uint16_t *nowhere = (uint16_t *)0x700000000000, *wild = (uint16_t *)0x8000000000000000;
    print_result("verr of a selector in no memory", ATTEMPT("verr (%0)", : : "r"(nowhere) : "r11", "memory", "cc"));
    uint64_t cr2;
    __asm__ volatile("movq %%cr2, %0" : "=r"(cr2));
    print_hex("CR2 ", cr2, 16);
    serial_print(COM1, "\n");
    print_result("lar at no address", ATTEMPT("lar (%0), %%eax", : : "r"(wild) : "r11", "rax", "memory", "cc"));

    clock();
    access_flag();
    extended_state();
    print_result("ud0", ATTEMPT(".byte 0x0f, 0xff, 0xc0", : : : "r11", "memory"));
    print_result("ud1", ATTEMPT(".byte 0x0f, 0xb9, 0xc0", : : : "r11", "memory"));
    print_result("getsec", ATTEMPT(".byte 0x0f, 0x37", : : "a"(0) : "r11", "memory"));
    print_result("vmlaunch", ATTEMPT(".byte 0x0f, 0x01, 0xc2", : : : "r11", "memory", "cc"));
    uint64_t descriptor[2] = {0, 0};
    optional("invpcid", has(7, 0, 1, 10),
             ATTEMPT("invpcid (%0), %1", : : "r"(descriptor), "r"(2UL) : "r11", "memory", "cc"));
    optional("clwb", has(7, 0, 1, 24), ATTEMPT(".byte 0x66, 0x0f, 0xae, 0x30", : : "a"(area) : "r11", "memory"));
    optional("rdpid", has(7, 0, 2, 22), ATTEMPT(".byte 0xf3, 0x0f, 0xc7, 0xf8", : : : "r11", "rax", "memory"));
    uint64_t pointer = 5;
    print_result("rdsspq", ATTEMPT(".byte 0xf3, 0x48, 0x0f, 0x1e, 0xc8", : "+a"(pointer) : : "r11", "memory"));
    print_result("cldemote", ATTEMPT(".byte 0x0f, 0x1c, 0x00", : : "a"(area) : "r11", "memory"));
    uint32_t enti = 0x69746e65;
    uint64_t raised = ATTEMPT("sysenter", : : : "r11", "memory");
    check("sysenter", raised == (cpuid(0, 0, 3) == enti ? 6 : 13));
    return pointer;
}
