/* What the files of directory/map.h share: lines as they are kept, and the index of their keys.
 *
 * Lines lie one behind the other in blocks, each once: a head, the key as it is looked up, the
 * facts. A place is where one begins, in units of MAP_UNIT bytes, counted through all blocks; 0 is
 * none. The index is a table of chains of places that grows by one chain with each line (linear
 * hashing), and lies in segments which never move: so no line has to pay for a whole table.
 *
 *     blocks     |head key facts|head key facts|.. ..|   |head key facts|..
 *     segments   |place|place|place|..    |place|..
 */
#ifndef USHER_DIRECTORY_MAP_PARTS_H
#define USHER_DIRECTORY_MAP_PARTS_H

#include "base/err.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MAP_UNIT = 4, MAP_BLOCK = 256 * 1024, MAP_SEGMENT = 16 * 1024 };

enum map_kind { MAP_NAME, MAP_DOMAIN, MAP_EXPRESSION, MAP_ALL };

struct map_entry {
    uint32_t next; /* place; of the same chain */
    uint32_t hash;
    uint32_t line;
    uint16_t facts_n;
    uint16_t key_n : 14; /* without the sign of its kind */
    uint16_t kind : 2;   /* enum map_kind */
    char text[];         /* key, facts */
};

_Static_assert(sizeof(struct map_entry) == 16, "memory of each line");

struct map_index {
    uint64_t salt[2];
    char **blocks; /* of MAP_BLOCK bytes */
    size_t blocks_n, blocks_cap;
    size_t block_used; /* of the last one */
    uint32_t **segments;
    size_t segments_n, segments_cap;
    uint32_t chains, split; /* a power of two; how many of them have been split in two already */
    size_t n;               /* entries */
};

void map_index_init(struct map_index *x, const uint64_t salt[2]);

/* Wipes and frees one block or segment; false: there was none left. */
bool map_index_drop(struct map_index *x);

struct map_entry *map_index_at(const struct map_index *x, uint32_t place);

/* NULL: it is not there. */
const struct map_entry *map_index_find(const struct map_index *x, enum map_kind kind,
                                       struct slice key);

/* The key is not there yet. The place of the entry, or 0 when memory, or the space of places, is
 * out. */
uint32_t map_index_add(struct map_index *x, enum map_kind kind, struct slice key,
                       struct slice facts, uint32_t line);

size_t map_index_bytes(const struct map_index *x);

static inline struct slice map_entry_key(const struct map_entry *e)
{
    return slice_of(e->text, e->key_n);
}

static inline struct slice map_entry_facts(const struct map_entry *e)
{
    return slice_of(e->text + e->key_n, e->facts_n);
}

/* SipHash-2-4 of the bytes of `s`, with `first` as one more in front of them. */
uint64_t map_hash(const uint64_t salt[2], unsigned char first, struct slice s);

#endif
