/* COMPRESS=DEFLATE over zlib; see net/deflate.h. */
#include "net/deflate.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>

#define ZLIB_CONST
#include <zlib.h>

enum {
    RAW = -15, /* no header of zlib's, and a window of 2^15 bytes */
    MEMORY_LEVEL = 8,
    OUT_LEAST = 16 << 10, /* a call's room, if `to` has so much */
};

struct deflate {
    z_stream in, out;
    bool is_in, is_out; /* initialised */
    bool is_dirty;      /* something was taken since the last complete flush */
};

struct deflate *deflate_new(void)
{
    struct deflate *d = calloc(1, sizeof(*d));

    if (!d)
        return NULL;
    d->is_in = inflateInit2(&d->in, RAW) == Z_OK;
    d->is_out = deflateInit2(&d->out, Z_DEFAULT_COMPRESSION, Z_DEFLATED, RAW, MEMORY_LEVEL,
                             Z_DEFAULT_STRATEGY) == Z_OK;
    if (!d->is_in || !d->is_out)
        deflate_free(&d);
    return d;
}

void deflate_free(struct deflate **d)
{
    if (!*d)
        return;
    if ((*d)->is_in)
        (void)inflateEnd(&(*d)->in);
    if ((*d)->is_out)
        (void)deflateEnd(&(*d)->out);
    free(*d);
    *d = NULL;
}

static unsigned cut(size_t n)
{
    return n < UINT_MAX ? (unsigned)n : UINT_MAX;
}

/* Points `z` to what is left of `from` and to room in `to`, which has some left. */
static int point(z_stream *z, struct slice from, struct buf *to, struct err *err)
{
    size_t n;
    char *room = buf_room_some(to, OUT_LEAST, &n);

    if (!room)
        return err_set(err, ENOMEM, "no memory for COMPRESS");
    z->next_in = (const Bytef *)from.p;
    z->avail_in = cut(from.n);
    z->next_out = (Bytef *)room;
    z->avail_out = cut(n);
    return 0;
}

/* Counts what zlib has used of `from` and put into `to` since point(). */
static void count(const z_stream *z, struct slice *from, struct buf *to)
{
    size_t used = cut(from->n) - z->avail_in;

    buf_added(to, (size_t)(z->next_out - (const Bytef *)(to->p + to->w)));
    *from = slice_sub(*from, used, from->n);
}

int deflate_read(struct deflate *d, struct slice wire, size_t *out_used, struct buf *to,
                 struct err *err)
{
    struct slice left = wire;
    int result = Z_OK;

    /* Z_BUF_ERROR: nothing is held back any more. */
    while (result == Z_OK && buf_left(to) > 0) {
        if (point(&d->in, left, to, err) < 0)
            return -1;
        result = inflate(&d->in, Z_SYNC_FLUSH);
        count(&d->in, &left, to);
        if (result == Z_OK && d->in.avail_out > 0 && left.n == 0)
            break;
    }
    if (result == Z_STREAM_END)
        return err_set(err, 0, "the server has ended the compressed stream");
    if (result == Z_MEM_ERROR)
        return err_set(err, ENOMEM, "no memory for COMPRESS");
    if (result != Z_OK && result != Z_BUF_ERROR)
        return err_set(err, 0, "the compressed stream is broken: %s",
                       d->in.msg ? d->in.msg : "for an unknown reason");
    *out_used = wire.n - left.n;
    return 0;
}

int deflate_write(struct deflate *d, struct slice plain, bool is_all, size_t *out_used,
                  bool *out_is_flushed, struct buf *to, struct err *err)
{
    struct slice left = plain;
    bool has_more = left.n > 0 || (is_all && d->is_dirty);

    /* With less room zlib cannot tell whether a flush is complete, and begins another one. */
    while (has_more && buf_left(to) >= DEFLATE_ROOM) {
        bool is_last = left.n <= UINT_MAX;
        int result;

        if (point(&d->out, left, to, err) < 0)
            return -1;
        d->is_dirty |= left.n > 0;
        result = deflate(&d->out, is_all && is_last ? Z_SYNC_FLUSH : Z_NO_FLUSH);
        INSIST(result == Z_OK || result == Z_BUF_ERROR);
        count(&d->out, &left, to);
        has_more = left.n > 0 || d->out.avail_out == 0;
        if (!has_more && is_all)
            d->is_dirty = false;
    }
    *out_used = plain.n - left.n;
    *out_is_flushed = !d->is_dirty && left.n == 0;
    return 0;
}
