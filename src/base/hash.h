/* Hashes. hash_stable() is the same on every machine and in every release, for what must agree
 * between ushers (placing by hash) or lasts in shared memory; hash_key() is keyed anew for each
 * process, for maps whose keys a peer chooses. */
#ifndef USHER_BASE_HASH_H
#define USHER_BASE_HASH_H

#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct hash128 {
    uint64_t high, low;
};

/* The first 16 bytes of SHA-256, big endian. */
struct hash128 hash_stable(struct slice s);

/* The same of bytes that come one after the other. One serves any number of texts, each from
 * begin() to end(). As with hash_stable(), the process ends if OpenSSL has no memory for the
 * hundred bytes that it may ask for at each. */
struct hash_stream;

/* NULL when memory is out. */
struct hash_stream *hash_stream_new(void);

/* Clears *h; harmless when it is NULL. */
void hash_stream_free(struct hash_stream **h);

/* A new text, also when the one before was not ended. */
void hash_stream_begin(struct hash_stream *h);
void hash_stream_add(struct hash_stream *h, struct slice s);
struct hash128 hash_stream_end(struct hash_stream *h);

static inline bool hash128_eq(struct hash128 a, struct hash128 b)
{
    return a.high == b.high && a.low == b.low;
}

/* Any order that is total: below 0, 0, above 0. */
static inline int hash128_compare(struct hash128 a, struct hash128 b)
{
    if (a.high != b.high)
        return a.high < b.high ? -1 : 1;
    return (a.low > b.low) - (a.low < b.low);
}

/* The first 8 bytes of SHA-256 over this process' random key and `s`. */
uint64_t hash_key(struct slice s);

/* Fills `out` with bytes from the kernel's generator; ends the process when it has none. */
void hash_random(void *out, size_t n);

#endif
