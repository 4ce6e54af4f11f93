/* The table of backends of control/backends.h. Choosing among them is control/route.c's. */
#include "control/backends.h"

#include "base/hash.h"
#include "base/list.h"
#include "conf/diff.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool title_is(const struct map_node *node, const void *key)
{
    const struct title *t = CONTAINER(node, const struct title, node);
    const struct slice *title = key;

    return slice_eq(slice_str(t->text), *title);
}

static struct title *find_title(const struct backends *b, struct slice title)
{
    struct map_node *node = map_find(&b->by_title, hash_key(title), title_is, &title);

    return node ? CONTAINER(node, struct title, node) : NULL;
}

static uint32_t add_title(struct backends *b, struct slice title)
{
    struct title *t;

    if (b->titles_n == b->titles_cap) {
        size_t cap = b->titles_cap ? 2 * b->titles_cap : 64;
        struct title **more = realloc(b->titles, cap * sizeof(struct title *));

        if (!more)
            return BACKEND_NONE;
        b->titles = more;
        b->titles_cap = cap;
    }
    t = malloc(sizeof *t + title.n + 1);
    if (!t)
        return BACKEND_NONE;
    memcpy(t->text, title.p, title.n);
    t->text[title.n] = '\0';
    t->number = (uint32_t)b->titles_n;
    if (map_insert(&b->by_title, &t->node, hash_key(title)) < 0) {
        free(t);
        return BACKEND_NONE;
    }
    b->titles[b->titles_n++] = t;
    return t->number;
}

uint32_t backends_number(struct backends *b, struct slice title)
{
    struct title *t = find_title(b, title);

    return t ? t->number : add_title(b, title);
}

uint32_t backends_find(const struct backends *b, struct slice title)
{
    const struct title *t = find_title(b, title);

    return t ? t->number : BACKEND_NONE;
}

const char *backends_title(const struct backends *b, uint32_t number)
{
    INSIST(number < b->titles_n);
    return b->titles[number]->text;
}

uint32_t backends_at(const struct backends *b, uint32_t pool, uint32_t index)
{
    if (pool >= b->conf->pools_n || index >= b->conf->pools[pool].backends_n)
        return BACKEND_NONE;
    return b->first[pool] + index;
}

struct health_params backends_health_params(const struct backends *b, uint32_t number)
{
    const struct conf_pool *p = &b->conf->pools[b->all[number].pool];

    return (struct health_params){.is_checked = p->check != CHECK_OFF,
                                  .interval_ms = p->check_interval,
                                  .fast_interval_ms = p->check_fast_interval,
                                  .rise = p->check_rise,
                                  .fall = p->check_fall,
                                  .passive_fall = p->passive_fall,
                                  .slow_start_ms = p->slow_start};
}

static const char *const state_words[] = {
    [BACKEND_UP] = "up", [BACKEND_DRAIN] = "drain", [BACKEND_DOWN] = "down"};

const char *backend_state_name(enum backend_state state)
{
    return state_words[state];
}

bool backend_state_parse(struct slice word, enum backend_state *out_state)
{
    for (size_t i = 0; i < sizeof state_words / sizeof state_words[0]; i++) {
        if (slice_eq(word, slice_str(state_words[i]))) {
            *out_state = (enum backend_state)i;
            return true;
        }
    }
    return false;
}

static int fill(struct backends *b, uint16_t pool, uint16_t index, struct err *err)
{
    const struct conf_pool *p = &b->conf->pools[pool];
    uint32_t number = b->first[pool] + index;
    struct backend *be = &b->all[number];

    be->conf = &p->backends[index];
    be->pool = pool;
    be->index = index;
    be->meaning = conf_meaning(b->conf, pool, index);
    b->nodes[number] =
        (struct rendezvous_node){.hash = rendezvous_node_hash(p->title, be->conf->title),
                                 .weight = be->conf->weight * HEALTH_SHARE_WHOLE};
    queue_init(&be->queue);
    queue_init(&be->trials);
    list_init(&be->queueing);
    if (addr_split(slice_str(be->conf->address), &be->host, &be->port, err) < 0)
        return err_prefix(err, "backend %s", be->conf->title);
    if (addr_parse_ip(be->host, be->port, &be->addresses[0]))
        be->addresses_n = 1;
    /* Titles are unique over all pools, so that their numbers are the backends'. */
    if (add_title(b, slice_str(be->conf->title)) != number)
        return err_set(err, ENOMEM, "no memory for the backends");
    return 0;
}

int backends_init(struct backends *b, const struct conf *conf, struct err *err)
{
    size_t n = 0;

    *b = (struct backends){.conf = conf};
    map_init(&b->by_title);
    b->first = calloc(conf->pools_n + 1, sizeof *b->first);
    for (size_t i = 0; b->first && i < conf->pools_n; i++) {
        b->first[i] = (uint32_t)n;
        n += conf->pools[i].backends_n;
    }
    b->n = n;
    b->tries = calloc(conf->pools_n + 1, sizeof *b->tries);
    b->all = calloc(n + 1, sizeof *b->all);
    b->nodes = calloc(n + 1, sizeof *b->nodes);
    if (!b->first || !b->tries || !b->all || !b->nodes) {
        backends_done(b);
        return err_set(err, ENOMEM, "no memory for the backends");
    }
    for (size_t p = 0; p < conf->pools_n; p++) {
        for (size_t i = 0; i < conf->pools[p].backends_n; i++) {
            if (fill(b, (uint16_t)p, (uint16_t)i, err) < 0) {
                backends_done(b);
                return -1;
            }
        }
    }
    return 0;
}

void backends_done(struct backends *b)
{
    for (size_t i = 0; i < b->titles_n; i++)
        free(b->titles[i]);
    free(b->titles);
    map_done(&b->by_title);
    for (size_t i = 0; b->all && i < b->n; i++) {
        if (!b->all[i].conf)
            continue;
        queue_done(&b->all[i].queue);
        queue_done(&b->all[i].trials);
    }
    free(b->first);
    free(b->tries);
    free(b->all);
    free(b->nodes);
    *b = (struct backends){0};
}
