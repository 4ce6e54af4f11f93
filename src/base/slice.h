/* A slice: bytes that lie somewhere else. Not NUL-terminated, may hold NUL; owns nothing.
 *
 * An empty slice may have any pointer, NULL too. NUL-terminated strings exist only at libc's edge.
 */
#ifndef USHER_BASE_SLICE_H
#define USHER_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct slice {
    const char *p;
    size_t n;
};

/* A slice of a string literal, usable as an initialiser. */
#define SLICE(literal) ((struct slice){(literal), sizeof(literal) - 1})

static inline struct slice slice_of(const void *p, size_t n)
{
    return (struct slice){p, n};
}

static inline struct slice slice_str(const char *s)
{
    return (struct slice){s, s ? strlen(s) : 0};
}

static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* The part from `from` to before `to`; both are cut to the slice's length. */
static inline struct slice slice_sub(struct slice s, size_t from, size_t to)
{
    if (to > s.n)
        to = s.n;
    if (from > to)
        from = to;
    /* C17 does not even allow NULL + 0. */
    return (struct slice){from > 0 ? s.p + from : s.p, to - from};
}

/* ASCII case folded comparison, the way IMAP compares its keywords. */
bool slice_ieq(struct slice a, struct slice b);

bool slice_istarts(struct slice s, struct slice prefix);

/* Whether any byte of `s` equals `c`. */
bool slice_has(struct slice s, char c);

/* Equal in time that depends on lengths only; for secrets. */
bool slice_eq_secret(struct slice a, struct slice b);

/* A copy with NUL at its end on the heap, freed with free(); NULL when memory is out. */
char *slice_dup(struct slice s);

/* For printf: "%.*s", SLICE_ARG(s). */
#define SLICE_ARG(s) (int)(s).n, (s).p

/* Wipes memory in a way that the compiler does not take out. */
void wipe(void *p, size_t n);

#endif
