/* Kept answers: a hash table, and a list of the same in the order in which they were used. */
#include "directory/cache.h"

#include "base/hash.h"
#include "base/list.h"
#include "base/map.h"

#include <stdlib.h>
#include <string.h>

/* Each new answer looks at so many old ones, so that those which nobody wants any more go by and by
 * though there is room. */
enum { LOOK_AT = 2 };

struct directory_cache {
    struct directory_cache_params params;
    struct map by_user;
    struct list used; /* longest ago first */
    size_t n;
};

struct kept {
    struct map_node node;
    struct list used;
    uint64_t at_ms;
    uint32_t user_n, text_n;
    bool is_found;
    char bytes[]; /* the user, then the text */
};

static struct slice user_of(const struct kept *k)
{
    return slice_of(k->bytes, k->user_n);
}

static bool is_user(const struct map_node *node, const void *user)
{
    return slice_eq(user_of(CONTAINER(node, const struct kept, node)), *(const struct slice *)user);
}

static struct kept *find(struct directory_cache *c, struct slice user)
{
    struct map_node *node = map_find(&c->by_user, hash_key(user), is_user, &user);

    return node ? CONTAINER(node, struct kept, node) : NULL;
}

static void drop(struct directory_cache *c, struct kept *k)
{
    map_remove(&c->by_user, &k->node);
    list_remove(&k->used);
    c->n--;
    wipe(k, sizeof *k + k->user_n + k->text_n);
    free(k);
}

/* A time that was given may be earlier than that of the answer, by the order of events in a turn of
 * the loop. */
static uint64_t age_of(const struct kept *k, uint64_t now_ms)
{
    return now_ms > k->at_ms ? now_ms - k->at_ms : 0;
}

static enum directory_kept judge(const struct directory_cache *c, const struct kept *k,
                                 uint64_t now_ms)
{
    const uint64_t age_ms = age_of(k, now_ms);

    if (age_ms < (k->is_found ? c->params.found_ms : c->params.unknown_ms))
        return KEPT_FRESH;
    return age_ms < c->params.stale_ms ? KEPT_STALE : KEPT_NONE;
}

struct directory_cache *directory_cache_new(const struct directory_cache_params *params)
{
    struct directory_cache *c = calloc(1, sizeof *c);

    INSIST(params->size > 0);
    if (!c)
        return NULL;
    c->params = *params;
    map_init(&c->by_user);
    list_init(&c->used);
    return c;
}

void directory_cache_free(struct directory_cache **cache)
{
    struct directory_cache *c = *cache;

    if (!c)
        return;
    directory_cache_flush(c, SLICE(""));
    map_done(&c->by_user);
    free(c);
    *cache = NULL;
}

enum directory_kept directory_cache_find(struct directory_cache *c, struct slice user,
                                         uint64_t now_ms, struct directory_cached *out_answer)
{
    struct kept *k = find(c, user);
    enum directory_kept how = k ? judge(c, k, now_ms) : KEPT_NONE;

    if (how == KEPT_NONE)
        return how;
    list_remove(&k->used);
    list_append(&c->used, &k->used);
    *out_answer = (struct directory_cached){
        .is_found = k->is_found,
        .text = slice_of(k->bytes + k->user_n, k->text_n),
        .age_ms = age_of(k, now_ms),
    };
    return how;
}

static void make_room(struct directory_cache *c, uint64_t now_ms)
{
    for (int i = 0; i < LOOK_AT && !list_empty(&c->used); i++) {
        struct kept *oldest = CONTAINER(c->used.next, struct kept, used);

        if (c->n < c->params.size && judge(c, oldest, now_ms) != KEPT_NONE)
            break;
        drop(c, oldest);
    }
}

void directory_cache_put(struct directory_cache *c, struct slice user, bool is_found,
                         struct slice text, uint64_t now_ms)
{
    struct kept *k = find(c, user);

    if (k)
        drop(c, k);
    make_room(c, now_ms);
    k = malloc(sizeof *k + user.n + text.n);
    if (!k)
        return;
    *k = (struct kept){.at_ms = now_ms,
                       .user_n = (uint32_t)user.n,
                       .text_n = (uint32_t)text.n,
                       .is_found = is_found};
    memcpy(k->bytes, user.p, user.n);
    if (text.n)
        memcpy(k->bytes + user.n, text.p, text.n);
    if (map_insert(&c->by_user, &k->node, hash_key(user)) < 0) {
        wipe(k->bytes, user.n + text.n);
        free(k);
        return;
    }
    list_append(&c->used, &k->used);
    c->n++;
}

size_t directory_cache_flush(struct directory_cache *c, struct slice user)
{
    const size_t before = c->n;
    struct kept *k = user.n ? find(c, user) : NULL;

    if (k)
        drop(c, k);
    if (user.n == 0)
        list_for_each_safe (it, &c->used)
            drop(c, CONTAINER(it, struct kept, used));
    return before - c->n;
}

size_t directory_cache_count(const struct directory_cache *c)
{
    return c->n;
}
