/* The hash map of base/map.h: chained, and rehashed by one chain an insertion (linear hashing). */
#include "base/map.h"

#include <stdlib.h>
#include <string.h>

enum { MAP_FIRST = 64 };

void map_init(struct map *m)
{
    memset(m, 0, sizeof *m);
}

void map_done(struct map *m)
{
    free(m->table);
    map_init(m);
}

/* While growing, `size` is the old size and the table has twice as many chains: a hash whose old
 * chain has been split already lives by the wider mask. */
static size_t chain_of(const struct map *m, uint64_t hash)
{
    size_t i = (size_t)hash & (m->size - 1);

    return i < m->split ? (size_t)hash & (2 * m->size - 1) : i;
}

struct map_node *map_find(const struct map *m, uint64_t hash,
                          bool (*is_equal)(const struct map_node *, const void *), const void *key)
{
    if (m->size == 0)
        return NULL;
    for (struct map_node *n = m->table[chain_of(m, hash)]; n; n = n->next) {
        if (n->hash == hash && is_equal(n, key))
            return n;
    }
    return NULL;
}

static void split_one(struct map *m)
{
    struct map_node **from = &m->table[m->split];
    struct map_node **to = &m->table[m->split + m->size];

    for (struct map_node **at = from; *at;) {
        struct map_node *n = *at;

        if (n->hash & m->size) {
            *at = n->next;
            n->next = *to;
            *to = n;
        } else {
            at = &n->next;
        }
    }
    if (++m->split == m->size) {
        m->size *= 2;
        m->split = 0;
    }
}

/* Makes room for twice the chains. When memory is out the chains only get longer. */
static void start_growing(struct map *m)
{
    struct map_node **wider;

    if (m->size > SIZE_MAX / 2 / sizeof(*wider) / 2)
        return;
    wider = realloc(m->table, 2 * m->size * sizeof(*wider));
    if (!wider)
        return;
    memset(wider + m->size, 0, m->size * sizeof(*wider));
    m->table = wider;
    m->split = 0;
    split_one(m);
}

int map_insert(struct map *m, struct map_node *node, uint64_t hash)
{
    size_t i;

    if (m->size == 0) {
        m->table = calloc(MAP_FIRST, sizeof(struct map_node *));
        if (!m->table)
            return -1;
        m->size = MAP_FIRST;
    }
    if (m->split > 0)
        split_one(m);
    else if (m->used >= m->size)
        start_growing(m);
    i = chain_of(m, hash);
    node->hash = hash;
    node->next = m->table[i];
    m->table[i] = node;
    m->used++;
    return 0;
}

void map_remove(struct map *m, struct map_node *node)
{
    struct map_node **at;

    INSIST(m->size > 0);
    at = &m->table[chain_of(m, node->hash)];
    while (*at && *at != node)
        at = &(*at)->next;
    INSIST(*at == node);
    *at = node->next;
    m->used--;
}

void map_each(struct map *m, void (*each)(struct map_node *, void *), void *arg)
{
    size_t chains = m->split ? m->size + m->split : m->size;

    for (size_t i = 0; i < chains; i++) {
        for (struct map_node *n = m->table[i], *next; n; n = next) {
            next = n->next;
            each(n, arg);
        }
    }
}
