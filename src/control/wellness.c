/* What comes of the health of backends, control/wellness.h. */
#include "control/wellness.h"

#include "control/answers.h"

/* By which the probes of many backends are spread. */
static uint32_t seed_of(const struct admission *a, uint32_t backend)
{
    return (uint32_t)a->backends->nodes[backend].hash.low;
}

void wellness_init(struct admission *a, uint64_t now_ms)
{
    for (uint32_t i = 0; i < a->backends->n; i++) {
        const struct health_params p = backends_health_params(a->backends, i);

        health_init(&a->backends->all[i].health, &p, seed_of(a, i), now_ms);
    }
}

/* --- what comes of a change ---------------------------------------------------------------- */

struct ending {
    struct admission *a;
    uint32_t backend;
};

static void kick_there(void *arg, struct session *s)
{
    const struct ending *e = arg;

    if (s->backend == e->backend && s->stage == STAGE_DONE)
        admission_kick(e->a, s, KICK_DOWN);
}

static bool serves(enum health_state state)
{
    return state == HEALTH_UP || state == HEALTH_FAILING;
}

bool wellness_empties(const struct admission *a, uint32_t backend)
{
    const struct conf_pool *pool;

    if (backends_is_stranger(a->backends, backend))
        return false;
    pool = &a->conf->pools[a->backends->all[backend].pool];
    return pool->storage == STORAGE_SHARED && pool->on_down == ON_DOWN_KICK &&
           !backends_serves(a->backends, backend);
}

static void on_down(struct admission *a, uint32_t backend, uint64_t now_ms)
{
    struct ending e = {a, backend};

    entrance_empty(a, backend, now_ms);
    if (wellness_empties(a, backend))
        registry_each_session(&a->registry, kick_there, &e);
}

static void on_change(struct admission *a, uint32_t backend, enum health_state was,
                      uint64_t lasted_ms, struct slice detail, uint64_t now_ms)
{
    enum health_state is = (enum health_state)a->backends->all[backend].health.state;

    a->effects->health(a->arg, backend, was, lasted_ms, detail);
    if (serves(was) && !serves(is))
        on_down(a, backend, now_ms);
    if (!serves(was) && serves(is)) {
        a->backends->all[backend].has_room_again = true;
        a->backends->all[backend].is_back = true;
        a->is_warming = true;
        a->warm_due_ms = now_ms;
    }
}

/* --- news ---------------------------------------------------------------------------------- */

void wellness_probed(struct admission *a, uint32_t backend, bool is_ok, struct slice detail,
                     uint64_t now_ms)
{
    struct health *h = &a->backends->all[backend].health;
    const struct health_params p = backends_health_params(a->backends, backend);
    enum health_state was = (enum health_state)h->state;
    uint64_t lasted_ms = now_ms - h->since_ms;

    if (health_probed(h, &p, is_ok, now_ms))
        on_change(a, backend, was, lasted_ms, detail, now_ms);
}

static void learn(struct admission *a, const struct session *s, bool is_ok, uint64_t now_ms)
{
    uint32_t backend = s->backend;
    struct health *h = &a->backends->all[backend].health;
    const struct health_params p = backends_health_params(a->backends, backend);
    enum health_state was = (enum health_state)h->state;
    uint64_t lasted_ms = now_ms - h->since_ms;
    /* A whole site counts as one: who has a /48 has many networks. */
    const struct source *site = s->source && s->source->wider ? s->source->wider : s->source;
    struct in6_addr network = site ? site->network.prefix : s->client;
    uint32_t user = (uint32_t)hash_key(user_name(s->user));
    uint32_t address = (uint32_t)hash_key(slice_of(&network, sizeof network));

    if (health_login(h, &p, is_ok, user, address, now_ms))
        on_change(a, backend, was, lasted_ms, SLICE("logins there have failed"), now_ms);
}

/* What goes by this title in the worker's configuration may be another server. */
void wellness_login(struct admission *a, const struct session *s, bool is_ok, uint64_t now_ms)
{
    if (registry_knows(&a->registry, s->worker, s->backend))
        learn(a, s, is_ok, now_ms);
}

/* --- slow start ---------------------------------------------------------------------------- */

/* With own storage a weight says where a user's mail is, and does not change. Returns its share. */
static uint32_t weigh(struct admission *a, uint32_t backend, uint64_t now_ms)
{
    const struct backend *b = &a->backends->all[backend];
    const struct health_params p = backends_health_params(a->backends, backend);
    uint32_t share = health_share(&b->health, &p, now_ms);

    if (route_is_shared(&a->route, b->pool))
        a->backends->nodes[backend].weight = b->conf->weight * share;
    return share;
}

static void warm(struct admission *a, uint32_t backend, uint64_t now_ms)
{
    struct backend *b = &a->backends->all[backend];

    /* Whose users are to return is not known before the replays are in. */
    if (weigh(a, backend, now_ms) < HEALTH_SHARE_WHOLE || !a->is_recovered) {
        a->is_warming = true;
        return;
    }
    b->is_back = false;
    a->effects->came_back(a->arg, backend, now_ms);
}

void wellness_tick(struct admission *a, uint64_t now_ms)
{
    if (!a->is_warming || now_ms < a->warm_due_ms)
        return;
    a->is_warming = false;
    a->warm_due_ms = now_ms + WARM_MS;
    for (uint32_t i = 0; i < a->backends->n; i++) {
        struct backend *b = &a->backends->all[i];

        if (b->is_back && health_serves(&b->health))
            warm(a, i, now_ms);
        else
            b->is_back = false;
    }
}

uint64_t wellness_due_ms(const struct admission *a)
{
    return a->is_warming ? a->warm_due_ms : 0;
}

/* --- going on with it ---------------------------------------------------------------------- */

void wellness_resume(struct admission *a, uint32_t backend, const struct health_record *record,
                     bool is_back, uint64_t now_ms)
{
    struct backend *b = &a->backends->all[backend];
    const struct health_params p = backends_health_params(a->backends, backend);

    health_resume(&b->health, &p, seed_of(a, backend), record, now_ms);
    b->is_back = is_back && health_serves(&b->health);
    if (!b->is_back)
        return;
    a->is_warming = true;
    a->warm_due_ms = now_ms;
    weigh(a, backend, now_ms);
}
