/* Weighted rendezvous hashing: which backend of a pool a user falls to.
 *
 * Each backend draws a number from the user's name and its own, the best number wins (highest
 * random weight: Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998).
 * A user therefore moves only when its own backend leaves, or to a backend that is new or weighs
 * more. Nothing is remembered and no order matters: two ushers with the same backends agree.
 *
 * The weighted form is the logarithmic method (Schindelhauer and Schomaker, "Weighted distributed
 * hash tables", 2005): with u uniform in (0,1) the best is the highest of
 *
 *     score = -weight / ln(u)
 *
 * since -ln(u) / weight is exponentially distributed with rate `weight`, and the smallest of such
 * numbers belongs to each with probability weight / (sum of weights).
 *
 * libm's log() may differ in its last bit between machines, and then two ushers might disagree. So
 * the logarithm is made of integers here, in base 2 (which changes no comparison), and scores are
 * compared by cross-multiplication, without rounding.
 */
#ifndef USHER_BACKEND_RENDEZVOUS_H
#define USHER_BACKEND_RENDEZVOUS_H

#include "base/hash.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rendezvous_node {
    struct hash128 hash; /* rendezvous_node_hash() */
    uint32_t weight;     /* 0: never chosen */
};

enum { RENDEZVOUS_NONE = -1 };

/* The hash of "pool/backend". Names hold no slash, so no two pairs run together. */
struct hash128 rendezvous_node_hash(const char *pool, const char *backend);

/* The index of the best node for a user (its hash_stable()), among those of weight above 0 that
 * `may_use` (NULL: all) agrees to; RENDEZVOUS_NONE when there is none. */
long rendezvous_best(const struct rendezvous_node *nodes, size_t n, struct hash128 user,
                     bool (*may_use)(size_t index, const void *arg), const void *arg);

/* The score of a node, for people: as a double it is rounded. 0 for weight 0. */
double rendezvous_score(const struct rendezvous_node *node, struct hash128 user);

/* -log2(h / 2^64) for h > 0, with 48 binary places; 0 to 64 << 48. Seen here for its test. */
uint64_t rendezvous_log(uint64_t h);

#endif
