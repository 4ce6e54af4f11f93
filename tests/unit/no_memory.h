/* Memory that runs out at a chosen moment. The linker (--wrap, see meson.build) sends what the code
 * asks of malloc(), calloc() and realloc() here; cmocka's own requests pass by. */
#ifndef USHER_TESTS_UNIT_NO_MEMORY_H
#define USHER_TESTS_UNIT_NO_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

/* While `is_on`, requests are counted, and the one with number `fails_at` fails, from 1; 0: none.
 */
static struct {
    bool is_on;
    size_t n, fails_at;
} memory;

static inline bool memory_is_out(void)
{
    return memory.is_on && ++memory.n == memory.fails_at;
}

void *__wrap_malloc(size_t n)
{
    return memory_is_out() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return memory_is_out() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return memory_is_out() ? NULL : __real_realloc(p, n);
}

#endif
