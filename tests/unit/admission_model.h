/* The model of workers for test_admission_model.c: what they know of their sessions, what they say
 * to control, and how control's answers reach them. */
#ifndef USHER_TESTS_ADMISSION_MODEL_H
#define USHER_TESTS_ADMISSION_MODEL_H

#include "control/admission.h"

#include "admission_model_confs.h"
#include "base/log.h"
#include "control/load.h"
#include "control/operate.h"
#include "names_said.h"
#include "registry_recount.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    RUNS = 300,
    STEPS = 4000,
    WORKERS = 4,
    SESSIONS = 6,
    USERS = 6,
    GOOD_USERS = 4,
    BACKENDS = 9,
    QUESTIONS = 64
};
enum { OWN, SHARED, TRIED, POOLS };

/* Backends and pools, whatever the configuration of the moment makes of them: theirs are the
 * numbers that the model goes by. */
static const char *const titles[BACKENDS] = {"o1", "o2", "s1", "s2", "s3", "s4", "y1", "y2", "y3"};
static const char *const pool_titles[POOLS] = {"own", "shared", "tried"};

/* Limits by which some run into a wall now and then. */
enum { PER_ADDRESS = 5, PER_USER = 4, PER_USER_TOLD = 6, PER_USER_ADDRESS = 2, LOGINS = 8 };

/* What a worker knows of a session. ASKED stages wait for an answer. */
enum model_stage {
    NONE,
    OPEN_ASKED,
    OPEN,
    ADMIT_ASKED,
    LEASED,
    OK_ASKED,
    FAILED_ASKED,
    REFUSED_ASKED, /* of a trial */
    DONE
};

struct model_session {
    enum model_stage stage;
    uint32_t id;
    uint32_t listener; /* of its worker's configuration */
    unsigned user;
    struct addr client;
    struct msg_lease lease; /* as its worker has got it */
    unsigned where, in;     /* which backend, which pool that is */
    unsigned tried;     /* bits of the backends of this login, as far as one control gave them */
    unsigned refused;   /* of those that have refused this login */
    bool is_kicked;     /* and DONE: ends soon */
    uint32_t kicked_by; /* the epoch of the control that kicked it last; 0: none */
};

struct model_worker {
    struct admission_worker worker; /* as control has it */
    struct names names;             /* likewise */
    const struct conf *conf;        /* of its generation */
    bool is_alive;
    bool has_replayed; /* to this control, or need not */
    struct model_session sessions[SESSIONS];
};

enum answer { GO, LEASE, YES, REFUSE, OUTDATED, KICK };

/* Control's answers on their way; lost when control dies. */
struct on_way {
    enum answer what;
    struct model_worker *worker;
    uint32_t id;
    struct msg_lease lease;
};

static struct {
    uint64_t seed;
    struct model_worker workers[WORKERS];
    struct on_way queue[4096];
    size_t queue_n;
    uint32_t next_id;
    uint64_t now_ms;
    uint32_t epoch;
    bool is_recovered;
    bool was_replayed; /* ever; what is replayed counts above the limits */
    bool is_stopping;  /* this control is dead; what it still says is not heard */
    bool is_held[USERS];
    bool has_addresses[BACKENDS];
    enum backend_state states[BACKENDS];
    uint32_t placed[POOLS][USERS]; /* NOWHERE, or on which backend; for ever, but for operators */
    uint32_t pins[USERS];          /* likewise */
    bool is_steered[USERS]; /* an operator or a directory has said where the user belongs, once */
    bool is_commanded;      /* what is written now is an operator's word, not a move's end */
    bool is_disk_sound;     /* nothing that is written fails */
    bool is_queued[POOLS][USERS]; /* to be written; lost when control dies */
    bool is_on_disk[POOLS][USERS];
    struct {
        uint32_t number; /* 0: none */
        unsigned user;
    } questions[QUESTIONS]; /* that lookup has been asked */
    /* As they were before the last step; who was replayed counts above the limits. */
    uint32_t sessions[BACKENDS], connecting[BACKENDS];
    size_t logins_n;
    bool is_replaying; /* in this step */
    /* So that a run that does nothing is seen. */
    size_t logins, refusals, failures, counted[METRIC_COUNT];
    size_t refused[REFUSE_OUTDATED + 1];
    size_t stranded, reloads, handed;
    size_t trials, falls, answers;
    size_t kicks, moves, moved, unwritten;
} m;

static struct conf *confs[CONFS];
static const struct conf *conf; /* of the present control */
static struct shared *memories[SHARED_COUNT];
static struct backends backends;
static struct admission *admission;
static struct operate *operate;

static inline uint32_t draw(uint32_t n)
{
    m.seed ^= m.seed << 13;
    m.seed ^= m.seed >> 7;
    m.seed ^= m.seed << 17;
    return (uint32_t)((m.seed >> 32) % n);
}

static inline struct slice name_of(unsigned user)
{
    static const char *const names[USERS] = {"ann", "bob", "cid", "\xff", "mal", "nil"};

    return slice_str(names[user]);
}

static inline unsigned user_of(struct slice name)
{
    for (unsigned i = 0; i < USERS; i++) {
        if (slice_eq(name, name_of(i)))
            return i;
    }
    fail();
    return 0;
}

static inline struct model_session *find(struct model_worker *w, uint32_t id)
{
    for (int i = 0; i < SESSIONS; i++) {
        if (w->sessions[i].stage != NONE && w->sessions[i].id == id)
            return &w->sessions[i];
    }
    return NULL;
}

static inline unsigned index_of(const char *title, const char *const *all, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (strcmp(all[i], title) == 0)
            return i;
    }
    fail();
    return 0;
}

/* From control's numbers to the model's. */
static inline unsigned backend_at(uint32_t number)
{
    return index_of(backends_title(&backends, number), titles, BACKENDS);
}

static inline unsigned pool_at(uint32_t pool)
{
    return index_of(conf->pools[pool].title, pool_titles, POOLS);
}

/* And back. NOWHERE: the configuration does not have it. */
#define NOWHERE UINT32_MAX

static inline uint32_t number_of(unsigned backend)
{
    uint32_t n = backends_find(&backends, slice_str(titles[backend]));

    return n < backends.n ? n : NOWHERE;
}

static inline uint32_t pool_number(unsigned pool)
{
    uint32_t i = 0;

    while (i < conf->pools_n && strcmp(conf->pools[i].title, pool_titles[pool]) != 0)
        i++;
    return i < conf->pools_n ? i : NOWHERE;
}

/* Of all titles that control knows. */
static inline uint32_t some_backend(void)
{
    return draw((uint32_t)(draw(3) ? backends.n : backends.titles_n));
}

/* --- control to workers -------------------------------------------------------------------- */

static inline void send_answer(struct admission_worker *w, uint32_t id, enum answer what,
                               const struct msg_lease *lease)
{
    struct on_way *a = &m.queue[m.queue_n++];

    if (m.is_stopping) {
        m.queue_n = 0;
        return;
    }
    assert_true(m.queue_n < sizeof m.queue / sizeof m.queue[0]);
    *a = (struct on_way){
        .what = what, .worker = CONTAINER(w, struct model_worker, worker), .id = id};
    assert_true(a->worker->is_alive);
    assert_true(m.is_recovered || what == REFUSE || what == KICK);
    if (lease)
        a->lease = *lease;
}

static inline void on_go(void *arg, struct admission_worker *w, uint32_t id)
{
    (void)arg;
    send_answer(w, id, GO, NULL);
}

static inline bool is_moving(uint16_t pool, struct slice user)
{
    const struct user *u = registry_user(admission_registry(admission), pool, user);

    return u && u->is_moving;
}

/* While its user is being moved a session comes no further. */
static inline void assert_not_moving(struct admission_worker *w, uint32_t id, uint16_t pool)
{
    const struct model_session *s = find(CONTAINER(w, struct model_worker, worker), id);

    assert_true(s && !is_moving(pool, name_of(s->user)));
}

static inline void on_lease(void *arg, struct admission_worker *w, uint32_t id,
                            const struct msg_lease *lease, struct slice tail)
{
    (void)arg;
    (void)tail;
    const uint32_t number = backends_at(&backends, lease->pool, lease->backend);
    const struct model_worker *mw = CONTAINER(w, struct model_worker, worker);
    struct msg_lease theirs = *lease;

    assert_not_moving(w, id, lease->pool);
    assert_int_not_equal(backends.all[number].state, BACKEND_DOWN);
    m.trials += lease->flags & LEASE_IS_TRIAL;
    /* What the worker will do there is what control's configuration says. */
    assert_true(names_index(&mw->names, number, &theirs.pool, &theirs.backend));
    assert_string_equal(mw->conf->pools[theirs.pool].backends[theirs.backend].title,
                        backends_title(&backends, number));
    assert_true(conf_meaning(mw->conf, theirs.pool, theirs.backend) ==
                conf_meaning(conf, lease->pool, lease->backend));
    send_answer(w, id, LEASE, &theirs);
}

static inline void on_done(void *arg, struct admission_worker *w, uint32_t id)
{
    const struct model_session *s = find(CONTAINER(w, struct model_worker, worker), id);

    (void)arg;
    if (!s)
        fail();
    else if (pool_number(s->in) != NOWHERE)
        assert_not_moving(w, id, (uint16_t)pool_number(s->in));
    send_answer(w, id, YES, NULL);
}

/* The backends of the pool in which a password is tried on all. */
static inline unsigned tried_bits(void)
{
    uint32_t pool = pool_number(TRIED);
    unsigned bits = 0;

    for (size_t i = 0; pool != NOWHERE && i < conf->pools[pool].backends_n; i++)
        bits |= 1U << index_of(conf->pools[pool].backends[i].title, titles, BACKENDS);
    return bits;
}

static inline void on_refuse(void *arg, struct admission_worker *w, uint32_t id, enum refuse code,
                             const char *why, struct slice told)
{
    const struct model_session *s = find(CONTAINER(w, struct model_worker, worker), id);

    (void)arg;
    (void)told;
    assert_true(code <= REFUSE_OUTDATED && strlen(why) > 0);
    /* Never to a worker of control's own configuration. */
    assert_true(code != REFUSE_OUTDATED || CONTAINER(w, struct model_worker, worker)->conf != conf);
    /* No failure is told as a wrong password. */
    if (code == REFUSE_CREDENTIALS && !m.is_stopping)
        assert_true(s && (s->refused & tried_bits()) == tried_bits());
    m.refusals++;
    m.refused[code]++;
    send_answer(w, id, code == REFUSE_OUTDATED ? OUTDATED : REFUSE, NULL);
}

static inline void on_placed(void *arg, struct slice user, const char *pool, const char *backend)
{
    unsigned u = user_of(user);
    uint32_t where = index_of(backend, titles, BACKENDS);
    uint32_t in = index_of(pool, pool_titles, POOLS);

    (void)arg;
    assert_true(pool_number(in) != NOWHERE);
    assert_true(in != SHARED);
    assert_true(m.is_steered[u] || !m.is_on_disk[in][u]);
    /* One mailbox a user: a record that was lost is made again with the same content. With trials
     * that is whichever takes the password. */
    assert_true(m.is_steered[u] || in == TRIED || m.placed[in][u] == NOWHERE ||
                m.placed[in][u] == where);
    m.placed[in][u] = where;
    m.is_queued[in][u] = true;
}

static inline void on_held(void *arg, struct slice user, size_t waiting)
{
    bool waits = m.is_held[user_of(user)];

    (void)arg;
    for (uint16_t p = 0; p < conf->pools_n; p++)
        waits = waits || is_moving(p, user);
    assert_true(waits && waiting > 0);
}

static inline int on_strand(void *arg, struct user *u, uint32_t to, uint64_t now, struct err *err)
{
    (void)arg;
    assert_true(to < backends.n && backends.all[to].pool == u->pool);
    m.stranded++;
    return operate_strand(operate, u, to, now, err);
}

static inline void on_kick(void *arg, struct admission_worker *w, uint32_t id, enum kick why)
{
    struct model_session *s = find(CONTAINER(w, struct model_worker, worker), id);

    (void)arg;
    assert_true(why == KICK_OPERATOR || why == KICK_MOVED || why == KICK_DOWN);
    /* By one control each session is kicked once. */
    assert_non_null(s);
    if (!s)
        return;
    assert_true(s->kicked_by != m.epoch);
    s->kicked_by = m.epoch;
    m.kicks++;
    send_answer(w, id, KICK, NULL);
}

static inline void on_auth_failed(void *arg, const struct auth_failed *f)
{
    (void)arg;
    assert_true(user_of(f->user) < USERS);
    m.failures++;
}

static inline void on_count(void *arg, enum metric metric)
{
    (void)arg;
    m.counted[metric]++;
}

static inline void on_recovered(void *arg, size_t sessions, size_t users)
{
    (void)arg;
    if (m.is_stopping)
        return;
    assert_false(m.is_recovered);
    assert_true(users <= sessions);
    for (int w = 0; w < WORKERS; w++)
        assert_true(!m.workers[w].is_alive || m.workers[w].has_replayed);
    m.is_recovered = true;
}

static inline void on_queued(void *arg, uint32_t backend, size_t waiting, const char *limit)
{
    (void)arg;
    assert_true(backend < backends.n && waiting > 0 && strlen(limit) > 0);
}

static inline void on_health(void *arg, uint32_t backend, enum health_state was, uint64_t lasted_ms,
                             struct slice detail)
{
    (void)arg;
    (void)lasted_ms;
    (void)detail;
    assert_int_not_equal(backends.all[backend].health.state, was);
    m.falls += backends.all[backend].health.state == HEALTH_DOWN;
}

static inline void on_came_back(void *arg, uint32_t backend, uint64_t now)
{
    (void)arg;
    if (!m.is_stopping && operate)
        operate_return(operate, backend, now);
}

static inline void on_ask_facts(void *arg, uint32_t question, struct slice user, bool is_fresh)
{
    size_t i = 0;

    (void)arg;
    assert_false(is_fresh);
    while (m.questions[i].number != 0)
        assert_true(++i < QUESTIONS);
    m.questions[i].number = question;
    m.questions[i].user = user_of(user);
}

static inline void on_flush_facts(void *arg, struct slice user)
{
    (void)arg;
    (void)user;
    fail();
}

static const struct admission_effects effects = {.go = on_go,
                                                 .lease = on_lease,
                                                 .done = on_done,
                                                 .refuse = on_refuse,
                                                 .kick = on_kick,
                                                 .placed = on_placed,
                                                 .held = on_held,
                                                 .strand = on_strand,
                                                 .auth_failed = on_auth_failed,
                                                 .count = on_count,
                                                 .recovered = on_recovered,
                                                 .queued = on_queued,
                                                 .health = on_health,
                                                 .came_back = on_came_back,
                                                 .ask_facts = on_ask_facts,
                                                 .flush_facts = on_flush_facts};

static inline void take_lease(const struct model_worker *w, struct model_session *s,
                              const struct msg_lease *lease)
{
    const struct conf_pool *pool = &w->conf->pools[lease->pool];
    bool was_trial = s->lease.flags & LEASE_IS_TRIAL;
    unsigned bit;

    assert_true(s->stage == ADMIT_ASKED || s->stage == FAILED_ASKED || s->stage == REFUSED_ASKED);
    assert_true(lease->attempt >= 1 && lease->attempt <= 3 && lease->addresses_n > 0);
    s->in = index_of(pool->title, pool_titles, POOLS);
    s->where = index_of(pool->backends[lease->backend].title, titles, BACKENDS);
    assert_true(lease->flags == 0 || (lease->flags == LEASE_IS_TRIAL && s->in == TRIED));
    s->lease = *lease;
    bit = 1U << s->where;
    /* Somebody else's trial, or an operator, has found where the user is: all begins anew. */
    if (was_trial && !(lease->flags & LEASE_IS_TRIAL))
        s->tried = 0;
    assert_false(s->tried & bit);
    s->tried |= bit;
    s->stage = LEASED;
}

static inline void end(struct model_worker *w, struct model_session *s)
{
    s->stage = NONE;
    admission_end(admission, &w->worker, s->id, &(struct msg_end){.is_sent = true}, m.now_ms);
}

static inline void deliver(const struct on_way *a)
{
    struct model_session *s = find(a->worker, a->id);

    if (!s)
        return; /* it has ended meanwhile */
    switch (a->what) {
    case GO:
        assert_int_equal(s->stage, OPEN_ASKED);
        s->stage = OPEN;
        return;
    case LEASE:
        take_lease(a->worker, s, &a->lease);
        return;
    case OUTDATED: /* the client comes again, to another worker */
        end(a->worker, s);
        return;
    case YES:
        assert_int_equal(s->stage, OK_ASKED);
        s->stage = DONE;
        m.logins++;
        return;
    case REFUSE:
        assert_true(s->stage == OPEN_ASKED || s->stage == ADMIT_ASKED || s->stage == OK_ASKED ||
                    s->stage == FAILED_ASKED || s->stage == REFUSED_ASKED);
        s->stage = s->stage == OPEN_ASKED ? NONE : OPEN;
        return;
    case KICK:
        /* Who relays may go on for a while, anybody else ends at once. */
        if (s->stage == DONE)
            s->is_kicked = true;
        else
            end(a->worker, s);
        return;
    }
}

/* In the order of each worker's channel, of several in any. */
static inline void deliver_some(size_t n)
{
    while (n-- > 0 && m.queue_n > 0) {
        const struct model_worker *w = m.queue[draw((uint32_t)m.queue_n)].worker;
        struct on_way next;
        size_t i = 0;

        while (m.queue[i].worker != w)
            i++;
        next = m.queue[i];
        m.queue_n--;
        memmove(m.queue + i, m.queue + i + 1, (m.queue_n - i) * sizeof m.queue[0]);
        deliver(&next);
    }
}

/* --- workers to control -------------------------------------------------------------------- */

static inline void must(const char *wrong)
{
    if (wrong)
        fail_msg("%s", wrong);
}

static inline struct addr some_address(void)
{
    static const char *const addresses[] = {"192.0.2.1", "192.0.2.2", "2001:db8:1:1::1",
                                            "2001:db8:1:2::1", "127.0.0.1"};
    uint32_t i = draw(sizeof addresses / sizeof addresses[0] + 1);
    struct addr a = {0};

    if (i < sizeof addresses / sizeof addresses[0])
        assert_true(addr_parse_ip(slice_str(addresses[i]), (uint16_t)draw(65536), &a));
    return a;
}

static inline void say_open(struct model_worker *w, struct model_session *s)
{
    struct msg_open open = {.client = s->client, .listener = s->listener};
    uint16_t door;

    s->stage = OPEN_ASKED;
    assert_true(names_door(&w->names, open.listener, &door) && door < conf->pools_n);
    must(admission_open(admission, &w->worker, s->id, door, &open));
}

static inline void say_admit(struct model_worker *w, struct model_session *s)
{
    struct msg_admit a = {.client = s->client};

    s->stage = ADMIT_ASKED;
    s->tried = s->refused = 0;
    s->lease = (struct msg_lease){0};
    must(admission_admit(admission, &w->worker, s->id, &a,
                         draw(8) || s->user > 0 ? name_of(s->user) : SLICE("Ann"), m.now_ms));
}

static inline void say_result(struct model_worker *w, struct model_session *s, enum result result)
{
    struct msg_result r = {.lease = s->lease.lease, .result = result, .fault = draw(2)};
    bool is_trial = s->lease.flags & LEASE_IS_TRIAL;

    if (result == RESULT_REFUSED)
        s->refused |= 1U << s->where;
    s->stage = result == RESULT_OK                    ? OK_ASKED
               : result == RESULT_FAILED              ? FAILED_ASKED
               : result == RESULT_REFUSED && is_trial ? REFUSED_ASKED
                                                      : OPEN;
    must(admission_result(admission, &w->worker, s->id, &r, m.now_ms));
}

static inline void say_replay(struct model_worker *w, const struct model_session *s)
{
    struct msg_replay r = {.client = s->client,
                           .listener = s->listener,
                           .pool = s->lease.pool,
                           .backend = s->lease.backend,
                           .lease = s->lease.lease,
                           .flags = s->lease.flags,
                           .attempt = s->lease.attempt};
    bool is_named = s->stage >= LEASED;
    struct whereabouts at;

    r.stage = s->stage == DONE ? REPLAY_RELAY : is_named ? REPLAY_LEASED : REPLAY_OPEN;
    must(names_whereabouts(&w->names, &r, &at));
    must(admission_replay(admission, &w->worker, s->id, &at, &r,
                          is_named ? name_of(s->user) : SLICE(""), m.now_ms));
}

static inline void replay(struct model_worker *w)
{
    for (int i = 0; i < SESSIONS; i++) {
        struct model_session *s = &w->sessions[i];

        /* One whose OPEN is open may be replayed or not; both are asked again. */
        if (s->stage != NONE && (s->stage != OPEN_ASKED || draw(2)))
            say_replay(w, s);
    }
    w->has_replayed = m.was_replayed = m.is_replaying = true;
    must(admission_replayed(admission, &w->worker, m.now_ms));
    for (int i = 0; i < SESSIONS; i++) {
        struct model_session *s = &w->sessions[i];

        s->tried = s->stage == FAILED_ASKED || s->stage == REFUSED_ASKED ? 1U << s->where : 0;
        /* By another order of the backends a trial begins anew. */
        if (w->conf != conf && s->lease.flags & LEASE_IS_TRIAL)
            s->tried = 0;
        if (s->stage == OPEN_ASKED)
            say_open(w, s);
        else if (s->stage == ADMIT_ASKED)
            say_admit(w, s);
        else if (s->stage == OK_ASKED)
            say_result(w, s, RESULT_OK);
        else if (s->stage == FAILED_ASKED)
            say_result(w, s, RESULT_FAILED);
        else if (s->stage == REFUSED_ASKED)
            say_result(w, s, RESULT_REFUSED);
    }
}

/* The listener of a pool; if that is gone, another. */
static inline uint32_t listener_of(const struct conf *c, unsigned pool)
{
    uint32_t i = 0;

    while (i + 1 < c->listeners_n && strcmp(c->listeners[i].title, pool_titles[pool]) != 0)
        i++;
    return i;
}

static inline void step_session(struct model_worker *w, struct model_session *s)
{
    if (s->stage == NONE) {
        if (w->worker.facts.is_retired)
            return;
        *s =
            (struct model_session){.id = m.next_id++,
                                   .listener = listener_of(w->conf, draw(2) ? SHARED : draw(POOLS)),
                                   .client = some_address()};
        say_open(w, s);
    } else if (draw(s->stage == DONE ? 20 : 6) == 0 || (s->is_kicked && draw(2))) {
        end(w, s);
    } else if (s->stage == OPEN) {
        s->user = draw(USERS);
        if (draw(8) == 0) /* a proxy tells who it is */
            s->client = some_address();
        say_admit(w, s);
    } else if (s->stage == LEASED) {
        /* Nobody has the password of the last users. */
        uint32_t r = s->user < GOOD_USERS ? draw(8) : 4 + draw(4);

        if (s->lease.flags & LEASE_IS_TRIAL) /* most backends do not know the user */
            r = draw(6) ? 7 : r;
        say_result(w, s,
                   r < 4     ? RESULT_OK
                   : r < 6   ? RESULT_FAILED
                   : draw(6) ? RESULT_REFUSED
                   : draw(2) ? RESULT_DENIED
                             : RESULT_WITHDRAWN);
    }
}

/* --- lookup and probes --------------------------------------------------------------------- */

static inline void give_answer(uint32_t number, unsigned user)
{
    static const char *const facts[] = {"",
                                        "pool=own",
                                        "pool=shared",
                                        "pool=tried",
                                        "max_sessions=2",
                                        "max_sessions=6",
                                        "disabled=yes",
                                        "pool=gone",
                                        "backend_user=other",
                                        "backend=o1",
                                        "backend=s3",
                                        "backend=y2"};
    const uint32_t which = draw(3 * sizeof facts / sizeof *facts);
    struct facts_answer a = {.directory = SLICE("people")};

    if (which >= sizeof facts / sizeof *facts) {
        a.status = draw(12) ? FACTS_UNKNOWN : FACTS_UNAVAILABLE;
    } else {
        a.status = FACTS_FOUND;
        a.text = slice_str(facts[which]);
        if (strncmp(facts[which], "backend=", 8) == 0)
            m.is_steered[user] = true;
    }
    m.answers++;
    admission_answered(admission, number, &a, m.now_ms);
}

/* Answers, or never does. */
static inline void answer_something(void)
{
    uint32_t i = draw(QUESTIONS);

    for (uint32_t k = 0; k < QUESTIONS && m.questions[i].number == 0; k++)
        i = (i + 1) % QUESTIONS;
    if (m.questions[i].number == 0)
        return;
    if (draw(12) > 0)
        give_answer(m.questions[i].number, m.questions[i].user);
    m.questions[i].number = 0;
}

static inline void probe_something(void)
{
    uint32_t b = draw((uint32_t)backends.n);
    bool is_ok = draw(4) > 0;

    for (uint32_t n = 1 + draw(4); n > 0; n--)
        admission_probed(admission, b, is_ok, is_ok ? SLICE("") : SLICE("connect: refused"),
                         m.now_ms);
}

/* Things that no honest worker says; none may have an effect. */
static inline void talk_nonsense(struct model_worker *w, const struct model_session *s)
{
    struct msg_open open = {0};
    struct whereabouts at = {.pool = (uint16_t)draw(POOLS), .backend = draw(BACKENDS)};
    struct msg_result r = {.lease = {m.epoch, 1000000 + draw(1000)}, .result = draw(6)};
    struct msg_admit admit = {.client = some_address()};
    struct msg_replay again = {.stage = (uint16_t)draw(4),
                               .listener = draw(100),
                               .pool = (uint16_t)draw(100),
                               .backend = (uint16_t)(BACKENDS + draw(100))};
    struct msg_name name = {.kind = (uint16_t)draw(4),
                            .index = BACKENDS + draw(2) * 9999,
                            .pool = (uint16_t)draw(UINT16_MAX + 1)};
    uint16_t door;
    size_t before = m.queue_n;
    uint32_t id = draw(2) ? s->id : draw(UINT32_MAX) | 1U << 31;

    assert_false(names_door(&w->names, POOLS + draw(UINT32_MAX - POOLS), &door));
    assert_true(again.stage == REPLAY_OPEN ||
                names_whereabouts(&w->names, &again, &(struct whereabouts){0}));
    assert_non_null(names_take(&w->names, &name, SLICE("s1")));
    if (s->stage == DONE && w->has_replayed)
        assert_non_null(admission_open(admission, &w->worker, s->id, 0, &open));
    assert_non_null(admission_result(admission, &w->worker, id, &r, m.now_ms));
    assert_non_null(
        admission_admit(admission, &w->worker, id | 1U << 31, &admit, SLICE("ann"), m.now_ms));
    assert_non_null(admission_admit(admission, &w->worker, id, &admit, SLICE(""), m.now_ms));
    if (w->has_replayed && w->worker.is_replayed)
        assert_non_null(
            admission_replay(admission, &w->worker, id, &at, &again, SLICE("ann"), m.now_ms));
    admission_end(admission, &w->worker, id | 1U << 31, &(struct msg_end){0}, m.now_ms);
    assert_int_equal(m.queue_n, before);
}

#endif
