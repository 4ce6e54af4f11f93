/* Counts anew what the registry has counted, from the sessions that are there, and compares. */
#ifndef USHER_TESTS_REGISTRY_RECOUNT_H
#define USHER_TESTS_REGISTRY_RECOUNT_H

#include "control/registry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { RECOUNT_MAX = 64 };

struct recount {
    const struct session *sessions[RECOUNT_MAX];
    size_t n;
    const struct registry *registry;
};

static inline void recount_init(struct recount *r, const struct registry *registry)
{
    *r = (struct recount){.registry = registry};
}

static inline void recount_one(struct map_node *node, void *arg)
{
    struct recount *r = arg;

    assert_true(r->n < RECOUNT_MAX);
    r->sessions[r->n++] = CONTAINER(node, struct session, node);
}

static inline void recount_worker(struct recount *r, struct admission_worker *w)
{
    map_each(&w->sessions, recount_one, r);
}

static inline bool recount_is_within(const struct session *s, const struct source *source)
{
    for (const struct source *at = s->source; at; at = at->wider) {
        if (at == source)
            return true;
    }
    return false;
}

static inline void recount_source(struct map_node *node, void *arg)
{
    const struct source *source = CONTAINER(node, struct source, node);
    const struct recount *r = arg;
    uint32_t sessions = 0, opening = 0, delayed = 0, trying = 0;

    for (size_t i = 0; i < r->n; i++) {
        const struct session *s = r->sessions[i];

        if (!recount_is_within(s, source))
            continue;
        sessions++;
        opening += s->stage == STAGE_OPENING;
        delayed += s->stage == STAGE_DELAYED;
        trying += s->charge != CHARGE_NONE;
    }
    assert_true(sessions > 0);
    assert_int_equal(source->sessions_n, sessions);
    assert_int_equal(source->opening_n, opening);
    assert_int_equal(source->delayed_n, delayed);
    assert_int_equal(source->trying_n, trying);
}

static inline void recount_user(struct map_node *node, void *arg)
{
    const struct user *u = CONTAINER(node, struct user, node);
    const struct recount *r = arg;
    uint32_t sessions = 0, delayed = 0, trying = 0;

    for (size_t i = 0; i < r->n; i++) {
        const struct session *s = r->sessions[i];

        if (s->user != u)
            continue;
        sessions++;
        delayed += s->stage == STAGE_DELAYED;
        trying += s->charge == CHARGE_STRANGER;
    }
    assert_int_equal(u->sessions_n, sessions);
    assert_int_equal(u->delayed_n, delayed);
    assert_int_equal(u->trying_n, trying);
}

static inline void recount_visit(struct map_node *node, void *arg)
{
    const struct visit *v = CONTAINER(node, struct visit, node);
    const struct recount *r = arg;
    uint32_t sessions = 0;

    for (size_t i = 0; i < r->n; i++)
        sessions += r->sessions[i]->user == v->user && r->sessions[i]->source == v->source;
    assert_true(v->user && v->source && sessions > 0);
    assert_int_equal(v->sessions_n, sessions);
}

static inline bool recount_is_connecting(const struct session *s)
{
    return s->stage == STAGE_RESOLVING || s->stage == STAGE_LEASED;
}

static inline bool recount_is_bound(const struct session *s)
{
    return recount_is_connecting(s) || s->stage == STAGE_DONE;
}

/* What backends and workers have of sessions. */
static inline void recount_backends(const struct recount *r)
{
    const struct backends *all = r->registry->backends;

    for (uint32_t b = 0; all && b < all->n; b++) {
        uint32_t sessions = 0, connecting = 0;
        size_t queued = 0;

        for (size_t i = 0; i < r->n; i++) {
            const struct session *s = r->sessions[i];

            sessions += s->backend == b && recount_is_bound(s);
            connecting += s->backend == b && recount_is_connecting(s);
            queued += s->backend == b && s->stage == STAGE_QUEUED;
        }
        assert_int_equal(all->all[b].sessions, sessions);
        assert_int_equal(all->all[b].connecting, connecting);
        assert_int_equal(backends_queued(&all->all[b]), queued);
    }
}

static inline void recount_workers(const struct recount *r)
{
    const struct list *workers = &r->registry->workers;

    for (const struct list *it = workers->next; it != workers; it = it->next) {
        const struct admission_worker *w = CONTAINER(it, const struct admission_worker, node);
        uint32_t bound = 0;

        for (size_t i = 0; i < r->n; i++)
            bound += r->sessions[i]->worker == w && recount_is_bound(r->sessions[i]);
        assert_int_equal(w->bound_n, bound);
    }
}

/* Each login has its charge as long as it is under way or on hold, and no other. */
static inline bool recount_should_be_charged(const struct session *s)
{
    return s->source &&
           (s->stage == STAGE_HELD || s->stage == STAGE_LOOKING || s->stage == STAGE_QUEUED ||
            s->stage == STAGE_RESOLVING || s->stage == STAGE_LEASED);
}

/* All workers have been recounted. */
static inline void recount_check(struct recount *r)
{
    struct registry copy = *r->registry; /* for map_each() */
    size_t opening = 0, logins = 0;

    for (size_t i = 0; i < r->n; i++) {
        const struct session *s = r->sessions[i];

        opening += s->stage == STAGE_OPENING;
        logins += s->stage == STAGE_RESOLVING || s->stage == STAGE_LEASED;
        assert_int_equal(s->charge != CHARGE_NONE, recount_should_be_charged(s));
        assert_true(!!s->login == (s->user && s->stage != STAGE_DONE));
        assert_true(s->backend != BACKEND_NONE || list_empty(&s->of_user));
        /* Only what began before this control may be on what is not there any more. */
        assert_true(s->backend == BACKEND_NONE || s->stage == STAGE_LEASED ||
                    s->stage == STAGE_DONE ||
                    backends_has(r->registry->backends, s->backend, s->pool));
        assert_true(!s->user || s->user->pool == s->pool);
        if (s->user && s->source)
            assert_true(registry_visits(r->registry, s) > 0);
    }
    assert_int_equal(r->registry->sessions_n, r->n);
    assert_int_equal(r->registry->opening_n, opening);
    assert_int_equal(r->registry->logins_n, logins);
    recount_backends(r);
    recount_workers(r);
    map_each(&copy.sources.map, recount_source, r);
    map_each(&copy.users, recount_user, r);
    map_each(&copy.visits, recount_visit, r);
    assert_true(copy.sources.map.used <= 2 * r->n && copy.visits.used <= r->n);
}

#endif
