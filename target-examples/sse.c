/* sse: floating point, as plain gcc -O2 compiles it: doubles in SSE registers, four numbers squared
   at a time, structures that are copied 16 bytes at once. SSE is switched on when a guest starts;
   where the host's KVM refuses such instructions, kvm emulates them.

   Run:   kvm sse.elf
   See:   a swing's height over time, and two sums.
   Exit status 0. */
#include "serial.h"

enum { SECONDS = 8 };

struct swing {
    double angle, speed, time, friction;
    float heights[SECONDS];
};

static void print_number(double value)
{
    if (value < 0) {
        serial_put(COM1, '-');
        value = -value;
    }
    uint64_t millionths = value * 1e6 + 0.5;
    serial_print_decimal(COM1, millionths / 1000000);
    serial_put(COM1, '.');
    for (uint64_t digit = 100000; digit; digit /= 10)
        serial_put(COM1, '0' + millionths / digit % 10);
}

static void print_line(const char *name, double value)
{
    serial_print(COM1, name);
    print_number(value);
    serial_put(COM1, '\n');
}

/* The first terms of the cosine's series: good for small angles. */
static double cosine(double angle)
{
    double square = angle * angle;
    return 1 - square / 2 * (1 - square / 12 * (1 - square / 30));
}

static struct swing later(struct swing now, double step)
{
    now.speed -= step * (9.81 * now.angle + now.friction * now.speed);
    now.angle += step * now.speed;
    now.time += step;
    return now;
}

static float sum(const float *numbers)
{
    float total = 0;
    for (int n = 0; n < SECONDS; n++)
        total += numbers[n];
    return total;
}

/* Kept out of line, so that it is not computed by the compiler. */
__attribute__((noinline)) static void square(float *restrict to, const float *from)
{
    for (int n = 0; n < SECONDS; n++)
        to[n] = from[n] * from[n];
}

uint64_t guest_main(void)
{
    struct swing swing = {.angle = 0.5, .friction = 0.4};
    for (int second = 0; second < SECONDS; second++) {
        double height = 1 - cosine(swing.angle);
        swing.heights[second] = height;
        print_line("height ", height);
        for (int step = 0; step < 20; step++)
            swing = later(swing, 0.05);
    }
    float squares[SECONDS];
    square(squares, swing.heights);
    print_line("sum ", sum(swing.heights));
    print_line("of squares ", sum(squares));
    return 0;
}
