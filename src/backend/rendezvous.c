/* Weighted rendezvous hashing in integers. Which backends may be chosen is the caller's matter. */
#include "backend/rendezvous.h"

#include "base/err.h"
#include "base/num.h"

#include <stdio.h>

enum { PLACES = 48 };

struct hash128 rendezvous_node_hash(const char *pool, const char *backend)
{
    char name[256];
    int n = snprintf(name, sizeof name, "%s/%s", pool, backend);

    INSIST(n > 0 && (size_t)n < sizeof name); /* names are of 63 bytes at most */
    return hash_stable(slice_of(name, (size_t)n));
}

uint64_t rendezvous_log(uint64_t h)
{
    int whole = 63 - __builtin_clzll(h);
    uint64_t m = h << (63 - whole); /* the mantissa, 1 <= m < 2, with 63 places */
    uint64_t log2 = (uint64_t)whole;

    /* Squaring the mantissa doubles its logarithm: whether it passes 2 is the next binary place. */
    for (int i = 0; i < PLACES; i++) {
        unsigned __int128 square = (unsigned __int128)m * m;
        bool is_two = (uint64_t)(square >> 127) != 0;

        m = (uint64_t)(square >> (is_two ? 64 : 63));
        log2 = log2 << 1 | (is_two ? 1U : 0U);
    }
    return ((uint64_t)64 << PLACES) - log2;
}

/* Uniform over 1 to 2^64 - 1: the four words are absorbed one by one. */
static uint64_t draw(struct hash128 user, struct hash128 node)
{
    uint64_t h = num_mix(user.high);

    h = num_mix(h ^ user.low);
    h = num_mix(h ^ node.high);
    h = num_mix(h ^ node.low);
    return h ? h : 1;
}

double rendezvous_score(const struct rendezvous_node *node, struct hash128 user)
{
    double log = (double)rendezvous_log(draw(user, node->hash)) / (double)((uint64_t)1 << PLACES);

    return log > 0 ? node->weight / log : 0;
}

static bool hash_less(struct hash128 a, struct hash128 b)
{
    return a.high != b.high ? a.high < b.high : a.low < b.low;
}

long rendezvous_best(const struct rendezvous_node *nodes, size_t n, struct hash128 user,
                     bool (*may_use)(size_t index, const void *arg), const void *arg)
{
    long best = RENDEZVOUS_NONE;
    uint64_t best_log = 0;

    for (size_t i = 0; i < n; i++) {
        const struct rendezvous_node *node = &nodes[i];
        unsigned __int128 mine, other;
        uint64_t log;

        if (node->weight == 0 || (may_use && !may_use(i, arg)))
            continue;
        log = rendezvous_log(draw(user, node->hash));
        if (best >= 0) {
            /* log / weight against best_log / best weight; a tie must not depend on the order. */
            mine = (unsigned __int128)log * nodes[best].weight;
            other = (unsigned __int128)best_log * node->weight;
            if (mine > other || (mine == other && !hash_less(node->hash, nodes[best].hash)))
                continue;
        }
        best = (long)i;
        best_log = log;
    }
    return best;
}
