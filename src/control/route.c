/* The rules of control/route.h. What comes of the choice is control/admission.c's. */
#include "control/route.h"

#include <stdio.h>
#include <string.h>

static const char *title_of(const struct route *r, uint32_t backend)
{
    return backends_title(r->backends, backend);
}

static const char *pool_title(const struct route *r, uint16_t pool)
{
    return r->backends->conf->pools[pool].title;
}

static uint32_t pinned(const struct route *r, const struct user *u)
{
    const struct order *o = registry_order(r->registry, user_name(u));
    uint32_t pin = o ? o->pin : BACKEND_NONE;

    /* Titles are unique over all pools: a pin to a backend of another pool is about that pool. */
    if (pin != BACKEND_NONE && !backends_is_stranger(r->backends, pin) &&
        r->backends->all[pin].pool != u->pool)
        return BACKEND_NONE;
    return pin;
}

/* The backend that is this user's whatever happens; BACKEND_NONE when there is no such. */
static uint32_t fixed(const struct route *r, const struct user *u, const char **out_how)
{
    uint32_t pin = pinned(r, u);

    *out_how = pin != BACKEND_NONE ? "pinned to" : "placed on";
    return pin != BACKEND_NONE ? pin : u->placed;
}

static uint32_t check_fixed(const struct route *r, const struct user *u, uint32_t backend,
                            const char *how, char *out_why)
{
    const struct session *first = user_first(u);

    if (backends_is_stranger(r->backends, backend)) {
        snprintf(out_why, ROUTE_WHY, "the user is %s %s, which is not in the configuration", how,
                 title_of(r, backend));
        return BACKEND_NONE;
    }
    if (r->backends->all[backend].pool != u->pool) {
        snprintf(out_why, ROUTE_WHY, "the user is %s %s, which is no longer in pool %s", how,
                 title_of(r, backend), pool_title(r, u->pool));
        return BACKEND_NONE;
    }
    if (first && first->backend != backend) {
        snprintf(out_why, ROUTE_WHY, "the user is %s %s but has sessions on %s", how,
                 title_of(r, backend), title_of(r, first->backend));
        return BACKEND_NONE;
    }
    return backend;
}

static bool was_tried(const struct session *s, uint32_t backend)
{
    for (unsigned i = 0; i < s->attempt && i < ATTEMPTS_MAX; i++) {
        if (s->tried[i] == backend)
            return true;
    }
    return false;
}

/* --- affinity ------------------------------------------------------------------------------ */

static struct hash128 affinity_key(const struct route *r, const struct user *u)
{
    const char *pool = pool_title(r, u->pool);
    char text[CONF_NAME_MAX + 1 + IPC_USER_MAX];
    size_t n = strlen(pool);

    /* "pool/user": no pool's name holds a slash. */
    INSIST(n <= CONF_NAME_MAX && u->name_n <= IPC_USER_MAX);
    memcpy(text, pool, n);
    text[n++] = '/';
    memcpy(text + n, u->name, u->name_n);
    return hash_stable(slice_of(text, n + u->name_n));
}

static uint32_t find_affinity(const struct route *r, const struct session *s, uint64_t now_ms)
{
    const struct conf_pool *pool = &r->backends->conf->pools[s->pool];
    uint32_t first = r->backends->first[s->pool];
    struct shared_note note;

    if (!r->shared ||
        !shared_find(r->shared, affinity_key(r, s->user), now_ms / 1000, r->user_expire_s, &note))
        return BACKEND_NONE;
    for (uint32_t i = first; i < first + pool->backends_n; i++) {
        if (r->backends->nodes[i].hash.high == note.value)
            return r->backends->all[i].state == BACKEND_UP && !was_tried(s, i) ? i : BACKEND_NONE;
    }
    return BACKEND_NONE;
}

void route_remember(const struct route *r, const struct session *s, uint64_t now_ms)
{
    const struct shared_note note = {r->backends->nodes[s->backend].hash.high,
                                     (uint32_t)(now_ms / 1000)};

    if (r->shared && route_is_shared(r, s->pool))
        shared_put(r->shared, affinity_key(r, s->user), &note, NULL, NULL);
}

/* --- the hash ------------------------------------------------------------------------------ */

struct candidates {
    const struct route *route;
    const struct session *session;
};

static bool may_use(size_t index, const void *arg)
{
    const struct candidates *c = arg;
    const struct backends *b = c->route->backends;
    uint32_t backend = b->first[c->session->pool] + (uint32_t)index;

    switch (b->all[backend].state) {
    case BACKEND_UP:
        return !was_tried(c->session, backend);
    case BACKEND_DRAIN:
        return false;
    case BACKEND_DOWN:
        return !route_is_shared(c->route, c->session->pool);
    }
    return false;
}

static uint32_t by_hash(const struct route *r, const struct session *s)
{
    struct candidates c = {r, s};
    uint32_t first = r->backends->first[s->pool];
    long best =
        rendezvous_best(r->backends->nodes + first, r->backends->conf->pools[s->pool].backends_n,
                        hash_stable(user_name(s->user)), may_use, &c);

    return best < 0 ? BACKEND_NONE : first + (uint32_t)best;
}

/* ------------------------------------------------------------------------------------------- */

/* Affinity and hash: for a user who could go anywhere. */
static uint32_t choose_freely(const struct route *r, const struct session *s, uint64_t now_ms,
                              char *out_why)
{
    uint32_t backend = BACKEND_NONE;

    if (route_is_shared(r, s->pool))
        backend = find_affinity(r, s, now_ms);
    if (backend == BACKEND_NONE)
        backend = by_hash(r, s);
    if (backend == BACKEND_NONE)
        snprintf(out_why, ROUTE_WHY, "%sbackend of pool %s may be used",
                 s->attempt ? "no further " : "no ", pool_title(r, s->pool));
    return backend;
}

uint32_t route_choose(const struct route *r, const struct session *s, uint64_t now_ms,
                      char out_why[ROUTE_WHY])
{
    const struct session *first = user_first(s->user);
    const char *how;
    uint32_t backend = fixed(r, s->user, &how);

    if (backend != BACKEND_NONE)
        backend = check_fixed(r, s->user, backend, how, out_why);
    else if (first)
        backend = first->backend;
    else
        backend = choose_freely(r, s, now_ms, out_why);
    if (backend != BACKEND_NONE && r->backends->all[backend].state == BACKEND_DOWN) {
        snprintf(out_why, ROUTE_WHY, "backend %s is down by an operator's order",
                 title_of(r, backend));
        return BACKEND_NONE;
    }
    if (backend != BACKEND_NONE && was_tried(s, backend)) {
        snprintf(out_why, ROUTE_WHY, "backend %s has just failed, and the user %s it",
                 title_of(r, backend), first ? "has other sessions on" : "is pinned to");
        return BACKEND_NONE;
    }
    return backend;
}

bool route_may_stay(const struct route *r, const struct session *s, char out_why[ROUTE_WHY])
{
    const struct session *first = user_first(s->user);
    uint32_t placed = s->user->placed;

    if (first && first->stage == STAGE_DONE && first->backend != s->backend) {
        snprintf(out_why, ROUTE_WHY, "the user's other sessions are on %s",
                 title_of(r, first->backend));
        return false;
    }
    if (!route_is_shared(r, s->pool) && placed != BACKEND_NONE && placed != s->backend &&
        pinned(r, s->user) != s->backend) {
        snprintf(out_why, ROUTE_WHY, "the user is placed on %s", title_of(r, placed));
        return false;
    }
    return true;
}
