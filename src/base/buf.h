/* A byte queue with a ceiling: bytes are put at the end and taken from the front.
 *
 *      p          p+r            p+w         p+cap      <= max
 *      |  taken   |  to be read  |   free    |
 *
 * Owned by whoever embeds it. No memory is held until something is put and after buf_release().
 *
 * A secret one, through which passwords pass, has its memory from base/secret.h: locked, and wiped
 * before it is given back or left for a larger piece. Bytes that are taken are wiped at once, and
 * with the last of them it gives its memory back.
 */
#ifndef USHER_BASE_BUF_H
#define USHER_BASE_BUF_H

#include "base/err.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    char *p;
    uint32_t r, w, cap, max;
    bool is_secret;
};

/* `max`: the most bytes that it will ever hold. Allocates nothing. */
void buf_init(struct buf *b, size_t max, bool is_secret);

/* Gives the memory back; the buffer is empty and may be used again. */
void buf_release(struct buf *b);

static inline size_t buf_len(const struct buf *b)
{
    return b->w - b->r;
}

/* What is to be read; valid until the next call that changes the buffer. */
static inline struct slice buf_slice(const struct buf *b)
{
    return (struct slice){b->p ? b->p + b->r : NULL, b->w - b->r};
}

/* Room for `n` more bytes at the end, to be followed by buf_added(). NULL when the ceiling or the
 * machine's memory does not allow it; the buffer is unchanged then. */
char *buf_room(struct buf *b, size_t n) MUST_CHECK;

/* The same for whoever does not know how much will come: room for `least` bytes or up to the
 * ceiling, and *out_n is all that there is room for in the same memory. */
char *buf_room_some(struct buf *b, size_t least, size_t *out_n) MUST_CHECK;

/* How many bytes may still be put before the ceiling is reached. */
size_t buf_left(const struct buf *b);

void buf_added(struct buf *b, size_t n);

/* Takes `n` bytes (at most buf_len) from the front. */
void buf_take(struct buf *b, size_t n);

/* Appends; -1 when it does not fit (nothing is appended then). */
int buf_put(struct buf *b, struct slice s) MUST_CHECK;
int buf_puts(struct buf *b, const char *s) MUST_CHECK;
int buf_printf(struct buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3))) MUST_CHECK;

#endif
