/* Hashes. hash_stable() is the same on every machine and in every release, for what must agree
 * between ushers (placing by hash) or lasts in shared memory; hash_key() is keyed anew for each
 * process, for maps whose keys a peer chooses. */
#ifndef USHER_BASE_HASH_H
#define USHER_BASE_HASH_H

#include "base/slice.h"

#include <stdint.h>

struct hash128 {
    uint64_t high, low;
};

/* The first 16 bytes of SHA-256, big endian. */
struct hash128 hash_stable(struct slice s);

/* The same of bytes that come one after the other, any number of times. NULL when memory is out. */
struct hash_stream;
struct hash_stream *hash_stream_new(void);
void hash_stream_begin(struct hash_stream *h);
void hash_stream_add(struct hash_stream *h, struct slice s);
struct hash128 hash_stream_end(struct hash_stream *h); /* then begin() */
void hash_stream_free(struct hash_stream **h);

/* The first 8 bytes of SHA-256 over this process' random key and `s`. */
uint64_t hash_key(struct slice s);

/* Fills `out` with bytes from the kernel's generator; ends the process when it has none. */
void hash_random(void *out, size_t n);

#endif
