/* apic-operands: instructions whose operand is a register of the local APIC, which is a device. No
 * KVM executes these there by itself. The result is the value written to the task priority register, 0x31,
 * and above it the number of bits set in it: 0x331. */

#include <stdint.h>

uint64_t guest_main(void)
{
    volatile uint32_t *priority = (volatile uint32_t *)0xfee00080;
    uint32_t written = 0x31, value, bits;
    __asm__ volatile("movss %3, %%xmm0\n"
                     "movss %%xmm0, (%2)\n"
                     "cvtsi2ss (%2), %%xmm1\n"
                     "cvttss2si %%xmm1, %0\n"
                     "popcnt (%2), %1\n"
                     : "=&r"(value), "=&r"(bits)
                     : "r"(priority), "m"(written)
                     : "memory", "xmm0", "xmm1");
    return bits << 8 | value;
}
