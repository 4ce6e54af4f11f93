/* The affinity of users of shared storage, in memory that outlives control: the parent holds it,
 * each control maps it.
 *
 *     header  | bucket 0: 8 slots of 32 bytes | bucket 1 | ...
 *
 * A bucketed table of fixed size in a sparse memory file: only buckets in use take memory. A slot
 * knows users and backends by their hashes, no names. Each has a check word, so that one that was
 * half written when its control was killed counts as empty. A full bucket gives up its oldest slot:
 * an affinity lost early costs that user's warm cache, no correctness.
 *
 * Memory operations only; one process writes at a time (the parent grants one epoch).
 */
#ifndef USHER_CONTROL_SHARED_H
#define USHER_CONTROL_SHARED_H

#include "base/err.h"
#include "base/hash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SHARED_VERSION = 1,
    SHARED_SLOTS = 1 << 20,
    SHARED_BUCKET = 8,
    SHARED_HEADER = 4096,
    SHARED_SLOT = 32
};

#define SHARED_BYTES (SHARED_HEADER + (size_t)SHARED_SLOTS * SHARED_SLOT)

struct shared;

/* The parent: makes the memory, empty and sealed against resizing, and returns its descriptor. */
int shared_create(struct err *err) MUST_CHECK;

/* Maps it; the caller keeps `fd` and may close it. What an unknown version left, or a broken
 * header, is thrown away: *out_lost then says why, and is NULL otherwise. */
int shared_map(int fd, struct shared **out_shared, const char **out_lost,
               struct err *err) MUST_CHECK;

/* Clears *shared; harmless when it is NULL. */
void shared_unmap(struct shared **shared);

/* The backend remembered under `key`, if it was noted at most `max_age_s` before `now_s` (seconds
 * of the monotonic clock). */
bool shared_find(const struct shared *shared, struct hash128 key, uint64_t now_s,
                 uint64_t max_age_s, uint64_t *out_backend);

/* Notes it as of `now_s`, over what was there. */
void shared_put(struct shared *shared, struct hash128 key, uint64_t backend, uint64_t now_s);

#endif
