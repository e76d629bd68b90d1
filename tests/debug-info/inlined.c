/* Functions that are inlined into each other, with call frame information and debug information.
 * src/boot/debug_info/debug_info_test.rs looks its lines up; tests/debug-info/make builds it. */

static volatile int where;

static inline __attribute__((always_inline)) void innermost(int value)
{
    where = value; /* line 8 */
}

static inline __attribute__((always_inline)) void middle(int value)
{
    innermost(value + 1); /* line 13 */
}

__attribute__((noinline)) int called(int value)
{
    middle(value); /* line 18 */
    return where;
}

void _start(void)
{
    called(called(3)); /* line 24 */
    for (;;)
        ;
}
