/* COMPRESS: a foreign stream becomes the same bytes, and the same error, however it comes and
 * however small the room is; and what we write is read again, flushes at any place included.
 *
 * Flags: the room's size; what the bytes are. */
#include "cut.h"

#include "net/deflate.h"

enum { MAX_INPUT = 4096, MOST = 1 << 16, ROOM = 63, IS_OURS = 128 };

/* Reads all there is of `wire` through rooms of `room` bytes, at most MOST. False: it is refused.
 */
static bool read_some(struct deflate *d, struct slice wire, size_t room, struct buf *plain)
{
    for (bool is_full = true; is_full && buf_left(plain) > 0;) {
        struct buf out;
        struct err err;
        size_t used;
        bool is_good;

        buf_init(&out, room < buf_left(plain) ? room : buf_left(plain), false);
        is_good = deflate_read(d, wire, &used, &out, &err) == 0;
        is_full = is_good && buf_left(&out) == 0;
        INSIST(buf_put(plain, buf_slice(&out)) == 0);
        buf_release(&out);
        if (!is_good)
            return false;
        INSIST(used <= wire.n && (is_full || used == wire.n));
        wire = slice_sub(wire, used, wire.n);
    }
    return true;
}

static bool read_foreign(struct slice wire, uint64_t seed, size_t room, struct buf *plain)
{
    struct cut c = {wire, seed, false};
    struct deflate *d = deflate_new();
    bool is_good = true;

    INSIST(d);
    buf_init(plain, MOST, false);
    while (is_good && c.left.n > 0 && buf_left(plain) > 0) {
        struct slice piece = slice_sub(c.left, 0, cut_size(&c));

        c.left = slice_sub(c.left, piece.n, c.left.n);
        is_good = read_some(d, piece, room, plain);
    }
    deflate_free(&d);
    return is_good;
}

static void check_foreign(const struct fuzz_input *in)
{
    struct buf whole, cut;
    bool is_good = read_foreign(in->bytes, 0, MOST, &whole);

    /* A room that is full ends reading before an error that comes behind it. */
    if (read_foreign(in->bytes, in->seed | 1U, 1 + (in->flags & ROOM), &cut) != is_good)
        INSIST(buf_left(&whole) == 0);
    INSIST(slice_eq(buf_slice(&whole), buf_slice(&cut)));
    buf_release(&whole);
    buf_release(&cut);
}

static void write_some(struct deflate *d, struct slice plain, bool is_all, size_t room,
                       struct buf *wire)
{
    bool is_flushed = false;

    do {
        struct buf out;
        struct err err;
        size_t used;

        buf_init(&out, room, false);
        INSIST(deflate_write(d, plain, is_all, &used, &is_flushed, &out, &err) == 0);
        INSIST(used == plain.n || buf_left(&out) < DEFLATE_ROOM);
        plain = slice_sub(plain, used, plain.n);
        INSIST(buf_put(wire, buf_slice(&out)) == 0);
        buf_release(&out);
    } while (is_all ? !is_flushed : plain.n > 0);
}

static void check_ours(const struct fuzz_input *in)
{
    struct cut c = {in->bytes, in->seed, false};
    size_t room = DEFLATE_ROOM + (in->flags & ROOM), told = 0;
    struct deflate *d = deflate_new(), *peer = deflate_new();
    struct buf wire, plain;

    INSIST(d && peer);
    buf_init(&wire, 1 << 20, false);
    buf_init(&plain, MAX_INPUT + 1, false);
    while (c.left.n > 0) {
        struct slice piece = slice_sub(c.left, 0, cut_size(&c));
        bool is_all = piece.p[0] % 2 == 0;

        c.left = slice_sub(c.left, piece.n, c.left.n);
        told += piece.n;
        write_some(d, piece, is_all, room, &wire);
        INSIST(read_some(peer, buf_slice(&wire), room, &plain));
        buf_take(&wire, buf_len(&wire));
        INSIST(!is_all || buf_len(&plain) == told);
    }
    INSIST(slice_eq(buf_slice(&plain), slice_sub(in->bytes, 0, buf_len(&plain))));
    buf_release(&wire);
    buf_release(&plain);
    deflate_free(&d);
    deflate_free(&peer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in;

    if (size > MAX_INPUT || !fuzz_input_read(&in, data, size))
        return 0;
    if (in.flags & IS_OURS)
        check_ours(&in);
    else
        check_foreign(&in);
    return 0;
}
