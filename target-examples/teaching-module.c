/* teaching-module: the module of teaching-kernel, which links this object file when it runs. */
#include <stdint.h>

/* Of the kernel. */
void print(const char *text);
void print_number(uint32_t value);

static uint32_t calls;

uint32_t module_main(void)
{
    calls++;
    print("the module runs for the time number ");
    print_number(calls);
    print("\n");
    return 42;
}
