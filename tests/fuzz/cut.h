/* What the fuzz targets of dialogues share: an input that comes whole, or in pieces whose sizes are
 * drawn from a seed. The first two bytes of a fuzz input are its header: flags for the target, and
 * the seed. */
#ifndef USHER_TESTS_FUZZ_CUT_H
#define USHER_TESTS_FUZZ_CUT_H

#include "base/buf.h"
#include "base/err.h"
#include "base/num.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct fuzz_input {
    uint8_t flags, seed;
    struct slice bytes;
};

static inline bool fuzz_input_read(struct fuzz_input *in, const uint8_t *data, size_t size)
{
    if (size < 2)
        return false;
    *in = (struct fuzz_input){data[0], data[1], slice_of(data + 2, size - 2)};
    return true;
}

/* Not sent where an input has turns: however it is cut, what is behind this byte only comes when
 * the other side has seen all that is before it, as what follows STARTTLS does. */
enum { FUZZ_TURN = 0xff };

/* Seed 0 is the whole input at once (up to a turn); 1 single bytes; others pieces of 1 to 16 bytes,
 * now and then of 64. */
struct cut {
    struct slice left;
    uint64_t seed;
    bool has_turns;
};

/* The size of the next piece, were there no end. */
static inline size_t cut_size(struct cut *c)
{
    size_t n;

    if (c->seed < 2)
        return c->seed == 0 ? c->left.n : 1;
    c->seed = num_mix(c->seed) | 2;
    n = c->seed % 11 == 0 ? 64 : c->seed >> 8 & 15;
    return n > 0 ? n : 1;
}

/* Puts the next piece into `to`, as far as there is room. False when there is none. */
static inline bool cut_feed(struct cut *c, struct buf *to)
{
    size_t n = cut_size(c), end = 0;

    while (c->has_turns && c->left.n > 0 && (uint8_t)c->left.p[0] == FUZZ_TURN)
        c->left = slice_sub(c->left, 1, c->left.n);
    while (end < c->left.n && !(c->has_turns && (uint8_t)c->left.p[end] == FUZZ_TURN))
        end++;
    if (n > buf_left(to))
        n = buf_left(to);
    if (n > end)
        n = end;
    INSIST(buf_put(to, slice_sub(c->left, 0, n)) == 0);
    c->left = slice_sub(c->left, n, c->left.n);
    return n > 0;
}

/* How often `part` lies in `s`, overlapping ones counted. */
static inline size_t count_in(struct slice s, struct slice part)
{
    size_t n = 0;

    for (size_t i = 0; part.n > 0 && i + part.n <= s.n; i++)
        n += memcmp(s.p + i, part.p, part.n) == 0;
    return n;
}

/* Whether `part` is bytes of `whole`. */
static inline bool lies_in(struct slice part, struct slice whole)
{
    return part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

#endif
