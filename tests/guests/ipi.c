/* ipi: two processors interrupt each other. The result has one bit for each thing that worked:
   0 a sleeping processor is woken, a hundred times, 1 a computing one is interrupted, 2 an NMI wakes one that sleeps with
   interrupts off, 3 INIT stops one, 4 and it starts again, 5 the numbers of the local APICs, of CPUID leaf 1 and of
   leaf 0xB agree, 6 both have CPUID leaf 0xB with two processors. */
#include "cpus.h"
#include "interrupts.h"

enum { CALL = 0x41, REPLY = 0x42, ROUNDS = 100 };
/* What the second processor does. */
enum { SLEEP, COMPUTE, SLEEP_FOR_GOOD };

static volatile uint32_t calls, replies, nmis, computed, ready, task, numbers[2], counts[2];

static void end(void)
{
    *(volatile uint32_t *)(LOCAL_APIC + 0xB0ull) = 0;
}

__attribute__((interrupt)) static void on_call(struct frame *frame)
{
    (void)frame;
    calls++;
    end();
    send_ipi(0, 0x4000 | REPLY);
}

__attribute__((interrupt)) static void on_reply(struct frame *frame)
{
    (void)frame;
    replies++;
    end();
}

__attribute__((interrupt)) static void on_nmi(struct frame *frame)
{
    (void)frame;
    task = SLEEP;
    nmis++;
}

static void enable_local_apic(void)
{
    *(volatile uint32_t *)(LOCAL_APIC + 0xF0ull) = 0x1FF;
}

static void note_numbers(uint32_t number)
{
    uint32_t a = 1, b, c = 0, d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    uint32_t initial = b >> 24;
    a = 0xB, c = 1;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    uint32_t apic = *(volatile uint32_t *)(LOCAL_APIC + 0x20ull) >> 24;
    numbers[number] = apic == number && initial == number && d == number;
    counts[number] = b & 0xFFFF;
}

static void second(uint32_t number)
{
    note_numbers(number & 1);
    enable_local_apic();
    ready++;
    for (;;) {
        switch (task) {
        case SLEEP:
            sleep_until_interrupt();
            break;
        case COMPUTE:
            interrupts_on();
            computed++;
            break;
        default:
            __asm__ volatile("cli; hlt");
        }
    }
}

/* Waits until `value` is at least `least`. Interrupts are on. */
static int reaches(volatile uint32_t *value, uint32_t least)
{
    for (uint32_t i = 0; i < 20000000 && *value < least; i++)
        __asm__ volatile("pause");
    return *value >= least;
}

uint64_t guest_main(void)
{
    uint64_t result = 0;
    interrupts_setup();
    set_handler(CALL, on_call);
    set_handler(REPLY, on_reply);
    set_handler(2, on_nmi);
    enable_local_apic();
    note_numbers(0);
    start_cpus(2, second);
    interrupts_on();
    reaches(&ready, 1);

    for (uint32_t round = 1; round <= ROUNDS; round++) {
        send_ipi(1, 0x4000 | CALL);
        if (!reaches(&replies, round))
            return result;
    }
    result |= calls == ROUNDS;

    task = COMPUTE;
    send_ipi(1, 0x4000 | CALL);
    reaches(&computed, 1000);
    send_ipi(1, 0x4000 | CALL);
    result |= reaches(&replies, ROUNDS + 2) << 1;

    task = SLEEP_FOR_GOOD;
    for (int i = 0; i < 2000; i++) /* it goes to sleep, sooner or later */
        __asm__ volatile("pause");
    send_ipi(1, 0x4400);
    result |= reaches(&nmis, 1) << 2;

    task = COMPUTE;
    send_ipi(1, 0x4000 | CALL);
    reaches(&computed, computed + 10);
    /* INIT takes an interrupt back that has not been delivered, and no reply to it comes then. */
    reaches(&replies, ROUNDS + 3);
    send_ipi(1, 0x4500); /* INIT */
    for (int i = 0; i < 20000; i++) /* it arrives, sooner or later */
        __asm__ volatile("pause");
    uint32_t before = computed;
    for (int i = 0; i < 2000; i++)
        __asm__ volatile("pause");
    result |= (uint64_t)(computed == before) << 3;

    cpus_started = 1;
    task = SLEEP;
    start_cpus(2, second);
    reaches(&ready, 2);
    send_ipi(1, 0x4000 | CALL);
    result |= reaches(&replies, ROUNDS + 4) << 4;

    result |= (uint64_t)(numbers[0] && numbers[1]) << 5;
    result |= (uint64_t)(counts[0] == 2 && counts[1] == 2) << 6;
    interrupts_off();
    send_ipi(1, 0x4500);
    return result;
}
