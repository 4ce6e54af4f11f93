/* What must be so after each step of the model of admission, whatever has happened. */
#ifndef USHER_TESTS_UNIT_ADMISSION_CHECK_H
#define USHER_TESTS_UNIT_ADMISSION_CHECK_H

#include "admission_model.h"

static inline void check_limit(struct map_node *node, void *arg)
{
    const struct source *source = CONTAINER(node, struct source, node);

    (void)arg;
    /* A site has no limit of its own. */
    if (source->network.bits != SITE_BITS)
        assert_true(source->sessions_n - source->opening_n <= PER_ADDRESS);
}

static inline void check_user_limit(struct map_node *node, void *arg)
{
    const struct user *u = CONTAINER(node, struct user, node);
    const struct recount *r = arg;
    uint32_t n = 0;

    /* Those that are looked up do not know their limit yet. */
    for (size_t i = 0; i < r->n; i++)
        n += r->sessions[i]->user == u && recount_is_bound(r->sessions[i]);
    assert_true(n <= PER_USER_TOLD);
}

/* What was above a limit before, by replays, may only become less. */
static inline bool is_within(uint32_t n, uint32_t most, uint32_t before)
{
    return most == 0 || n <= most || n <= before || m.is_replaying;
}

/* Whether the first of a queue could begin now. */
static inline bool could_begin(const struct backend *b, const struct queue *queue, bool is_trial)
{
    const struct health_params p = backends_health_params(&backends, (uint32_t)(b - backends.all));
    uint32_t rate = b->conf->login_rate;

    if (!queue_first(queue))
        return false;
    if (b->state == BACKEND_DOWN)
        return true;
    if (rate > 0)
        rate = rate * health_share(&b->health, &p, m.now_ms) / HEALTH_SHARE_WHOLE;
    if (b->conf->login_rate > 0 && rate == 0)
        rate = 1;
    return (b->conf->max_sessions == 0 || b->sessions < b->conf->max_sessions) &&
           (b->conf->max_connecting == 0 || b->connecting < b->conf->max_connecting) &&
           admission_registry(admission)->logins_n < LOGINS &&
           bucket_due_ms(&b->logins, rate, m.now_ms) <= m.now_ms &&
           (!is_trial || bucket_due_ms(&backends.tries[b->pool], conf->pools[b->pool].try_rate,
                                       m.now_ms) <= m.now_ms);
}

/* No backend has more than it may, and nobody waits for what is there. */
static inline void check_backends(void)
{
    struct admission_counts counts;
    size_t queued = 0;
    uint64_t due = admission_due_ms(admission);

    for (uint32_t i = 0; i < backends.n; i++) {
        const struct backend *b = &backends.all[i];

        assert_true(is_within(b->sessions, b->conf->max_sessions, m.sessions[i]));
        assert_true(is_within(b->connecting, b->conf->max_connecting, m.connecting[i]));
        m.sessions[i] = b->sessions;
        m.connecting[i] = b->connecting;
        queued += backends_queued(b);
        assert_true(backends_queued(b) == 0 || health_serves(&b->health));
        if (could_begin(b, &b->queue, false) || could_begin(b, &b->trials, true))
            assert_true(due != 0 && due <= m.now_ms);
    }
    admission_count(admission, &counts);
    assert_int_equal(counts.queued, queued);
    assert_true(
        is_within((uint32_t)admission_registry(admission)->logins_n, LOGINS, (uint32_t)m.logins_n));
    m.logins_n = admission_registry(admission)->logins_n;
    m.is_replaying = false;
}

static inline void check_visit_limit(struct map_node *node, void *arg)
{
    (void)arg;
    assert_true(CONTAINER(node, struct visit, node)->sessions_n <= PER_USER_ADDRESS);
}

static inline void check_counts(void)
{
    struct registry *registry = admission_registry(admission);
    struct recount r;

    recount_init(&r, registry);
    for (int w = 0; w < WORKERS; w++) {
        if (m.workers[w].is_alive)
            recount_worker(&r, &m.workers[w].worker);
    }
    recount_check(&r);
    check_backends();
    if (m.was_replayed)
        return;
    map_each(&registry->sources.map, check_limit, NULL);
    map_each(&registry->users, check_user_limit, &r);
    map_each(&registry->visits, check_visit_limit, NULL);
}

/* Logged in, as soon as its worker hears of it. */
static inline bool is_answered_yes(const struct model_session *s)
{
    if (s->stage != OK_ASKED)
        return false;
    for (size_t i = 0; i < m.queue_n; i++) {
        if (m.queue[i].what == YES && find(m.queue[i].worker, m.queue[i].id) == s)
            return true;
    }
    return false;
}

/* Operators see the session as its worker has it, whatever the configuration has become. */
static inline void check_seen(const struct model_worker *w, const struct model_session *s)
{
    struct operate_session seen;
    uint32_t pool = pool_number(s->in);

    assert_true(operate_session(operate, (struct operate_key){w->worker.instance, s->id}, &seen));
    assert_int_equal(seen.stage, STAGE_DONE);
    assert_true(slice_eq(seen.user, name_of(s->user)));
    assert_string_equal(backends_title(&backends, seen.backend), titles[s->where]);
    assert_int_equal(seen.pool, pool == NOWHERE ? conf->pools_n : pool);
}

static inline void check(void)
{
    uint32_t where[POOLS][USERS];
    size_t sessions = 0;

    memset(where, 0xff, sizeof where);
    for (int w = 0; w < WORKERS; w++) {
        for (int i = 0; i < SESSIONS; i++) {
            const struct model_session *s = &m.workers[w].sessions[i];

            sessions += s->stage != NONE;
            if (s->stage != DONE && !is_answered_yes(s))
                continue;
            if (where[s->in][s->user] == NOWHERE)
                where[s->in][s->user] = s->where;
            assert_int_equal(where[s->in][s->user], s->where);
            if (m.is_recovered && s->in != SHARED && pool_number(s->in) != NOWHERE &&
                !m.is_steered[s->user])
                assert_int_equal(m.placed[s->in][s->user], s->where);
            if (m.workers[w].is_alive && m.workers[w].has_replayed && s->stage == DONE)
                check_seen(&m.workers[w], s);
        }
    }
    if (m.is_recovered)
        assert_true(admission_sessions(admission) <= sessions);
    check_counts();
}

#endif
