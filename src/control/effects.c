/* What admission, probes and resolving want of the world: messages to workers and lookup,
 * placements in the state file, words in the log. */
#include "control/control_parts.h"

#include "control/tell.h"

#include <string.h>

/* --- what admission wants ------------------------------------------------------------------ */

static struct channel *channel_of(struct admission_worker *w)
{
    return &CONTAINER(w, struct peer, worker)->channel;
}

static void send_go(void *arg, struct admission_worker *w, uint32_t id)
{
    (void)arg;
    channel_send(channel_of(w), MSG_GO, id, NULL, SLICE(""), -1);
}

static void send_lease(void *arg, struct admission_worker *w, uint32_t id,
                       const struct msg_lease *lease, struct slice tail)
{
    const struct control *c = arg;
    struct msg_lease theirs = *lease;

    /* Admission has asked before whether the worker knows it. */
    INSIST(names_index(w->names, backends_at(&c->backends, lease->pool, lease->backend),
                       &theirs.pool, &theirs.backend));
    channel_send(channel_of(w), MSG_LEASE, id, &theirs, tail, -1);
}

static void send_done(void *arg, struct admission_worker *w, uint32_t id)
{
    (void)arg;
    channel_send(channel_of(w), MSG_DONE, id, NULL, SLICE(""), -1);
}

static void send_refuse(void *arg, struct admission_worker *w, uint32_t id, enum refuse code,
                        const char *why, struct slice told)
{
    struct msg_refuse m = {.code = code, .told_n = (uint32_t)told.n};
    char tail[IPC_TEXT_MAX];
    size_t n = strlen(why);

    (void)arg;
    /* Words for the client are bounded by facts and the configuration, ours are cut for them. */
    if (told.n > sizeof tail)
        m.told_n = 0;
    if (n > sizeof tail - m.told_n)
        n = sizeof tail - m.told_n;
    memcpy(tail, why, n);
    if (m.told_n)
        memcpy(tail + n, told.p, m.told_n);
    channel_send(channel_of(w), MSG_REFUSE, id, &m, slice_of(tail, n + m.told_n), -1);
}

static void send_kick(void *arg, struct admission_worker *w, uint32_t id, enum kick why)
{
    struct msg_kick m = {.why = why};

    (void)arg;
    channel_send(channel_of(w), MSG_KICK, id, &m, SLICE(""), -1);
}

static void on_placed(void *arg, struct slice user, const char *pool, const char *backend)
{
    struct control *c = arg;
    struct err err;

    tell_placed(user, pool, backend);
    if (state_place(c->state, pool, user, backend, &err) < 0) {
        if (!c->is_losing)
            tell_state_failed(c->state, &err);
        c->is_losing = true;
    } else if (c->flush_due.at_ms == 0) {
        deadline_set(c->child->loop, &c->flush_due, FLUSH_MS);
    }
}

static int on_strand(void *arg, struct user *u, uint32_t to, uint64_t now_ms, struct err *err)
{
    const struct control *c = arg;

    return operate_strand(c->operate, u, to, now_ms, err);
}

static void on_held(void *arg, struct slice user, size_t waiting)
{
    (void)arg;
    tell_held(user, waiting);
}

static void on_queued(void *arg, uint32_t backend, size_t waiting, const char *limit)
{
    const struct control *c = arg;

    tell_queued(&c->backends.all[backend], waiting, limit);
}

static void on_health(void *arg, uint32_t backend, enum health_state was, uint64_t lasted_ms,
                      struct slice detail)
{
    struct control *c = arg;

    tell_health(&c->backends, backend, was, lasted_ms, detail);
    control_arm_probes(c);
}

static void on_came_back(void *arg, uint32_t backend, uint64_t now)
{
    struct control *c = arg;
    const struct backend *b = &c->backends.all[backend];
    size_t users = operate_return(c->operate, backend, now);

    if (users > 0)
        tell_returning(b, users, c->child->conf->pools[b->pool].return_rate);
}

static void send_ask_facts(void *arg, uint32_t question, struct slice user, bool is_fresh)
{
    const struct control *c = arg;
    const struct msg_ask_facts m = {.is_fresh = is_fresh};

    /* Without a lookup the question stays open; the next one is asked it again. */
    if (c->lookup)
        channel_send(&c->lookup->channel, MSG_ASK_FACTS, question, &m, user, -1);
}

static void send_flush_facts(void *arg, struct slice user)
{
    const struct control *c = arg;

    /* Without a lookup there is nothing that is kept. */
    if (c->lookup)
        channel_send(&c->lookup->channel, MSG_FLUSH_FACTS, 0, NULL, user, -1);
}

static void on_auth_failed(void *arg, const struct auth_failed *failed)
{
    (void)arg;
    tell_auth_failed(failed);
}

static void on_count(void *arg, enum metric metric)
{
    const struct control *c = arg;

    counters_add(c->child->counters, metric, 1);
}

static void on_recovered(void *arg, size_t sessions, size_t users)
{
    const struct control *c = arg;

    /* The first control of all had nothing to recover. */
    if (c->child->self.epoch > 1)
        tell_recovered(c->child->self.epoch, sessions, users);
}

const struct admission_effects control_admission_effects = {
    .go = send_go,
    .lease = send_lease,
    .done = send_done,
    .refuse = send_refuse,
    .kick = send_kick,
    .placed = on_placed,
    .strand = on_strand,
    .held = on_held,
    .queued = on_queued,
    .health = on_health,
    .came_back = on_came_back,
    .ask_facts = send_ask_facts,
    .flush_facts = send_flush_facts,
    .auth_failed = on_auth_failed,
    .count = on_count,
    .recovered = on_recovered,
};

/* --- what resolving wants ------------------------------------------------------------------ */

static void send_ask(void *arg, uint32_t question, struct slice host, uint16_t port)
{
    const struct control *c = arg;
    struct msg_resolve m = {.port = port};

    /* Without a lookup the question stays open; the next one is asked it again. */
    if (c->lookup)
        channel_send(&c->lookup->channel, MSG_RESOLVE, question, &m, host, -1);
}

static void on_addresses(void *arg, uint32_t backend, uint32_t ttl_s)
{
    struct control *c = arg;

    tell_resolved(&c->backends.all[backend], ttl_s);
    admission_addresses(c->admission, backend, control_now_ms(c));
}

static void on_unresolved(void *arg, uint32_t backend, struct slice detail)
{
    const struct control *c = arg;

    tell_unresolved(&c->backends.all[backend], detail);
}

const struct resolve_effects control_resolve_effects = {
    .ask = send_ask,
    .changed = on_addresses,
    .failed = on_unresolved,
};

/* --- what probes want ---------------------------------------------------------------------- */

/* One that is retired serves its sessions and nothing else. With what the worker calls the backend.
 */
static bool can_probe(const struct peer *p, uint32_t backend, struct msg_probe *probe)
{
    return p->fd < 0 && p->who.role == ROLE_WORKER && !p->worker.facts.is_retired &&
           names_index(&p->names, backend, &probe->pool, &probe->backend);
}

/* Workers take turns. */
static struct peer *next_prober(struct control *c, uint32_t backend, struct msg_probe *probe)
{
    struct list *it = c->prober;

    do {
        struct peer *p = CONTAINER(it = it->next, struct peer, node);

        if (it != &c->peers && can_probe(p, backend, probe)) {
            c->prober = it;
            return p;
        }
    } while (it != c->prober);
    return NULL;
}

static uint32_t order_probe(void *arg, uint32_t number, const struct msg_probe *probe)
{
    struct control *c = arg;
    struct msg_probe theirs = *probe;
    struct peer *p =
        next_prober(c, backends_at(&c->backends, probe->pool, probe->backend), &theirs);

    if (!p)
        return 0;
    channel_send(&p->channel, MSG_PROBE, number, &theirs, SLICE(""), -1);
    return p->who.instance;
}

static void on_unprobed(void *arg, uint32_t backend, struct slice detail)
{
    const struct control *c = arg;

    admission_probed(c->admission, backend, false, detail, control_now_ms(c));
}

const struct probes_effects control_probes_effects = {.order = order_probe, .failed = on_unprobed};
