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

/* Seed 0 is the whole input at once; 1 single bytes; others pieces of 1 to 16 bytes, now and then
 * of 64. */
struct cut {
    struct slice left;
    uint64_t seed;
};

/* Puts the next piece into `to`, as far as there is room. False when there is none. */
static inline bool cut_feed(struct cut *c, struct buf *to)
{
    size_t n = c->left.n;

    if (c->seed == 1) {
        n = 1;
    } else if (c->seed > 1) {
        c->seed = num_mix(c->seed) | 2;
        n = c->seed % 11 == 0 ? 64 : c->seed >> 8 & 15;
        n += n == 0;
    }
    if (n > buf_left(to))
        n = buf_left(to);
    if (n > c->left.n)
        n = c->left.n;
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

#endif
