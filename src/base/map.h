/* Intrusive hash map: chains of nodes that the caller embeds, keyed by a 64-bit hash and an
 * equality.
 *
 * The map owns its table of chains and nothing else. Grows by doubling, one chain moved for every
 * insertion, so that no single insertion pays for a whole table. Keys that peers choose must be
 * hashed with hash_key() (keyed, base/hash.h), so that nobody can fill one chain on purpose.
 */
#ifndef USHER_BASE_MAP_H
#define USHER_BASE_MAP_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_node {
    struct map_node *next;
    uint64_t hash;
};

struct map {
    struct map_node **table;
    size_t size;  /* chains; a power of two */
    size_t split; /* chains below it have moved into the upper half; size when none is left */
    size_t used;  /* nodes */
};

void map_init(struct map *m);

/* Frees the table, not the nodes. */
void map_done(struct map *m);

/* The first node with `hash` for which is_equal(node, key) says true; else NULL. */
struct map_node *map_find(const struct map *m, uint64_t hash,
                          bool (*is_equal)(const struct map_node *, const void *), const void *key);

/* -1 when memory is out (only ever at the first insertion). The node's hash is set. */
int map_insert(struct map *m, struct map_node *node, uint64_t hash) MUST_CHECK;

void map_remove(struct map *m, struct map_node *node);

/* Calls each(node, arg) for all nodes; each may remove or free the node it is given. */
void map_each(struct map *m, void (*each)(struct map_node *, void *), void *arg);

#endif
