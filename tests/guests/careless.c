/* careless: sets up what `lint` finds wrong, and then waits for keys that it ignores. */
#include "interrupts.h"

/* A stack right above other data. */
char kernel_stack[8192] __attribute__((aligned(4096), used));

/* A handler that changes a vector register, and a function that uses the red zone. */
void on_tick(struct frame *frame);
uint64_t leaf(uint64_t value);
__asm__(".text\n"
        ".type on_tick, @function\n"
        "on_tick: pxor %xmm1, %xmm1\n"
        "  iretq\n"
        ".size on_tick, . - on_tick\n"
        ".type leaf, @function\n"
        "leaf: mov %rdi, -8(%rsp)\n"
        "  mov -8(%rsp), %rax\n"
        "  ret\n"
        ".size leaf, . - leaf\n");

uint64_t guest_main(void)
{
    kernel_stack[0] = (char)leaf(1);
    interrupts_setup();
    set_handler(FIRST_VECTOR + TIMER_LINE, on_tick);
    /* General protection leads to a page that is not mapped. */
    set_handler(13, (handler_function *)0x123);
    unmask_line(KEYBOARD_LINE);
    for (;;)
        sleep_until_interrupt();
}
