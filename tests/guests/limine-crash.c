/* limine-crash: a kernel for the Limine boot protocol that writes to a null pointer before it has an IDT of its own; with
 * `stack` as its command line it first loses its stack, and then pushes. */
#include "limine.h"

LIMINE_START;
LIMINE_BASE_REVISION(3);
LIMINE_REQUEST(command_line, struct limine_command_line, LIMINE_COMMAND_LINE);
LIMINE_END;

__attribute__((noinline)) static void write_to(volatile int *place)
{
    *place = 1;
}

void kernel_main(void)
{
    const char *text = command_line.response ? command_line.response->text : "";
    int *nowhere = 0;
    __asm__("" : "+r"(nowhere));
    if (*text == 's')
        __asm__ volatile("lost_stack: mov $0x1000, %esp; push %rax");
    write_to(nowhere);
    for (;;)
        __asm__ volatile("hlt");
}

__asm__(".pushsection .text.start, \"ax\"\n"
        ".globl _start\n"
        "_start: xor %ebp, %ebp\n"
        "   call kernel_main\n"
        ".popsection\n");
