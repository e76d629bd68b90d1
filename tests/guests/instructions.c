/* instructions: the results of instructions beyond the basic ones. Every line is one instruction and all
 * that it has changed, from registers and memory that are the same each time. The command line selects
 * the groups that are run, each named after the processor feature it needs; without one, those that every
 * processor of 64 bits has.
 *
 * The same source is also built as a program for Linux, with -DON_LINUX: there the instructions run
 * on the host's own processor. Both have to print the same. Left out are instructions whose results the
 * manuals leave open: approximations, and transcendental functions of x87. */

#include <stddef.h>
#include <stdint.h>

#ifdef ON_LINUX
#include <stdio.h>
static void put(char character) { putchar(character); }
#else
#include "serial.h"
#include "start_info.h"
static void put(char character) { write_port(COM1, character); }
#endif

/* Status flags, and those of them that an instruction leaves defined. */
enum { CF = 1, PF = 4, AF = 0x10, ZF = 0x40, SF = 0x80, OF = 0x800, ALL = 0x8d5 };

struct form {
    void (*code)(void);
    const char *name;
    uint64_t flags;
};

/* Registers, in the order `run` expects, and the image fxsave stores. */
struct state {
    uint64_t rax, rcx, rdx, rbx, rsi, r8, r9;
    uint64_t rflags;
    uint64_t *memory;
    uint64_t unused[7];
    union {
        uint8_t bytes[512];
        uint16_t words[256];
        uint32_t doubles[128];
        uint64_t quads[64];
    } vectors;
} __attribute__((aligned(64)));

/* Adds an instruction to the list of its group: `defined` are the flags it leaves defined. */
#define FORM(group, defined, text)                                                                 \
    __asm__(".intel_syntax noprefix\n"                                                             \
            ".pushsection .text\n771: " text "\nret\n.popsection\n"                                \
            ".pushsection .rodata\n772: .asciz \"" text "\"\n.popsection\n"                        \
            ".pushsection form_" #group ", \"aw\", @progbits\n"                                    \
            ".quad 771b, 772b, " #defined "\n.popsection\n"                                        \
            ".att_syntax prefix\n");

/* Two operands: registers, then memory. */
#define XMM(group, name) FORM(group, 0x8d5, name " xmm1, xmm2") FORM(group, 0x8d5, name " xmm3, [rdi + 16]")
#define XMM_I(group, name, number)                                                                 \
    FORM(group, 0x8d5, name " xmm1, xmm2, " number) FORM(group, 0x8d5, name " xmm3, [rdi + 16], " number)
#define SCALAR(group, name, size)                                                                  \
    FORM(group, 0x8d5, name " xmm1, xmm2") FORM(group, 0x8d5, name " xmm3, " size " ptr [rdi + 5]")
#define MM(name) FORM(mmx, 0x8d5, name " mm1, mm2") FORM(mmx, 0x8d5, name " mm3, [rdi + 5]")

XMM(sse2, "addps") XMM(sse2, "subps") XMM(sse2, "mulps") XMM(sse2, "divps") XMM(sse2, "minps")
XMM(sse2, "maxps") XMM(sse2, "andps") XMM(sse2, "andnps") XMM(sse2, "orps") XMM(sse2, "xorps")
XMM(sse2, "sqrtps") XMM(sse2, "unpcklps") XMM(sse2, "unpckhps") XMM(sse2, "addpd") XMM(sse2, "subpd")
XMM(sse2, "mulpd") XMM(sse2, "divpd") XMM(sse2, "minpd") XMM(sse2, "maxpd") XMM(sse2, "sqrtpd")
XMM(sse2, "unpcklpd") XMM(sse2, "cvtdq2ps") XMM(sse2, "cvtps2dq") XMM(sse2, "cvttps2dq")
XMM(sse2, "cvtpd2dq") XMM(sse2, "cvttpd2dq") XMM(sse2, "cvtpd2ps") XMM(sse2, "movaps") XMM(sse2, "movdqu")
XMM(sse2, "punpcklbw") XMM(sse2, "punpckhwd") XMM(sse2, "punpckldq") XMM(sse2, "punpckhqdq")
XMM(sse2, "packsswb") XMM(sse2, "packssdw") XMM(sse2, "packuswb") XMM(sse2, "paddb") XMM(sse2, "paddw")
XMM(sse2, "paddd") XMM(sse2, "paddq") XMM(sse2, "paddsb") XMM(sse2, "paddusw") XMM(sse2, "psubb")
XMM(sse2, "psubq") XMM(sse2, "psubsw") XMM(sse2, "psubusb") XMM(sse2, "pmullw") XMM(sse2, "pmulhw")
XMM(sse2, "pmulhuw") XMM(sse2, "pmuludq") XMM(sse2, "pmaddwd") XMM(sse2, "psadbw") XMM(sse2, "pavgb")
XMM(sse2, "pavgw") XMM(sse2, "pminub") XMM(sse2, "pmaxsw") XMM(sse2, "pcmpeqb") XMM(sse2, "pcmpeqd")
XMM(sse2, "pcmpgtb") XMM(sse2, "pcmpgtd") XMM(sse2, "pand") XMM(sse2, "pandn") XMM(sse2, "por")
XMM(sse2, "pxor") XMM(sse2, "psllw") XMM(sse2, "pslld") XMM(sse2, "psrlq") XMM(sse2, "psraw")
XMM_I(sse2, "shufps", "0x1b") XMM_I(sse2, "shufpd", "1") XMM_I(sse2, "pshufd", "0x1b")
XMM_I(sse2, "pshufhw", "0x1b") XMM_I(sse2, "pshuflw", "0x1b") XMM_I(sse2, "cmpps", "5") XMM_I(sse2, "cmppd", "1")
SCALAR(sse2, "addss", "dword") SCALAR(sse2, "subss", "dword") SCALAR(sse2, "mulss", "dword")
SCALAR(sse2, "divss", "dword") SCALAR(sse2, "sqrtss", "dword") SCALAR(sse2, "ucomiss", "dword")
SCALAR(sse2, "comiss", "dword") SCALAR(sse2, "cvtss2sd", "dword") SCALAR(sse2, "movss", "dword")
SCALAR(sse2, "addsd", "qword") SCALAR(sse2, "subsd", "qword") SCALAR(sse2, "mulsd", "qword")
SCALAR(sse2, "divsd", "qword") SCALAR(sse2, "sqrtsd", "qword") SCALAR(sse2, "ucomisd", "qword")
SCALAR(sse2, "comisd", "qword") SCALAR(sse2, "cvtsd2ss", "qword") SCALAR(sse2, "cvtdq2pd", "qword")
SCALAR(sse2, "cvtps2pd", "qword") SCALAR(sse2, "movsd", "qword") SCALAR(sse2, "movq", "qword")
FORM(sse2, 0x8d5, "cvtss2si eax, xmm1") FORM(sse2, 0x8d5, "cvttss2si eax, dword ptr [rdi + 5]")
FORM(sse2, 0x8d5, "cvtsd2si r9, xmm1") FORM(sse2, 0x8d5, "cvttsd2si r9, qword ptr [rdi + 8]")
FORM(sse2, 0x8d5, "cvtsi2ss xmm1, eax") FORM(sse2, 0x8d5, "cvtsi2sd xmm1, qword ptr [rdi + 5]")
FORM(sse2, 0x8d5, "movd xmm1, eax") FORM(sse2, 0x8d5, "movq xmm1, r9") FORM(sse2, 0x8d5, "movd ecx, xmm1")
FORM(sse2, 0x8d5, "movq r9, xmm1") FORM(sse2, 0x8d5, "movups [rdi + 3], xmm1")
FORM(sse2, 0x8d5, "movntdq [rdi + 16], xmm1") FORM(sse2, 0x8d5, "movnti [rdi + 3], r9")
FORM(sse2, 0x8d5, "movss [rdi + 1], xmm1") FORM(sse2, 0x8d5, "movsd [rdi + 1], xmm1")
FORM(sse2, 0x8d5, "movq [rdi + 1], xmm1") FORM(sse2, 0x8d5, "movlps xmm1, [rdi + 3]")
FORM(sse2, 0x8d5, "movhpd [rdi + 3], xmm1") FORM(sse2, 0x8d5, "movhlps xmm1, xmm2")
FORM(sse2, 0x8d5, "movmskps eax, xmm1") FORM(sse2, 0x8d5, "pmovmskb eax, xmm1")
FORM(sse2, 0x8d5, "pslldq xmm1, 3") FORM(sse2, 0x8d5, "psrldq xmm1, 5") FORM(sse2, 0x8d5, "psraw xmm1, 3")
FORM(sse2, 0x8d5, "pinsrw xmm1, eax, 3") FORM(sse2, 0x8d5, "pextrw eax, xmm1, 3")
FORM(sse2, 0x8d5, "maskmovdqu xmm1, xmm2") FORM(sse2, 0x8d5, "stmxcsr [rdi + 3]")
FORM(sse2, 0x8d5, "ldmxcsr [rdi + 64]")

MM("paddb") MM("paddw") MM("paddd") MM("paddq") MM("paddsw") MM("paddusb") MM("psubd") MM("pmullw")
MM("pmulhw") MM("pmulhuw") MM("pmaddwd") MM("psadbw") MM("pavgb") MM("pminub") MM("pmaxsw") MM("pcmpeqb")
MM("pcmpgtd") MM("pand") MM("pandn") MM("por") MM("pxor") MM("psllw") MM("psrlq") MM("packsswb")
MM("packuswb") MM("punpckhbw") MM("movq")
FORM(mmx, 0x8d5, "movd mm1, eax") FORM(mmx, 0x8d5, "movd [rdi + 3], mm1") FORM(mmx, 0x8d5, "movq r9, mm1")
FORM(mmx, 0x8d5, "pshufw mm1, mm2, 0x1b") FORM(mmx, 0x8d5, "pmovmskb eax, mm1")
FORM(mmx, 0x8d5, "maskmovq mm1, mm2") FORM(mmx, 0x8d5, "movq2dq xmm1, mm1") FORM(mmx, 0x8d5, "emms")

#define ST(text) FORM(x87, 0x8d5, text)
ST("fld1") ST("fldz") ST("fld st(2)") ST("fld dword ptr [rdi + 24]") ST("fld qword ptr [rdi + 16]")
ST("fld tbyte ptr [rdi + 68]") ST("fild word ptr [rdi + 5]") ST("fild dword ptr [rdi + 5]")
ST("fild qword ptr [rdi + 5]") ST("fst dword ptr [rdi + 5]") ST("fstp qword ptr [rdi + 5]")
ST("fstp tbyte ptr [rdi + 5]") ST("fist word ptr [rdi + 5]") ST("fistp dword ptr [rdi + 5]")
ST("fistp qword ptr [rdi + 5]") ST("fbstp [rdi + 5]") ST("fadd st, st(2)") ST("faddp st(2), st")
ST("fadd dword ptr [rdi + 24]") ST("fadd qword ptr [rdi + 16]") ST("fiadd word ptr [rdi + 5]")
ST("fsub st, st(2)") ST("fsubp st(2), st") ST("fsubr st, st(2)") ST("fmul st, st(2)") ST("fmulp st(2), st")
ST("fmul qword ptr [rdi + 16]") ST("fdiv st, st(2)") ST("fdivp st(2), st") ST("fdivr qword ptr [rdi + 16]")
ST("fcom st(2)") ST("fcompp") ST("fucomp st(2)") ST("fcomi st, st(2)") ST("fucomip st, st(2)")
ST("fcmovb st, st(2)") ST("fcmovnb st, st(2)") ST("fchs") ST("fabs") ST("ftst") ST("fxam") ST("fsqrt")
ST("frndint") ST("fscale") ST("fxtract") ST("fprem") ST("fxch st(2)") ST("fdecstp") ST("fincstp")
ST("ffree st(2)") ST("fnop") ST("fwait") ST("fninit") ST("fnclex") ST("fldcw [rdi + 78]")
ST("fnstcw [rdi + 3]") ST("fnstsw ax")

XMM(pni, "addsubps") XMM(pni, "addsubpd") XMM(pni, "haddps") XMM(pni, "hsubpd") XMM(pni, "movsldup")
XMM(pni, "movshdup") SCALAR(pni, "movddup", "qword") FORM(pni, 0x8d5, "lddqu xmm1, [rdi + 3]")
FORM(pni, 0x8d5, "fisttp dword ptr [rdi + 5]")
XMM(ssse3, "pshufb") XMM(ssse3, "phaddw") XMM(ssse3, "phaddsw") XMM(ssse3, "phsubd") XMM(ssse3, "pmaddubsw")
XMM(ssse3, "pmulhrsw") XMM(ssse3, "psignb") XMM(ssse3, "pabsd") XMM_I(ssse3, "palignr", "5")
XMM(sse4_1, "pblendvb") XMM(sse4_1, "blendvps") XMM(sse4_1, "ptest") XMM(sse4_1, "pmuldq")
XMM(sse4_1, "pmulld") XMM(sse4_1, "pcmpeqq") XMM(sse4_1, "packusdw") XMM(sse4_1, "pminsb")
XMM(sse4_1, "pmaxud") XMM(sse4_1, "phminposuw") XMM_I(sse4_1, "roundps", "1") XMM_I(sse4_1, "roundpd", "2")
XMM_I(sse4_1, "blendps", "5") XMM_I(sse4_1, "pblendw", "0x65") XMM_I(sse4_1, "dpps", "0x71")
XMM_I(sse4_1, "mpsadbw", "5") SCALAR(sse4_1, "pmovsxbw", "qword") SCALAR(sse4_1, "pmovzxwd", "qword")
FORM(sse4_1, 0x8d5, "pinsrd xmm1, eax, 3") FORM(sse4_1, 0x8d5, "pinsrq xmm1, [rdi + 3], 1")
FORM(sse4_1, 0x8d5, "pextrb eax, xmm1, 3") FORM(sse4_1, 0x8d5, "pextrq [rdi + 3], xmm1, 1")
FORM(sse4_1, 0x8d5, "extractps eax, xmm1, 1") FORM(sse4_1, 0x8d5, "insertps xmm1, xmm2, 0x4a")
FORM(sse4_1, 0x8d5, "movntdqa xmm1, [rdi + 16]")
XMM(sse4_2, "pcmpgtq") FORM(sse4_2, 0x8d5, "pcmpestri xmm1, xmm2, 0x4d") FORM(sse4_2, 0x8d5, "pcmpistrm xmm1, [rdi + 3], 0x4d")
FORM(sse4_2, 0x8d5, "crc32 eax, cl") FORM(sse4_2, 0x8d5, "crc32 eax, word ptr [rdi + 3]")
FORM(sse4_2, 0x8d5, "crc32 rax, qword ptr [rdi + 3]")
XMM(aes, "aesenc") XMM(aes, "aesenclast") XMM(aes, "aesdec") XMM(aes, "aesdeclast") XMM(aes, "aesimc")
XMM_I(aes, "aeskeygenassist", "0x11")
XMM_I(pclmulqdq, "pclmulqdq", "0x11")
XMM(sha_ni, "sha1nexte") XMM(sha_ni, "sha1msg1") XMM(sha_ni, "sha256rnds2") XMM(sha_ni, "sha256msg2")
FORM(cx16, 0x40, "cmpxchg16b [rdi + 16]") FORM(cx16, 0x40, "lock cmpxchg16b [rdi + 32]")
FORM(popcnt, 0x8d5, "popcnt eax, ecx") FORM(popcnt, 0x8d5, "popcnt cx, word ptr [rdi + 3]")
FORM(popcnt, 0x8d5, "popcnt rax, [rdi + 3]")
FORM(adx, 0x8d5, "adcx eax, ecx") FORM(adx, 0x8d5, "adox rax, [rdi + 3]")
FORM(bmi1, 0x8c1, "andn eax, ecx, edx") FORM(bmi1, 0x8c1, "blsr rax, rcx") FORM(bmi1, 0x8c1, "blsi eax, [rdi + 3]")
FORM(bmi1, 0x8c1, "blsmsk rax, rcx") FORM(bmi1, 0x841, "bextr eax, ecx, edx")
FORM(bmi2, 0x8c1, "bzhi eax, ecx, edx") FORM(bmi2, 0x8d5, "pext rax, rcx, [rdi + 3]") FORM(bmi2, 0x8d5, "pdep eax, ecx, edx")
FORM(bmi2, 0x8d5, "mulx rax, r9, [rdi + 3]") FORM(bmi2, 0x8d5, "shlx eax, ecx, edx")
FORM(bmi2, 0x8d5, "sarx rax, [rdi + 3], rcx") FORM(bmi2, 0x8d5, "rorx eax, ecx, 7")

/* A group: its list, and the name that /proc/cpuinfo has for what it needs: pni is SSE3. */
struct group {
    const char *name;
    const struct form *first, *last;
};
#define GROUP(name) extern const struct form __start_form_##name[], __stop_form_##name[];
#define EVERY_GROUP(DO)                                                                            \
    DO(sse2) DO(mmx) DO(x87) DO(pni) DO(ssse3) DO(sse4_1) DO(sse4_2) DO(aes) DO(pclmulqdq) DO(sha_ni) \
    DO(cx16) DO(popcnt) DO(adx) DO(bmi1) DO(bmi2)
EVERY_GROUP(GROUP)
#define ENTRY(name) {#name, __start_form_##name, __stop_form_##name},
static const struct group groups[] = {EVERY_GROUP(ENTRY)};
enum { ALWAYS = 3 };

/* run(code, state): loads all registers from the state, calls the code, stores them. */
void run(void (*code)(void), struct state *state);
__asm__(".intel_syntax noprefix\n"
        "run: push rbx\n push rsi\n push rdi\n"
        "fxrstor [rsi + 128]\n"
        "push [rsi + 56]\n popfq\n"
        "mov rax, [rsi]\n mov rcx, [rsi + 8]\n mov rdx, [rsi + 16]\n mov rbx, [rsi + 24]\n"
        "mov r8, [rsi + 40]\n mov r9, [rsi + 48]\n mov rdi, [rsi + 64]\n mov rsi, [rsi + 32]\n"
        "call [rsp]\n"
        "push rsi\n mov rsi, [rsp + 16]\n pop [rsi + 32]\n"
        "mov [rsi], rax\n mov [rsi + 8], rcx\n mov [rsi + 16], rdx\n mov [rsi + 24], rbx\n"
        "mov [rsi + 40], r8\n mov [rsi + 48], r9\n"
        "pushfq\n pop [rsi + 56]\n"
        "fxsave [rsi + 128]\n"
        "pop rdi\n pop rsi\n pop rbx\n ret\n"
        ".att_syntax prefix\n");

static void print(const char *text)
{
    while (*text)
        put(*text++);
}

static void print_hex(uint64_t value, int digits)
{
    while (digits--)
        put("0123456789abcdef"[value >> (4 * digits) & 15]);
}

/* Prints what is different, under its name. */
static void compare(const char *name, int number, uint64_t before, uint64_t after, int digits)
{
    if (before == after)
        return;
    put(' ');
    print(name);
    if (number >= 0)
        print_hex(number, 1);
    put('=');
    print_hex(after, digits);
}

/* Offsets in the image that fxsave stores. */
enum { FCW = 0, FSW = 1, FTW = 2, MXCSR = 6, STACK = 4, VECTORS = 20 };
/* FSW without C1, which reports roundings that some processors do not report. */
enum { COMPARED_FSW = 0xfdff };

enum { WORDS = 16 };
static uint64_t memory[WORDS] __attribute__((aligned(64)));
static struct state before, after;

static const uint32_t numbers[] = {
    0x3fc00000, 0xc0490fdb, 0x41200000, 0x00000000, 0x40b80000, 0x3f000001, 0x7f7fffff, 0x80000000,
    0x54442d18, 0x400921fb, 0x00000000, 0xc0240000, 0x9abcdef0, 0x12345678, 0x80ff7f01, 0x7ffffffe,
    0x00001fa0, 0x00000000, 0xa0000000, 0x4002c90f, 0x03ff4003, 0xcafef00d, 0x00000007, 0xffffffff,
};

static void fill(uint64_t *words)
{
    enum { COUNT = sizeof(numbers) / 8 };
    for (size_t n = 0; n < WORDS; n++)
        words[n] = numbers[2 * (n % COUNT)] | (uint64_t)numbers[2 * (n % COUNT) + 1] << 32;
}

static void prepare(void)
{
    before.rax = 0x1122334455667788;
    before.rcx = 0x0000000c00000a0b;
    before.rdx = 0xfedcba9800000d04;
    before.rbx = 0x0123456789abcdef;
    before.rsi = 5;
    before.r8 = 0x8000000000000000;
    before.r9 = 0x0f0e0d0c0b0a0908;
    before.rflags = 2 | CF | AF;
    before.memory = memory;
    before.vectors.words[FCW] = 0x37f;
    before.vectors.doubles[MXCSR] = 0x1f80;
    /* ST0 to ST2: 5.75, -0.4375, 3; also MM0 to MM2. */
    before.vectors.words[FSW] = 5 << 11;
    before.vectors.words[FTW] = 0xe0;
    const uint16_t exponents[] = {0x4001, 0xbffd, 0x4000};
    const uint64_t mantissas[] = {0xb800000000000000, 0xe000000000000000, 0xc000000000000000};
    for (int n = 0; n < 3; n++) {
        before.vectors.quads[STACK + 2 * n] = mantissas[n];
        before.vectors.quads[STACK + 2 * n + 1] = exponents[n];
    }
    for (size_t n = 0; n < 16; n++)
        before.vectors.doubles[2 * VECTORS + n] = numbers[n];
}

static void show(const struct form *form)
{
    static uint64_t unchanged[WORDS];
    fill(memory);
    fill(unchanged);
    after = before;
    run(form->code, &after);
    print(form->name);
    put(':');
    compare("rax", -1, before.rax, after.rax, 16);
    compare("rcx", -1, before.rcx, after.rcx, 16);
    compare("rdx", -1, before.rdx, after.rdx, 16);
    compare("rbx", -1, before.rbx, after.rbx, 16);
    compare("rsi", -1, before.rsi, after.rsi, 16);
    compare("r8", -1, before.r8, after.r8, 16);
    compare("r9", -1, before.r9, after.r9, 16);
    compare("flags", -1, before.rflags & form->flags, after.rflags & form->flags, 3);
    compare("fcw", -1, before.vectors.words[FCW], after.vectors.words[FCW], 4);
    compare("fsw", -1, before.vectors.words[FSW] & COMPARED_FSW, after.vectors.words[FSW] & COMPARED_FSW, 4);
    compare("ftw", -1, before.vectors.words[FTW] & 0xff, after.vectors.words[FTW] & 0xff, 2);
    compare("mxcsr", -1, before.vectors.doubles[MXCSR], after.vectors.doubles[MXCSR], 4);
    for (int n = 0; n < 8; n++) {
        const uint64_t *from = &before.vectors.quads[STACK + 2 * n], *to = &after.vectors.quads[STACK + 2 * n];
        compare("st", n, from[0], to[0], 16);
        compare("e", n, from[1] & 0xffff, to[1] & 0xffff, 4);
    }
    for (int n = 0; n < 16; n++) {
        const uint64_t *from = &before.vectors.quads[VECTORS + 2 * n], *to = &after.vectors.quads[VECTORS + 2 * n];
        compare("xmm", n, from[0], to[0], 16);
        compare("xmmh", n, from[1], to[1], 16);
    }
    for (int n = 0; n < WORDS; n++)
        compare("m", n, unchanged[n], memory[n], 16);
    put('\n');
}

/* True if `word` is one of the words of `text`. */
static int names(const char *text, const char *word)
{
    for (const char *at = text; *at; at++) {
        const char *w = word;
        while (*w && at[w - word] == *w)
            w++;
        char end = at[w - word];
        if (!*w && (end == 0 || end == ' ') && (at == text || at[-1] == ' '))
            return 1;
    }
    return 0;
}

static uint64_t show_groups(const char *chosen)
{
    uint64_t shown = 0;
    prepare();
    for (size_t n = 0; n < sizeof(groups) / sizeof(groups[0]); n++) {
        if (n >= ALWAYS && !names(chosen, groups[n].name))
            continue;
        for (const struct form *form = groups[n].first; form < groups[n].last; form++, shown++)
            show(form);
    }
    return shown;
}

#ifdef ON_LINUX
int main(int count, char **arguments)
{
    show_groups(count > 1 ? arguments[1] : "");
    return 0;
}
#else
uint64_t guest_main(const struct start_info *info)
{
    return show_groups((const char *)info->command_line);
}
#endif
