/* Lines in blocks, and the table of chains over them: directory/map_parts.h. */
#include "directory/map_parts.h"

#include <stdlib.h>
#include <string.h>

enum { UNITS = MAP_BLOCK / MAP_UNIT };

void map_index_init(struct map_index *x, const uint64_t salt[2])
{
    *x = (struct map_index){.salt = {salt[0], salt[1]}};
}

bool map_index_drop(struct map_index *x)
{
    if (x->blocks_n > 0) {
        wipe(x->blocks[--x->blocks_n], MAP_BLOCK);
        free(x->blocks[x->blocks_n]);
    } else if (x->segments_n > 0) {
        free(x->segments[--x->segments_n]);
    } else {
        free(x->blocks);
        free(x->segments);
        *x = (struct map_index){0};
        return false;
    }
    return true;
}

/* --- places ----------------------------------------------------------------------------------- */

struct map_entry *map_index_at(const struct map_index *x, uint32_t place)
{
    return (struct map_entry *)(void *)(x->blocks[place / UNITS] +
                                        (size_t)(place % UNITS) * MAP_UNIT);
}

/* Room for one more pointer. */
static void *grow(void *array, size_t n, size_t *cap)
{
    size_t more_cap = *cap ? *cap * 2 : 16;
    void *more;

    if (n < *cap)
        return array;
    more = reallocarray(array, more_cap, sizeof(void *));
    if (more)
        *cap = more_cap;
    return more;
}

static bool add_block(struct map_index *x)
{
    char **blocks = grow(x->blocks, x->blocks_n, &x->blocks_cap);
    char *block;

    if (!blocks)
        return false;
    x->blocks = blocks;
    if (x->blocks_n >= UINT32_MAX / UNITS)
        return false;
    block = malloc(MAP_BLOCK);
    if (!block)
        return false;
    /* Place 0 is none. */
    x->block_used = x->blocks_n == 0 ? MAP_UNIT : 0;
    x->blocks[x->blocks_n++] = block;
    return true;
}

static uint32_t place_of(struct map_index *x, size_t size)
{
    const size_t whole = (size + MAP_UNIT - 1) / MAP_UNIT * MAP_UNIT;
    size_t place;

    INSIST(whole <= MAP_BLOCK - MAP_UNIT);
    if ((x->blocks_n == 0 || MAP_BLOCK - x->block_used < whole) && !add_block(x))
        return 0;
    place = (x->blocks_n - 1) * UNITS + x->block_used / MAP_UNIT;
    x->block_used += whole;
    return (uint32_t)place;
}

/* --- chains ----------------------------------------------------------------------------------- */

static uint32_t *chain_at(const struct map_index *x, uint32_t chain)
{
    return &x->segments[chain / MAP_SEGMENT][chain % MAP_SEGMENT];
}

static uint32_t chain_of(const struct map_index *x, uint32_t hash)
{
    const uint32_t chain = hash & (x->chains - 1);

    return chain < x->split ? hash & (2 * x->chains - 1) : chain;
}

/* Room for one more chain, whose number is `chain`. */
static bool has_chain(struct map_index *x, uint32_t chain)
{
    uint32_t **segments, *segment;

    if (chain / MAP_SEGMENT < x->segments_n)
        return true;
    segments = grow(x->segments, x->segments_n, &x->segments_cap);
    if (!segments)
        return false;
    x->segments = segments;
    segment = calloc(MAP_SEGMENT, sizeof *segment);
    if (!segment)
        return false;
    x->segments[x->segments_n++] = segment;
    return true;
}

static void push(struct map_index *x, uint32_t place)
{
    struct map_entry *e = map_index_at(x, place);
    uint32_t *head = chain_at(x, chain_of(x, e->hash));

    e->next = *head;
    *head = place;
}

/* One chain becomes two. Without memory they stay as they are, and only grow longer. */
static void split_one(struct map_index *x)
{
    uint32_t place;

    if (x->n <= x->chains + x->split || !has_chain(x, x->chains + x->split))
        return;
    place = *chain_at(x, x->split);
    *chain_at(x, x->split) = 0;
    x->split++;
    while (place) {
        const uint32_t next = map_index_at(x, place)->next;

        push(x, place);
        place = next;
    }
    if (x->split == x->chains) {
        x->chains *= 2;
        x->split = 0;
    }
}

static uint32_t hash_of(const struct map_index *x, enum map_kind kind, struct slice key)
{
    return (uint32_t)map_hash(x->salt, (unsigned char)kind, key);
}

const struct map_entry *map_index_find(const struct map_index *x, enum map_kind kind,
                                       struct slice key)
{
    const uint32_t hash = hash_of(x, kind, key);
    const struct map_entry *e;

    if (x->n == 0)
        return NULL;
    for (uint32_t at = *chain_at(x, chain_of(x, hash)); at; at = e->next) {
        e = map_index_at(x, at);
        if (e->hash == hash && e->kind == kind && slice_eq(map_entry_key(e), key))
            return e;
    }
    return NULL;
}

uint32_t map_index_add(struct map_index *x, enum map_kind kind, struct slice key,
                       struct slice facts, uint32_t line)
{
    struct map_entry *e;
    uint32_t place;

    if (x->chains == 0) {
        if (!has_chain(x, 0))
            return 0;
        x->chains = 1;
    }
    place = place_of(x, sizeof *e + key.n + facts.n);
    if (!place)
        return 0;
    e = map_index_at(x, place);
    *e = (struct map_entry){.hash = hash_of(x, kind, key),
                            .line = line,
                            .facts_n = (uint16_t)facts.n,
                            .key_n = key.n & 0x3fff,
                            .kind = kind & 3};
    if (key.n > 0)
        memcpy(e->text, key.p, key.n);
    if (facts.n > 0)
        memcpy(e->text + key.n, facts.p, facts.n);
    push(x, place);
    x->n++;
    split_one(x);
    return place;
}

size_t map_index_bytes(const struct map_index *x)
{
    return x->blocks_n * MAP_BLOCK + x->segments_n * MAP_SEGMENT * sizeof(uint32_t) +
           (x->blocks_cap + x->segments_cap) * sizeof(void *);
}
