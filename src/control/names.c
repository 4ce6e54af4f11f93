/* The tables of control/names.h. */
#include "control/names.h"

#include <stdlib.h>
#include <string.h>

/* An index pair in one number; no pair is this one. */
#define INDEX_NONE UINT32_MAX

static uint32_t pair(uint32_t pool, uint32_t index)
{
    return pool << 16 | index;
}

_Static_assert(CONF_POOLS_MAX < UINT16_MAX && CONF_BACKENDS_MAX < UINT16_MAX, "pair()");

void names_init(struct names *n, struct backends *backends)
{
    *n = (struct names){.backends = backends};
}

void names_done(struct names *n)
{
    for (size_t i = 0; i < CONF_POOLS_MAX; i++)
        free(n->pools[i].numbers);
    free(n->indices);
    *n = (struct names){0};
}

/* --- taking them --------------------------------------------------------------------------- */

static const char *take_listener(struct names *n, const struct msg_name *m, const char *title)
{
    const struct conf *conf = n->backends->conf;
    size_t i = 0;

    if (m->index != n->listeners_n || m->index >= CONF_LISTENERS_MAX || m->pool >= CONF_POOLS_MAX)
        return "NAME: not the next listener";
    while (i < conf->listeners_n && strcmp(conf->listeners[i].title, title) != 0)
        i++;
    n->listeners[m->index].named = m->pool;
    n->listeners[m->index].pool = i < conf->listeners_n
                                      ? (uint16_t)conf_listener_pool(conf, &conf->listeners[i])
                                      : NAMES_NONE;
    n->listeners_n++;
    return NULL;
}

static const char *take_pool(struct names *n, const struct msg_name *m, const char *title)
{
    const struct conf *conf = n->backends->conf;
    size_t i = 0;

    if (m->index != n->pools_n || m->index >= CONF_POOLS_MAX)
        return "NAME: not the next pool";
    while (i < conf->pools_n && strcmp(conf->pools[i].title, title) != 0)
        i++;
    n->pools[m->index].pool = (uint16_t)i;
    n->pools_n++;
    return NULL;
}

/* BACKEND_NONE: memory is out. */
static uint32_t number_of(struct backends *b, struct slice title)
{
    uint32_t number = backends_find(b, title);

    if (number != BACKEND_NONE)
        return number;
    return backends_number(b, b->titles_n < BACKENDS_TITLES_MAX ? title : SLICE(NAMES_FURTHER));
}

static bool reserve(struct names *n, size_t pool)
{
    size_t cap = n->pools[pool].cap ? 2 * n->pools[pool].cap : 8;
    uint32_t *more;

    if (n->pools[pool].n < n->pools[pool].cap)
        return true;
    more = realloc(n->pools[pool].numbers, cap * sizeof *more);
    if (!more)
        return false;
    n->pools[pool].numbers = more;
    n->pools[pool].cap = cap;
    return true;
}

static bool make_indices(struct names *n)
{
    size_t size = n->backends->n * sizeof *n->indices;

    if (n->indices)
        return true;
    n->indices = malloc(size + 1);
    if (!n->indices)
        return false;
    memset(n->indices, 0xff, size);
    return true;
}

static const char *take_backend(struct names *n, const struct msg_name *m, struct slice title)
{
    uint32_t number;

    if (m->pool >= CONF_POOLS_MAX || m->index != n->pools[m->pool].n ||
        n->backends_n >= CONF_BACKENDS_MAX)
        return "NAME: not the next backend";
    number = number_of(n->backends, title);
    if (number == BACKEND_NONE || !make_indices(n) || !reserve(n, m->pool))
        return "NAME: no memory";
    n->pools[m->pool].numbers[n->pools[m->pool].n++] = number;
    n->backends_n++;
    if (!backends_is_stranger(n->backends, number) && n->indices[number] == INDEX_NONE &&
        n->backends->all[number].meaning == m->meaning)
        n->indices[number] = pair(m->pool, m->index);
    return NULL;
}

/* As the configuration's are (conf/conf.h): it comes into logs and answers. */
static bool take_title(struct slice title, char out_text[CONF_NAME_MAX + 1])
{
    static const char chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

    if (title.n == 0 || title.n > CONF_NAME_MAX)
        return false;
    memcpy(out_text, title.p, title.n);
    out_text[title.n] = '\0';
    return strspn(out_text, chars) == title.n && !strchr("._-", out_text[0]);
}

const char *names_take(struct names *n, const struct msg_name *m, struct slice title)
{
    char text[CONF_NAME_MAX + 1];

    if (!take_title(title, text))
        return "NAME: not a title";
    switch (m->kind) {
    case NAME_LISTENER:
        return take_listener(n, m, text);
    case NAME_POOL:
        return take_pool(n, m, text);
    case NAME_BACKEND:
        return take_backend(n, m, title);
    default:
        return "NAME: of no kind";
    }
}

/* --- asking them --------------------------------------------------------------------------- */

bool names_door(const struct names *n, uint32_t listener, uint16_t *out_pool)
{
    uint16_t pool;

    if (listener >= n->listeners_n)
        return false;
    pool = n->listeners[listener].pool;
    if (pool == NAMES_NONE && n->listeners[listener].named < n->pools_n)
        pool = n->pools[n->listeners[listener].named].pool;
    *out_pool = pool != NAMES_NONE && backends_has_pool(n->backends, pool) ? pool : 0;
    return true;
}

const char *names_whereabouts(const struct names *n, const struct msg_replay *m,
                              struct whereabouts *out_at)
{
    struct whereabouts at = {.backend = BACKEND_NONE};

    if (!names_door(n, m->listener, &at.door))
        return "REPLAY: no such listener";
    at.pool = at.door;
    if (m->stage != REPLAY_OPEN) {
        if (m->pool >= n->pools_n || m->backend >= n->pools[m->pool].n)
            return "REPLAY: no such backend";
        at.pool = n->pools[m->pool].pool;
        at.backend = n->pools[m->pool].numbers[m->backend];
    }
    *out_at = at;
    return NULL;
}

bool names_index(const struct names *n, uint32_t backend, uint16_t *out_pool, uint16_t *out_index)
{
    uint32_t found = n->indices && !backends_is_stranger(n->backends, backend) ? n->indices[backend]
                                                                               : INDEX_NONE;

    if (found == INDEX_NONE)
        return false;
    *out_pool = (uint16_t)(found >> 16);
    *out_index = (uint16_t)found;
    return true;
}
