/* The byte queue of base/buf.h. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUF_FIRST = 512 };

void buf_init(struct buf *b, size_t max, bool is_secret)
{
    INSIST(max <= UINT32_MAX / 2);
    *b = (struct buf){.max = (uint32_t)max, .is_secret = is_secret};
}

void buf_release(struct buf *b)
{
    if (b->is_secret && b->p)
        wipe(b->p, b->cap);
    free(b->p);
    b->p = NULL;
    b->r = b->w = b->cap = 0;
}

size_t buf_left(const struct buf *b)
{
    return b->max - (b->w - b->r);
}

/* Moves what is unread to the front of the same memory. */
static void compact(struct buf *b)
{
    uint32_t n = b->w - b->r;

    if (b->r == 0)
        return;
    if (n)
        memmove(b->p, b->p + b->r, n);
    if (b->is_secret)
        wipe(b->p + n, b->w - n);
    b->r = 0;
    b->w = n;
}

/* realloc() would leave a copy of what a secret buffer held. */
static int grow(struct buf *b, uint32_t cap)
{
    char *p = malloc(cap);

    if (!p)
        return -1;
    if (b->w)
        memcpy(p, b->p, b->w);
    if (b->is_secret && b->p)
        wipe(b->p, b->cap);
    free(b->p);
    b->p = p;
    b->cap = cap;
    return 0;
}

char *buf_room(struct buf *b, size_t n)
{
    uint32_t cap = b->cap ? b->cap : BUF_FIRST;
    size_t need;

    if (n > buf_left(b))
        return NULL;
    if (n <= b->cap - b->w)
        return b->p + b->w;
    compact(b);
    need = b->w + n;
    if (need > b->cap) {
        while (cap < need)
            cap *= 2;
        if (cap > b->max)
            cap = b->max;
        if (grow(b, cap) < 0)
            return NULL;
    }
    return b->p + b->w;
}

void buf_added(struct buf *b, size_t n)
{
    INSIST(n <= b->cap - b->w);
    b->w += (uint32_t)n;
}

void buf_take(struct buf *b, size_t n)
{
    INSIST(n <= buf_len(b));
    if (b->is_secret && n)
        wipe(b->p + b->r, n);
    b->r += (uint32_t)n;
    if (b->r == b->w)
        b->r = b->w = 0;
}

int buf_put(struct buf *b, struct slice s)
{
    char *room;

    if (s.n == 0)
        return 0;
    room = buf_room(b, s.n);
    if (!room)
        return -1;
    memcpy(room, s.p, s.n);
    buf_added(b, s.n);
    return 0;
}

int buf_puts(struct buf *b, const char *s)
{
    return buf_put(b, slice_str(s));
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap, again;
    char *room;
    int n;

    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    room = n < 0 ? NULL : buf_room(b, (size_t)n + 1);
    if (room) {
        vsnprintf(room, (size_t)n + 1, fmt, again);
        buf_added(b, (size_t)n);
    }
    va_end(again);
    return room ? 0 : -1;
}
