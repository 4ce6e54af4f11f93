/* The byte queue of base/buf.h. */
#include "base/buf.h"

#include "base/secret.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A secret buffer begins small: thousands of clients may be in the middle of a line. */
enum { BUF_FIRST = 512, BUF_FIRST_SECRET = 128 };

void buf_init(struct buf *b, size_t max, bool is_secret)
{
    INSIST(max <= UINT32_MAX / 2);
    *b = (struct buf){.max = (uint32_t)max, .is_secret = is_secret};
}

static char *take_memory(const struct buf *b, uint32_t cap)
{
    return b->is_secret ? secret_alloc(cap) : malloc(cap);
}

static void give_memory(struct buf *b)
{
    if (b->is_secret)
        secret_free(b->p, b->cap);
    else
        free(b->p);
}

void buf_release(struct buf *b)
{
    give_memory(b);
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
    char *p = take_memory(b, cap);

    if (!p)
        return -1;
    if (b->w)
        memcpy(p, b->p, b->w);
    give_memory(b);
    b->p = p;
    b->cap = cap;
    return 0;
}

char *buf_room(struct buf *b, size_t n)
{
    uint32_t cap = b->cap ? b->cap : b->is_secret ? BUF_FIRST_SECRET : BUF_FIRST;
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

char *buf_room_some(struct buf *b, size_t least, size_t *out_n)
{
    size_t left = buf_left(b), spare;
    char *room = buf_room(b, least < left ? least : left);

    if (!room)
        return NULL;
    spare = b->cap - b->w;
    *out_n = spare < left ? spare : left; /* a ceiling may have been lowered */
    return room;
}

void buf_added(struct buf *b, size_t n)
{
    INSIST(n <= b->cap - b->w);
    b->w += (uint32_t)n;
}

void buf_take(struct buf *b, size_t n)
{
    INSIST(n <= buf_len(b));
    if (b->is_secret && n == buf_len(b)) {
        buf_release(b);
        return;
    }
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
