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

/* Which rule has spoken. */
enum rule { BY_PIN, BY_DIRECTORY, BY_PLACEMENT, BY_TRIAL, BY_SESSIONS, BY_AFFINITY, BY_HASH };

/* Whom a login is about, as far as the rules ask. */
struct who {
    struct slice name;
    uint16_t pool;
    const struct user *user; /* NULL: nothing is known of the user */
    uint32_t told;           /* by a directory; BACKEND_NONE */
    const uint16_t *tried;   /* backends of this login */
    unsigned tried_n;
};

static struct who who_is(const struct session *s)
{
    return (struct who){.name = user_name(s->user),
                        .pool = s->pool,
                        .user = s->user,
                        .told = s->login->backend,
                        .tried = s->login->tried,
                        .tried_n = s->attempt};
}

uint32_t route_pin(const struct route *r, uint16_t pool, struct slice user)
{
    const struct order *o = registry_order(r->registry, user);
    uint32_t pin = o ? o->pin : BACKEND_NONE;

    /* Titles are unique over all pools: a pin to a backend of another pool is about that pool. */
    if (pin != BACKEND_NONE && !backends_is_stranger(r->backends, pin) &&
        r->backends->all[pin].pool != pool)
        return BACKEND_NONE;
    return pin;
}

static uint32_t placed(const struct who *w)
{
    return w->user ? w->user->placed : BACKEND_NONE;
}

static const struct session *first_of(const struct who *w)
{
    return w->user ? user_first(w->user) : NULL;
}

/* Whether these sessions are where new ones cannot go: the backend was taken out of the pool while
 * they lived. */
static bool is_stranded(const struct route *r, const struct session *first)
{
    return first && !backends_has(r->backends, first->backend, first->pool);
}

bool route_is_stranded(const struct route *r, const struct user *u)
{
    return is_stranded(r, user_first(u));
}

static const char *words_of(enum rule rule)
{
    return rule == BY_PIN         ? "pinned to"
           : rule == BY_DIRECTORY ? "sent by a directory to"
                                  : "placed on";
}

/* The backend that is this user's whatever happens; BACKEND_NONE when there is no such. */
static uint32_t fixed(const struct route *r, const struct who *w, enum rule *out_rule)
{
    uint32_t pin = route_pin(r, w->pool, w->name);

    *out_rule = pin != BACKEND_NONE       ? BY_PIN
                : w->told != BACKEND_NONE ? BY_DIRECTORY
                                          : BY_PLACEMENT;
    return pin != BACKEND_NONE ? pin : w->told != BACKEND_NONE ? w->told : placed(w);
}

static uint32_t check_fixed(const struct route *r, const struct who *w, uint32_t backend,
                            const char *how, char *out_why)
{
    const struct session *first = first_of(w);

    if (backends_is_stranger(r->backends, backend)) {
        snprintf(out_why, ROUTE_WHY, "the user is %s %s, which is not in the configuration", how,
                 title_of(r, backend));
        return BACKEND_NONE;
    }
    if (r->backends->all[backend].pool != w->pool) {
        snprintf(out_why, ROUTE_WHY, "the user is %s %s, which is no longer in pool %s", how,
                 title_of(r, backend), pool_title(r, w->pool));
        return BACKEND_NONE;
    }
    if (first && first->backend != backend && !is_stranded(r, first)) {
        snprintf(out_why, ROUTE_WHY, "the user is %s %s but has sessions on %s", how,
                 title_of(r, backend), title_of(r, first->backend));
        return BACKEND_NONE;
    }
    return backend;
}

static bool was_tried(const struct who *w, uint32_t backend)
{
    for (unsigned i = 0; i < w->tried_n && i < ATTEMPTS_MAX; i++) {
        if (w->tried[i] == backend)
            return true;
    }
    return false;
}

/* --- affinity ------------------------------------------------------------------------------ */

static struct hash128 affinity_key(const struct route *r, uint16_t in, struct slice user)
{
    const char *pool = pool_title(r, in);
    char text[CONF_NAME_MAX + 1 + IPC_USER_MAX];
    size_t n = strlen(pool);

    /* "pool/user": no pool's name holds a slash. */
    INSIST(n <= CONF_NAME_MAX && user.n <= IPC_USER_MAX);
    memcpy(text, pool, n);
    text[n++] = '/';
    memcpy(text + n, user.p, user.n);
    return hash_stable(slice_of(text, n + user.n));
}

static uint32_t find_affinity(const struct route *r, const struct who *w, uint64_t now_ms)
{
    const struct conf_pool *pool = &r->backends->conf->pools[w->pool];
    uint32_t first = r->backends->first[w->pool];
    struct shared_note note;

    if (!r->shared || !route_is_shared(r, w->pool) ||
        !shared_find(r->shared, affinity_key(r, w->pool, w->name), now_ms / 1000, r->user_expire_s,
                     &note))
        return BACKEND_NONE;
    for (uint32_t i = first; i < first + pool->backends_n; i++) {
        if (r->backends->nodes[i].hash.high == note.value)
            return i;
    }
    return BACKEND_NONE;
}

void route_note(const struct route *r, uint16_t pool, struct slice user, uint32_t backend,
                uint64_t now_ms)
{
    const struct shared_note note = {r->backends->nodes[backend].hash.high,
                                     (uint32_t)(now_ms / 1000)};

    if (r->shared && route_is_shared(r, pool))
        shared_put(r->shared, affinity_key(r, pool, user), &note, NULL, NULL);
}

void route_remember(const struct route *r, const struct session *s, uint64_t now_ms)
{
    if (backends_has(r->backends, s->backend, s->pool))
        route_note(r, s->pool, user_name(s->user), s->backend, now_ms);
}

bool route_forget(const struct route *r, uint16_t pool, struct slice user)
{
    return r->shared && route_is_shared(r, pool) &&
           shared_remove(r->shared, affinity_key(r, pool, user));
}

/* --- the hash ------------------------------------------------------------------------------ */

/* By its state and health alone. */
static bool is_open(const struct route *r, uint32_t backend)
{
    const struct backend *b = &r->backends->all[backend];

    if (b->state == BACKEND_DRAIN)
        return false;
    return !backends_is_down(r->backends, backend) || !route_is_shared(r, b->pool);
}

struct candidates {
    const struct route *route;
    const struct who *who;
    bool are_backups;
};

static bool may_use(size_t index, const void *arg)
{
    const struct candidates *c = arg;
    uint32_t backend = c->route->backends->first[c->who->pool] + (uint32_t)index;

    if (!is_open(c->route, backend) ||
        c->route->backends->all[backend].conf->backup != c->are_backups)
        return false;
    return backends_is_down(c->route->backends, backend) || !was_tried(c->who, backend);
}

static uint32_t best_of(const struct route *r, const struct who *w, bool are_backups)
{
    struct candidates c = {r, w, are_backups};
    uint32_t first = r->backends->first[w->pool];
    long best =
        rendezvous_best(r->backends->nodes + first, r->backends->conf->pools[w->pool].backends_n,
                        hash_stable(w->name), may_use, &c);

    return best < 0 ? BACKEND_NONE : first + (uint32_t)best;
}

static uint32_t by_hash(const struct route *r, const struct who *w)
{
    uint32_t best = best_of(r, w, false);

    return best != BACKEND_NONE ? best : best_of(r, w, true);
}

uint32_t route_home(const struct route *r, uint16_t pool, struct slice user)
{
    const struct who w = {.name = user, .pool = pool, .told = BACKEND_NONE};

    return best_of(r, &w, false);
}

/* --- the order, for trials ----------------------------------------------------------------- */

uint32_t route_nth(const struct route *r, uint16_t pool, struct slice user, unsigned nth)
{
    uint32_t first = r->backends->first[pool];
    size_t n = r->backends->conf->pools[pool].backends_n;
    struct hash128 hash = hash_stable(user);
    double scores[CONF_BACKENDS_MAX];

    for (size_t i = 0; i < n; i++)
        scores[i] = rendezvous_score(&r->backends->nodes[first + i], hash);
    for (size_t i = 0; i < n; i++) {
        unsigned before = 0;

        for (size_t k = 0; k < n; k++)
            before += k < i ? scores[k] >= scores[i] : scores[k] > scores[i];
        if (before == nth)
            return first + (uint32_t)i;
    }
    return BACKEND_NONE;
}

static bool tries_all(const struct route *r, const struct who *w)
{
    const struct conf_pool *pool = &r->backends->conf->pools[w->pool];
    const struct session *first = first_of(w);
    enum rule rule;

    return pool->storage == STORAGE_OWN && pool->place == PLACE_TRY &&
           fixed(r, w, &rule) == BACKEND_NONE && !(first && first->stage == STAGE_DONE);
}

bool route_is_trial(const struct route *r, const struct session *s)
{
    const struct who w = who_is(s);

    return tries_all(r, &w);
}

/* ------------------------------------------------------------------------------------------- */

/* Affinity and hash: for a user who could go anywhere. */
static uint32_t choose_freely(const struct route *r, const struct who *w, uint64_t now_ms,
                              enum rule *out_rule, char *out_why)
{
    uint32_t backend = find_affinity(r, w, now_ms);

    *out_rule = BY_AFFINITY;
    if (backend != BACKEND_NONE && r->backends->all[backend].state == BACKEND_UP &&
        backends_serves(r->backends, backend) && !was_tried(w, backend))
        return backend;
    *out_rule = BY_HASH;
    backend = by_hash(r, w);
    if (backend == BACKEND_NONE)
        snprintf(out_why, ROUTE_WHY, "%sbackend of pool %s may be used",
                 w->tried_n ? "no further " : "no ", pool_title(r, w->pool));
    return backend;
}

/* BACKEND_NONE, if the backend that a rule has named cannot be had; `out_why` says why not. */
static uint32_t check_usable(const struct route *r, const struct who *w, uint32_t backend,
                             enum rule rule, char *out_why)
{
    if (r->backends->all[backend].state == BACKEND_DOWN) {
        snprintf(out_why, ROUTE_WHY, "backend %s is down by an operator's order",
                 title_of(r, backend));
        return BACKEND_NONE;
    }
    if (!backends_serves(r->backends, backend)) {
        snprintf(out_why, ROUTE_WHY, "backend %s is down, as its probes or the logins there say",
                 title_of(r, backend));
        return BACKEND_NONE;
    }
    if (was_tried(w, backend)) {
        snprintf(out_why, ROUTE_WHY, "backend %s has just failed, and the user %s%s it",
                 title_of(r, backend), rule == BY_SESSIONS ? "" : "is ",
                 rule == BY_SESSIONS ? "has other sessions on" : words_of(rule));
        return BACKEND_NONE;
    }
    return backend;
}

/* Where the user's other sessions are; or, when new ones cannot go there, where else. Own storage:
 * nowhere, since the user's mail is there. */
static uint32_t join(const struct route *r, const struct who *w, uint64_t now_ms,
                     enum rule *out_rule, char *out_why)
{
    const struct session *first = first_of(w);

    *out_rule = BY_SESSIONS;
    if (!is_stranded(r, first))
        return first->backend;
    if (route_is_shared(r, w->pool))
        return choose_freely(r, w, now_ms, out_rule, out_why);
    snprintf(out_why, ROUTE_WHY, "the user has sessions on %s, which is not in pool %s any more",
             title_of(r, first->backend), pool_title(r, w->pool));
    return BACKEND_NONE;
}

/* BACKEND_NONE: none, and `out_why` says why not. */
static uint32_t decide(const struct route *r, const struct who *w, uint64_t now_ms,
                       enum rule *out_rule, char *out_why)
{
    uint32_t backend = fixed(r, w, out_rule);

    if (backend != BACKEND_NONE) {
        backend = check_fixed(r, w, backend, words_of(*out_rule), out_why);
    } else if (tries_all(r, w)) {
        *out_rule = BY_TRIAL;
        return route_nth(r, w->pool, w->name, 0);
    } else if (first_of(w)) {
        backend = join(r, w, now_ms, out_rule, out_why);
    } else {
        backend = choose_freely(r, w, now_ms, out_rule, out_why);
    }
    return backend == BACKEND_NONE ? BACKEND_NONE : check_usable(r, w, backend, *out_rule, out_why);
}

uint32_t route_choose(const struct route *r, const struct session *s, uint64_t now_ms,
                      char out_why[ROUTE_WHY])
{
    const struct who w = who_is(s);
    enum rule rule;

    return decide(r, &w, now_ms, &rule, out_why);
}

bool route_may_stay(const struct route *r, const struct session *s, char out_why[ROUTE_WHY])
{
    const struct session *first = user_first(s->user);
    uint32_t place = s->user->placed;
    uint32_t pin = route_pin(r, s->pool, user_name(s->user));
    uint32_t told = s->login ? s->login->backend : BACKEND_NONE;

    if (first && first->stage == STAGE_DONE && first->backend != s->backend) {
        snprintf(out_why, ROUTE_WHY, "the user's other sessions are on %s",
                 title_of(r, first->backend));
        return false;
    }
    if (pin != BACKEND_NONE && pin != s->backend) {
        snprintf(out_why, ROUTE_WHY, "the user is pinned to %s", title_of(r, pin));
        return false;
    }
    if (!route_is_shared(r, s->pool) && place != BACKEND_NONE && place != s->backend &&
        pin != s->backend && told != s->backend) {
        snprintf(out_why, ROUTE_WHY, "the user is placed on %s", title_of(r, place));
        return false;
    }
    return true;
}

/* --- for people ---------------------------------------------------------------------------- */

/* They end first, before a login is served: all but trials, which may come to nothing. */
static void explain_stranded(const struct route *r, enum rule rule, struct route_view *view)
{
    size_t n = strlen(view->why);

    if (rule != BY_TRIAL)
        snprintf(view->why + n, ROUTE_WHY - n, "; the sessions on %s are ended first",
                 title_of(r, view->live));
}

static void explain_chosen(const struct route *r, enum rule rule, struct route_view *view)
{
    const char *title = title_of(r, view->chosen);

    switch (rule) {
    case BY_PIN:
    case BY_DIRECTORY:
    case BY_PLACEMENT:
        snprintf(view->why, ROUTE_WHY, "the user is %s %s", words_of(rule), title);
        break;
    case BY_TRIAL:
        snprintf(view->why, ROUTE_WHY,
                 "nobody knows where the user is: all backends are tried, %s first", title);
        break;
    case BY_SESSIONS:
        snprintf(view->why, ROUTE_WHY, "the user has sessions on %s, or is logging in there",
                 title);
        break;
    case BY_AFFINITY:
        snprintf(view->why, ROUTE_WHY, "the user was on %s lately", title);
        break;
    case BY_HASH:
        snprintf(view->why, ROUTE_WHY, "%s is the hash's first among those that may serve", title);
        break;
    }
}

void route_explain(const struct route *r, uint16_t pool, struct slice user, uint32_t told,
                   uint64_t now_ms, struct route_view *out_view)
{
    const struct who w = {
        .name = user, .pool = pool, .user = registry_user(r->registry, pool, user), .told = told};
    const struct session *first = first_of(&w);
    enum rule rule;

    *out_view = (struct route_view){.pin = route_pin(r, pool, user),
                                    .placed = placed(&w),
                                    .live = first ? first->backend : BACKEND_NONE,
                                    .affinity = find_affinity(r, &w, now_ms)};
    out_view->chosen = decide(r, &w, now_ms, &rule, out_view->why);
    if (out_view->chosen == BACKEND_NONE)
        return;
    explain_chosen(r, rule, out_view);
    if (is_stranded(r, first))
        explain_stranded(r, rule, out_view);
}
