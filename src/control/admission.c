/* The dialogue of control/admission.h: what each message does to its session, and the three lines
 * in which sessions wait. Where a user goes is route.c's, the tables are registry.c's. */
#include "control/admission.h"

#include "control/route.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct admission {
    const struct conf *conf;
    struct backends *backends;
    const struct admission_effects *effects;
    void *arg;
    struct registry registry;
    struct route route;
    uint32_t epoch;
    uint32_t lease_number;
    size_t peers, attached; /* workers to be waited for; workers that ever came */
    size_t replays;         /* still to come */
    bool is_recovered;
    size_t opening_n; /* sessions in STAGE_OPENING */
    size_t held_n;    /* sessions in STAGE_HELD */
    /* Sessions in the order in which they came, and so, each line having one timeout, in that of
     * `until_ms`. */
    struct list replay_line; /* with a question that waits for the replays */
    struct list hold_line;
    struct list address_line;
};

struct admission *admission_new(const struct admission_params *params)
{
    struct admission *a = calloc(1, sizeof *a);

    if (!a)
        return NULL;
    a->conf = params->conf;
    a->backends = params->backends;
    a->effects = params->effects;
    a->arg = params->arg;
    a->epoch = params->epoch;
    registry_init(&a->registry);
    a->route = (struct route){.backends = a->backends,
                              .registry = &a->registry,
                              .user_expire_s = (a->conf->global.user_expire + 999) / 1000};
    list_init(&a->replay_line);
    list_init(&a->hold_line);
    list_init(&a->address_line);
    return a;
}

void admission_free(struct admission **a)
{
    if (!*a)
        return;
    registry_done(&(*a)->registry);
    free(*a);
    *a = NULL;
}

void admission_share(struct admission *a, struct shared *shared)
{
    a->route.shared = shared;
}

struct registry *admission_registry(struct admission *a)
{
    return &a->registry;
}

size_t admission_sessions(const struct admission *a)
{
    return a->registry.sessions_n;
}

size_t admission_users(const struct admission *a)
{
    return a->registry.users_n;
}

/* --- changing a session ---------------------------------------------------------------------
 *
 * Every session passes through these; nothing else touches stages, lines and their counts.
 */

static void join(struct list *line, struct session *s, uint64_t until_ms)
{
    s->until_ms = until_ms;
    list_append(line, &s->waiting);
}

/* Out of whatever line it waits in. */
static void leave(struct admission *a, struct session *s)
{
    list_remove(&s->waiting);
    s->result = RESULT_NONE;
    if (s->stage == STAGE_HELD) {
        INSIST(a->held_n > 0);
        a->held_n--;
        s->stage = STAGE_ASKING;
    } else if (s->stage == STAGE_OPENING) {
        INSIST(a->opening_n > 0);
        a->opening_n--;
        s->stage = STAGE_OPEN;
    }
}

/* This login is over; the session stays and may try another. */
static void give_up(struct admission *a, struct session *s)
{
    registry_unbind(s, STAGE_OPEN);
    registry_unname(&a->registry, s);
    s->lease = (struct lease_id){0};
    s->attempt = 0;
}

static void refuse(struct admission *a, struct session *s, enum refuse code, const char *why)
{
    give_up(a, s);
    a->effects->refuse(a->arg, s->worker, s->id, code, why);
}

static void end(struct admission *a, struct session *s, uint64_t now_ms)
{
    leave(a, s);
    if (s->stage == STAGE_DONE)
        route_remember(&a->route, s, now_ms);
    registry_remove(&a->registry, s);
}

/* --- leases -------------------------------------------------------------------------------- */

static void give_lease(struct admission *a, struct session *s)
{
    const struct backend *b = &a->backends->all[s->backend];
    struct msg_lease lease = {.pool = b->pool,
                              .backend = b->index,
                              .attempt = s->attempt,
                              .addresses_n = (uint16_t)b->addresses_n};

    if (++a->lease_number == 0)
        a->lease_number = 1;
    s->lease = lease.lease = (struct lease_id){a->epoch, a->lease_number};
    memcpy(lease.addresses, b->addresses, sizeof lease.addresses);
    registry_bind(s, s->backend, STAGE_LEASED);
    a->effects->lease(a->arg, s->worker, s->id, &lease);
}

/* Finds the session, which is on no backend, one to try. */
static void try_next(struct admission *a, struct session *s, uint64_t now_ms)
{
    char why[ROUTE_WHY];
    uint32_t backend = route_choose(&a->route, s, now_ms, why);

    if (backend == BACKEND_NONE) {
        refuse(a, s, REFUSE_UNAVAILABLE, why);
        return;
    }
    s->tried[s->attempt++] = backend;
    registry_bind(s, backend, STAGE_RESOLVING);
    if (a->backends->all[backend].addresses_n > 0)
        give_lease(a, s);
    else
        join(&a->address_line, s, now_ms + a->conf->global.connect_timeout);
}

/* The session's backend gave no verdict. With own storage that was it. With shared storage it goes
 * to the next; but while other sessions of the user are on a backend or trying it, these decide
 * where the user is, and route_choose() offers no other. It is refused then and not made to wait
 * for them: it could wait as long as all of their attempts take together, and clients come back by
 * themselves.
 */
static void attempt_failed(struct admission *a, struct session *s, const char *how, uint64_t now_ms)
{
    const char *title = backends_title(a->backends, s->backend);
    char why[ROUTE_WHY];

    if (route_is_shared(&a->route, s->pool) && s->attempt < ATTEMPTS_MAX) {
        registry_unbind(s, STAGE_ASKING);
        try_next(a, s, now_ms);
        return;
    }
    snprintf(why, sizeof why, "backend %s %s%s", title, how,
             s->attempt == ATTEMPTS_MAX ? ", the last that is tried" : "");
    refuse(a, s, REFUSE_UNAVAILABLE, why);
}

static void record_place(struct admission *a, struct session *s)
{
    if (route_is_shared(&a->route, s->pool) || s->user->placed != BACKEND_NONE)
        return;
    s->user->placed = s->backend;
    a->effects->placed(a->arg, user_name(s->user), a->conf->pools[s->pool].title,
                       backends_title(a->backends, s->backend));
}

static void logged_in(struct admission *a, struct session *s, uint64_t now_ms)
{
    char why[ROUTE_WHY];

    if (!route_may_stay(&a->route, s, why)) {
        refuse(a, s, REFUSE_UNAVAILABLE, why);
        return;
    }
    registry_bind(s, s->backend, STAGE_DONE);
    record_place(a, s);
    route_remember(&a->route, s, now_ms);
    a->effects->done(a->arg, s->worker, s->id);
}

/* --- questions, once the replays are in ---------------------------------------------------- */

static void answer_open(struct admission *a, struct session *s)
{
    struct admission_worker *w = s->worker;
    uint32_t id = s->id;
    char why[64];

    if (a->registry.sessions_n - a->opening_n < a->conf->global.max_sessions) {
        leave(a, s);
        a->effects->go(a->arg, w, id);
        return;
    }
    leave(a, s);
    registry_remove(&a->registry, s);
    snprintf(why, sizeof why, "max_sessions = %u", a->conf->global.max_sessions);
    a->effects->refuse(a->arg, w, id, REFUSE_UNAVAILABLE, why);
}

static void answer_admit(struct admission *a, struct session *s, uint64_t now_ms)
{
    const struct order *o = registry_order(&a->registry, user_name(s->user));

    if (!o || !o->is_held) {
        try_next(a, s, now_ms);
    } else if (a->held_n >= HELD_MAX) {
        refuse(a, s, REFUSE_INUSE, "the user is on hold, and too many logins wait already");
    } else {
        s->stage = STAGE_HELD;
        a->held_n++;
        join(&a->hold_line, s, now_ms + a->conf->global.hold_timeout);
        a->effects->held(a->arg, user_name(s->user), a->held_n);
    }
}

static void answer_result(struct admission *a, struct session *s, enum result result,
                          uint64_t now_ms)
{
    if (result == RESULT_OK)
        logged_in(a, s, now_ms);
    else
        attempt_failed(a, s, "failed", now_ms);
}

/* Answers the question for which the session waited, by its stage. */
static void answer_waiting(struct admission *a, struct session *s, uint64_t now_ms)
{
    uint8_t result = s->result;

    if (s->stage == STAGE_OPENING) {
        answer_open(a, s);
        return;
    }
    leave(a, s);
    if (s->stage == STAGE_ASKING)
        answer_admit(a, s, now_ms);
    else
        answer_result(a, s, (enum result)result, now_ms);
}

static void recover_if_complete(struct admission *a, uint64_t now_ms)
{
    if (a->is_recovered || a->replays > 0)
        return;
    a->is_recovered = true;
    a->effects->recovered(a->arg, a->registry.sessions_n - a->opening_n, a->registry.users_n);
    while (!list_empty(&a->replay_line))
        answer_waiting(a, CONTAINER(a->replay_line.next, struct session, waiting), now_ms);
}

/* --- messages ------------------------------------------------------------------------------ */

const char *admission_open(struct admission *a, struct admission_worker *w, uint32_t id,
                           const struct msg_open *m)
{
    struct session *s = registry_find(&a->registry, w, id);

    if (m->listener >= a->conf->listeners_n)
        return "OPEN: no such listener";
    if (s && s->stage != STAGE_OPEN)
        return "OPEN: the session is open already";
    if (!s && a->registry.sessions_n >= a->conf->global.max_sessions) {
        a->effects->refuse(a->arg, w, id, REFUSE_UNAVAILABLE, "max_sessions is reached");
        return NULL;
    }
    /* One that was replayed may be asked for again: its GO was lost with the old control. */
    if (!s)
        s = registry_add(&a->registry, w, id,
                         (uint16_t)conf_listener_pool(a->conf, &a->conf->listeners[m->listener]));
    if (!s) {
        a->effects->refuse(a->arg, w, id, REFUSE_UNAVAILABLE, "no memory");
        return NULL;
    }
    s->stage = STAGE_OPENING;
    a->opening_n++;
    if (a->is_recovered)
        answer_open(a, s);
    else
        join(&a->replay_line, s, 0);
    return NULL;
}

const char *admission_admit(struct admission *a, struct admission_worker *w, uint32_t id,
                            struct slice user, uint64_t now_ms)
{
    struct session *s = registry_find(&a->registry, w, id);

    if (!s)
        return "ADMIT: unknown session";
    if (s->stage != STAGE_OPEN)
        return "ADMIT: the session is not waiting for a login";
    if (!user_is_name(user))
        return "ADMIT: not a user's name";
    if (registry_name(&a->registry, s, user) < 0) {
        refuse(a, s, REFUSE_UNAVAILABLE, "no memory");
        return NULL;
    }
    s->stage = STAGE_ASKING;
    if (a->is_recovered)
        answer_admit(a, s, now_ms);
    else
        join(&a->replay_line, s, 0);
    return NULL;
}

const char *admission_result(struct admission *a, struct admission_worker *w, uint32_t id,
                             const struct msg_result *m, uint64_t now_ms)
{
    struct session *s = registry_find(&a->registry, w, id);

    if (!s)
        return "RESULT: unknown session";
    if (s->stage != STAGE_LEASED || s->result != RESULT_NONE)
        return "RESULT: the session has no open lease";
    if (s->lease.epoch != m->lease.epoch || s->lease.number != m->lease.number)
        return "RESULT: not the session's lease";
    if (m->result > RESULT_FAILED)
        return "RESULT: no such result";
    if (m->result == RESULT_REFUSED) {
        give_up(a, s);
    } else if (a->is_recovered) {
        answer_result(a, s, (enum result)m->result, now_ms);
    } else {
        s->result = (uint8_t)m->result;
        join(&a->replay_line, s, 0);
    }
    return NULL;
}

void admission_end(struct admission *a, struct admission_worker *w, uint32_t id, uint64_t now_ms)
{
    struct session *s = registry_find(&a->registry, w, id);

    if (s)
        end(a, s, now_ms);
}

/* --- replays ------------------------------------------------------------------------------- */

static const char *check_replay(const struct admission *a, const struct admission_worker *w,
                                uint32_t id, const struct msg_replay *m, struct slice user)
{
    if (w->is_replayed)
        return "REPLAY: after REPLAYED";
    if (m->listener >= a->conf->listeners_n || m->stage > REPLAY_RELAY)
        return "REPLAY: no such listener or stage";
    if (registry_find(&a->registry, w, id))
        return "REPLAY: the session is known already";
    if (m->stage != REPLAY_OPEN && !user_is_name(user))
        return "REPLAY: not a user's name";
    if (m->stage != REPLAY_OPEN && backends_at(a->backends, m->pool, m->backend) == BACKEND_NONE)
        return "REPLAY: no such backend";
    if (a->registry.sessions_n >= REPLAY_MAX)
        return "REPLAY: too many sessions";
    return NULL;
}

/* The session's login, as far as it has come. What it tried before is not told. */
static void take_login(struct admission *a, struct session *s, const struct msg_replay *m,
                       uint64_t now_ms)
{
    uint32_t backend = backends_at(a->backends, m->pool, m->backend);

    s->attempt = (uint8_t)(m->attempt < 1              ? 1
                           : m->attempt > ATTEMPTS_MAX ? ATTEMPTS_MAX
                                                       : m->attempt);
    for (unsigned i = 0; i < ATTEMPTS_MAX; i++)
        s->tried[i] = backend;
    s->lease = m->lease;
    registry_bind(s, backend, m->stage == REPLAY_RELAY ? STAGE_DONE : STAGE_LEASED);
    if (s->stage == STAGE_DONE) {
        record_place(a, s);
        route_remember(&a->route, s, now_ms);
    }
}

const char *admission_replay(struct admission *a, struct admission_worker *w, uint32_t id,
                             const struct msg_replay *m, struct slice user, uint64_t now_ms)
{
    const char *wrong = check_replay(a, w, id, m, user);
    struct session *s;
    uint16_t pool;

    if (wrong)
        return wrong;
    pool = m->stage == REPLAY_OPEN
               ? (uint16_t)conf_listener_pool(a->conf, &a->conf->listeners[m->listener])
               : m->pool;
    s = registry_add(&a->registry, w, id, pool);
    if (!s)
        return "REPLAY: no memory";
    s->stage = STAGE_OPEN;
    if (m->stage == REPLAY_OPEN)
        return NULL;
    if (registry_name(&a->registry, s, user) < 0) {
        registry_remove(&a->registry, s);
        return "REPLAY: no memory";
    }
    take_login(a, s, m, now_ms);
    return NULL;
}

static void settle(struct admission *a, struct admission_worker *w, uint64_t now_ms)
{
    if (w->is_replayed)
        return;
    w->is_replayed = true;
    if (!w->is_awaited)
        return;
    INSIST(a->replays > 0);
    a->replays--;
    recover_if_complete(a, now_ms);
}

const char *admission_replayed(struct admission *a, struct admission_worker *w, uint64_t now_ms)
{
    if (w->is_replayed)
        return "REPLAYED: said before";
    settle(a, w, now_ms);
    return NULL;
}

/* --- workers ------------------------------------------------------------------------------- */

void admission_start(struct admission *a, size_t peers, uint64_t now_ms)
{
    a->peers = a->replays = peers;
    recover_if_complete(a, now_ms);
}

void admission_attach(struct admission *a, struct admission_worker *w)
{
    registry_attach(w);
    w->is_awaited = a->attached++ < a->peers;
}

struct ending {
    struct admission *a;
    uint64_t now_ms;
};

static void end_each(struct map_node *node, void *arg)
{
    const struct ending *e = arg;

    end(e->a, CONTAINER(node, struct session, node), e->now_ms);
}

void admission_detach(struct admission *a, struct admission_worker *w, uint64_t now_ms)
{
    struct ending e = {a, now_ms};

    map_each(&w->sessions, end_each, &e);
    map_done(&w->sessions);
    settle(a, w, now_ms);
}

/* --- time and news ------------------------------------------------------------------------- */

void admission_addresses(struct admission *a, uint32_t backend)
{
    list_for_each_safe (it, &a->address_line) {
        struct session *s = CONTAINER(it, struct session, waiting);

        if (s->backend == backend) {
            leave(a, s);
            give_lease(a, s);
        }
    }
}

static uint64_t first_until(const struct list *line)
{
    return list_empty(line) ? 0 : CONTAINER(line->next, struct session, waiting)->until_ms;
}

uint64_t admission_due_ms(const struct admission *a)
{
    uint64_t hold = first_until(&a->hold_line);
    uint64_t address = first_until(&a->address_line);

    if (hold == 0 || address == 0)
        return hold + address;
    return hold < address ? hold : address;
}

/* The first of the line, taken out, if its time is over. */
static struct session *take_late(struct admission *a, struct list *line, uint64_t now_ms)
{
    struct session *s;

    if (list_empty(line) || first_until(line) > now_ms)
        return NULL;
    s = CONTAINER(line->next, struct session, waiting);
    leave(a, s);
    return s;
}

void admission_tick(struct admission *a, uint64_t now_ms)
{
    struct session *s;

    while ((s = take_late(a, &a->hold_line, now_ms)) != NULL)
        refuse(a, s, REFUSE_INUSE, "the user is on hold");
    while ((s = take_late(a, &a->address_line, now_ms)) != NULL)
        attempt_failed(a, s, "has no known address", now_ms);
}

void admission_release(struct admission *a, struct slice user, uint64_t now_ms)
{
    struct order *o = registry_order(&a->registry, user);

    if (!o || !o->is_held)
        return;
    o->is_held = false;
    list_for_each_safe (it, &a->hold_line) {
        struct session *s = CONTAINER(it, struct session, waiting);

        if (slice_eq(user_name(s->user), user)) {
            leave(a, s);
            try_next(a, s, now_ms);
        }
    }
}
