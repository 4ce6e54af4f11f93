/* Answers of one directory that are kept: by user, the one that was used longest ago makes room.
 *
 * Pure: time is an argument. Memory is bounded by the number of answers, each of FACTS_MAX bytes of
 * text, a user's name of IPC_USER_MAX and some 100 bytes at most. Names and texts are wiped before
 * their memory is given back, as there are secrets in facts. They do not lie in base/secret.h's
 * arena, which they would fill.
 */
#ifndef USHER_DIRECTORY_CACHE_H
#define USHER_DIRECTORY_CACHE_H

#include "base/err.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct directory_cache;

struct directory_cache_params {
    size_t size;                   /* answers, at least 1 */
    uint32_t found_ms, unknown_ms; /* how long an answer is fresh */
    uint32_t stale_ms;             /* how old one may be that is used in need */
};

enum directory_kept {
    KEPT_NONE,
    KEPT_FRESH, /* use it */
    KEPT_STALE  /* use it if the directory fails or is late */
};

/* Text points into the cache: valid until the next call that is not directory_cache_find(). */
struct directory_cached {
    bool is_found; /* else the directory did not know the user */
    struct slice text;
    uint64_t age_ms;
};

/* NULL when memory is out. Answers take memory as they come. */
struct directory_cache *directory_cache_new(const struct directory_cache_params *params);

/* Clears *c; harmless when it is NULL. */
void directory_cache_free(struct directory_cache **c);

/* *out_answer is set unless it says KEPT_NONE. Never older than the larger of its time and
 * stale_ms. Counts as a use. */
enum directory_kept directory_cache_find(struct directory_cache *c, struct slice user,
                                         uint64_t now_ms, struct directory_cached *out_answer);

/* Keeps an answer in place of what there was of this user. When memory is out, nothing is kept of
 * the user. */
void directory_cache_put(struct directory_cache *c, struct slice user, bool is_found,
                         struct slice text, uint64_t now_ms);

/* Forgets what is kept of a user; empty: of all. Returns how many answers. */
size_t directory_cache_flush(struct directory_cache *c, struct slice user);

/* How many are kept. */
size_t directory_cache_count(const struct directory_cache *c);

#endif
