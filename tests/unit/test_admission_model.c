/* Admission against a model of its workers: long random runs with worker deaths, new controls,
 * holds, operators' orders, limits, failed logins and nonsense. After each step what must never
 * happen has not happened; at the end of each run every question has been answered. Seeded: a
 * failure names its run. */
#include "control/admission.h"

#include "control/load.h"
#include "registry_recount.h"

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
    RUNS = 400,
    STEPS = 2000,
    WORKERS = 3,
    SESSIONS = 8,
    USERS = 6,
    GOOD_USERS = 4,
    BACKENDS = 6
};
enum { OWN, SHARED };

/* Limits by which some run into a wall now and then. */
enum { PER_ADDRESS = 5, PER_USER = 4, PER_USER_ADDRESS = 2, LOGINS = 11 };

static const char conf_text[] =
    "max_sessions_per_address = 5\nmax_sessions_per_user = 4\n"
    "max_sessions_per_user_address = 2\nmax_logins = 11\n"
    "penalty_delay = 4s\npenalty_refuse_address = 4\npenalty_refuse_user = 6\n"
    "penalty_decay = 2m\npenalty_exempt = {\"127.0.0.1\"}\n"
    "max_sessions = 20\nhold_timeout = 30s\nconnect_timeout = 5s\nuser_expire = 60s\n"
    "listener own { address = \"*:1\" }\n"
    "listener shared { address = \"*:2\" pool = shared }\n"
    "pool own { backend o1 { address = \"192.0.2.1:10143\" }\n"
    "  backend o2 { address = \"o2.test:10143\" } }\n"
    "pool shared { storage = shared backend s1 { address = \"192.0.2.11:10143\" }\n"
    "  backend s2 { address = \"s2.test:10143\" }\n"
    "  backend s3 { address = \"192.0.2.13:10143\" }\n"
    "  backend s4 { address = \"192.0.2.14:10143\" } }\n";

/* What a worker knows of a session. ASKED stages wait for an answer. */
enum model_stage { NONE, OPEN_ASKED, OPEN, ADMIT_ASKED, LEASED, OK_ASKED, FAILED_ASKED, DONE };

struct model_session {
    enum model_stage stage;
    uint32_t id;
    uint32_t pool;
    unsigned user;
    struct addr client;
    struct msg_lease lease;
    unsigned tried; /* bits of the backends of this login, as far as one control gave them */
};

struct model_worker {
    struct admission_worker worker; /* as control has it */
    bool is_alive;
    bool has_replayed; /* to this control, or need not */
    struct model_session sessions[SESSIONS];
};

enum answer { GO, LEASE, YES, REFUSE };

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
    uint32_t placed[USERS]; /* BACKEND_NONE, or where; for ever */
    bool is_queued[USERS];  /* to be written; lost when control dies */
    bool is_on_disk[USERS];
    /* So that a run that does nothing is seen. */
    size_t logins, refusals, failures, counted[METRIC_COUNT];
    size_t refused[REFUSE_PENALTY + 1];
} m;

static struct conf *conf;
static struct shared *memories[SHARED_COUNT];
static struct backends backends;
static struct admission *admission;

static uint32_t draw(uint32_t n)
{
    m.seed ^= m.seed << 13;
    m.seed ^= m.seed >> 7;
    m.seed ^= m.seed << 17;
    return (uint32_t)((m.seed >> 32) % n);
}

static struct slice name_of(unsigned user)
{
    static const char *const names[USERS] = {"ann", "bob", "cid", "\xff", "mal", "nil"};

    return slice_str(names[user]);
}

static unsigned user_of(struct slice name)
{
    for (unsigned i = 0; i < USERS; i++) {
        if (slice_eq(name, name_of(i)))
            return i;
    }
    fail();
    return 0;
}

static struct model_session *find(struct model_worker *w, uint32_t id)
{
    for (int i = 0; i < SESSIONS; i++) {
        if (w->sessions[i].stage != NONE && w->sessions[i].id == id)
            return &w->sessions[i];
    }
    return NULL;
}

static uint32_t backend_of(const struct model_session *s)
{
    return backends_at(&backends, s->lease.pool, s->lease.backend);
}

/* --- control to workers -------------------------------------------------------------------- */

static void send_answer(struct admission_worker *w, uint32_t id, enum answer what,
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
    assert_true(m.is_recovered || what == REFUSE);
    if (lease)
        a->lease = *lease;
}

static void on_go(void *arg, struct admission_worker *w, uint32_t id)
{
    (void)arg;
    send_answer(w, id, GO, NULL);
}

static void on_lease(void *arg, struct admission_worker *w, uint32_t id,
                     const struct msg_lease *lease)
{
    (void)arg;
    send_answer(w, id, LEASE, lease);
}

static void on_done(void *arg, struct admission_worker *w, uint32_t id)
{
    (void)arg;
    send_answer(w, id, YES, NULL);
}

static void on_refuse(void *arg, struct admission_worker *w, uint32_t id, enum refuse code,
                      const char *why)
{
    (void)arg;
    assert_true(code <= REFUSE_PENALTY && strlen(why) > 0);
    m.refusals++;
    m.refused[code]++;
    send_answer(w, id, REFUSE, NULL);
}

static void on_placed(void *arg, struct slice user, const char *pool, const char *backend)
{
    unsigned u = user_of(user);
    uint32_t where = backends_number(&backends, slice_str(backend));

    (void)arg;
    assert_string_equal(pool, "own");
    /* One mailbox a user: a record that was lost is made again with the same content. */
    assert_true(m.placed[u] == BACKEND_NONE || (!m.is_on_disk[u] && m.placed[u] == where));
    m.placed[u] = where;
    m.is_queued[u] = true;
}

static void on_held(void *arg, struct slice user, size_t waiting)
{
    (void)arg;
    assert_true(m.is_held[user_of(user)] && waiting > 0);
}

static void on_auth_failed(void *arg, const struct auth_failed *f)
{
    (void)arg;
    assert_true(user_of(f->user) < USERS);
    m.failures++;
}

static void on_count(void *arg, enum metric metric)
{
    (void)arg;
    m.counted[metric]++;
}

static void on_recovered(void *arg, size_t sessions, size_t users)
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

static const struct admission_effects effects = {.go = on_go,
                                                 .lease = on_lease,
                                                 .done = on_done,
                                                 .refuse = on_refuse,
                                                 .placed = on_placed,
                                                 .held = on_held,
                                                 .auth_failed = on_auth_failed,
                                                 .count = on_count,
                                                 .recovered = on_recovered};

static void take_lease(struct model_session *s, const struct msg_lease *lease)
{
    unsigned bit;

    assert_true(s->stage == ADMIT_ASKED || s->stage == FAILED_ASKED);
    assert_int_equal(lease->pool, s->pool);
    assert_true(lease->attempt >= 1 && lease->attempt <= 3 && lease->addresses_n > 0);
    s->lease = *lease;
    bit = 1U << backend_of(s);
    assert_false(s->tried & bit);
    s->tried |= bit;
    s->stage = LEASED;
}

static void deliver(const struct on_way *a)
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
        take_lease(s, &a->lease);
        return;
    case YES:
        assert_int_equal(s->stage, OK_ASKED);
        s->stage = DONE;
        m.logins++;
        return;
    case REFUSE:
        assert_true(s->stage == OPEN_ASKED || s->stage == ADMIT_ASKED || s->stage == OK_ASKED ||
                    s->stage == FAILED_ASKED);
        s->stage = s->stage == OPEN_ASKED ? NONE : OPEN;
        return;
    }
}

/* In the order of each worker's channel, of several in any. */
static void deliver_some(size_t n)
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

static void must(const char *wrong)
{
    if (wrong)
        fail_msg("%s", wrong);
}

static struct addr some_address(void)
{
    static const char *const addresses[] = {"192.0.2.1", "192.0.2.2", "2001:db8:1:1::1",
                                            "2001:db8:1:2::1", "127.0.0.1"};
    uint32_t i = draw(sizeof addresses / sizeof addresses[0] + 1);
    struct addr a = {0};

    if (i < sizeof addresses / sizeof addresses[0])
        assert_true(addr_parse_ip(slice_str(addresses[i]), (uint16_t)draw(65536), &a));
    return a;
}

static void say_open(struct model_worker *w, struct model_session *s)
{
    struct msg_open open = {.client = s->client, .listener = s->pool};

    s->stage = OPEN_ASKED;
    must(admission_open(admission, &w->worker, s->id, &open));
}

static void say_admit(struct model_worker *w, struct model_session *s)
{
    struct msg_admit a = {.client = s->client};

    s->stage = ADMIT_ASKED;
    s->tried = 0;
    must(admission_admit(admission, &w->worker, s->id, &a, name_of(s->user), m.now_ms));
}

static void say_result(struct model_worker *w, struct model_session *s, enum result result)
{
    struct msg_result r = {.lease = s->lease.lease, .result = result};

    s->stage = result == RESULT_OK ? OK_ASKED : result == RESULT_FAILED ? FAILED_ASKED : OPEN;
    must(admission_result(admission, &w->worker, s->id, &r, m.now_ms));
}

static void say_replay(struct model_worker *w, const struct model_session *s)
{
    struct msg_replay r = {.client = s->client,
                           .listener = s->pool,
                           .pool = s->lease.pool,
                           .backend = s->lease.backend,
                           .lease = s->lease.lease,
                           .attempt = s->lease.attempt};
    bool is_named = s->stage >= LEASED;

    r.stage = s->stage == DONE ? REPLAY_RELAY : is_named ? REPLAY_LEASED : REPLAY_OPEN;
    must(admission_replay(admission, &w->worker, s->id, &r, is_named ? name_of(s->user) : SLICE(""),
                          m.now_ms));
}

static void replay(struct model_worker *w)
{
    for (int i = 0; i < SESSIONS; i++) {
        struct model_session *s = &w->sessions[i];

        /* One whose OPEN is open may be replayed or not; both are asked again. */
        if (s->stage != NONE && (s->stage != OPEN_ASKED || draw(2)))
            say_replay(w, s);
    }
    w->has_replayed = m.was_replayed = true;
    must(admission_replayed(admission, &w->worker, m.now_ms));
    for (int i = 0; i < SESSIONS; i++) {
        struct model_session *s = &w->sessions[i];

        s->tried = s->stage == FAILED_ASKED ? 1U << backend_of(s) : 0;
        if (s->stage == OPEN_ASKED)
            say_open(w, s);
        else if (s->stage == ADMIT_ASKED)
            say_admit(w, s);
        else if (s->stage == OK_ASKED)
            say_result(w, s, RESULT_OK);
        else if (s->stage == FAILED_ASKED)
            say_result(w, s, RESULT_FAILED);
    }
}

static void step_session(struct model_worker *w, struct model_session *s)
{
    if (s->stage == NONE) {
        *s = (struct model_session){
            .id = m.next_id++, .pool = draw(4) ? SHARED : OWN, .client = some_address()};
        say_open(w, s);
    } else if (draw(6) == 0) {
        s->stage = NONE;
        admission_end(admission, &w->worker, s->id, &(struct msg_end){.is_sent = true}, m.now_ms);
    } else if (s->stage == OPEN) {
        s->user = draw(USERS);
        if (draw(8) == 0) /* a proxy tells who it is */
            s->client = some_address();
        say_admit(w, s);
    } else if (s->stage == LEASED) {
        /* Nobody has the password of the last users. */
        uint32_t r = s->user < GOOD_USERS ? draw(8) : 4 + draw(4);

        say_result(w, s, r < 4 ? RESULT_OK : r < 6 ? RESULT_FAILED : RESULT_REFUSED);
    }
}

/* Things that no honest worker says; none may have an effect. */
static void talk_nonsense(struct model_worker *w, const struct model_session *s)
{
    struct msg_open open = {.listener = 2 + draw(3)};
    struct msg_result r = {.lease = {m.epoch, 1000000 + draw(1000)}, .result = draw(4)};
    struct msg_admit admit = {.client = some_address()};
    struct msg_replay again = {.pool = (uint16_t)draw(4), .backend = (uint16_t)draw(9)};
    size_t before = m.queue_n;
    uint32_t id = draw(2) ? s->id : draw(UINT32_MAX) | 1U << 31;

    assert_non_null(admission_open(admission, &w->worker, id, &open));
    assert_non_null(admission_result(admission, &w->worker, id, &r, m.now_ms));
    assert_non_null(
        admission_admit(admission, &w->worker, id | 1U << 31, &admit, SLICE("ann"), m.now_ms));
    assert_non_null(admission_admit(admission, &w->worker, id, &admit, SLICE(""), m.now_ms));
    if (w->has_replayed && w->worker.is_replayed)
        assert_non_null(
            admission_replay(admission, &w->worker, id, &again, SLICE("ann"), m.now_ms));
    admission_end(admission, &w->worker, id | 1U << 31, &(struct msg_end){0}, m.now_ms);
    assert_int_equal(m.queue_n, before);
}

/* --- what happens around ------------------------------------------------------------------- */

static void kill_worker(struct model_worker *w)
{
    size_t kept = 0;

    for (size_t i = 0; i < m.queue_n; i++) {
        if (m.queue[i].worker != w)
            m.queue[kept++] = m.queue[i];
    }
    m.queue_n = kept;
    memset(w->sessions, 0, sizeof w->sessions);
    w->is_alive = false;
    admission_detach(admission, &w->worker, m.now_ms);
}

static void start_worker(struct model_worker *w)
{
    w->is_alive = true;
    w->has_replayed = true;
    admission_attach(admission, &w->worker);
    if (draw(2)) /* some say so though there was nothing */
        must(admission_replayed(admission, &w->worker, m.now_ms));
}

static void stop_control(void)
{
    m.queue_n = 0;
    m.is_stopping = true;
    for (int w = 0; w < WORKERS; w++) {
        if (m.workers[w].is_alive)
            admission_detach(admission, &m.workers[w].worker, m.now_ms);
    }
    m.is_stopping = false;
    memset(m.is_queued, 0, sizeof m.is_queued);
    assert_int_equal(admission_sessions(admission), 0);
    assert_int_equal(admission_users(admission), 0);
    assert_int_equal(admission_due_ms(admission), 0);
    admission_free(&admission);
    backends_done(&backends);
}

static void set_addresses(uint32_t backend)
{
    assert_true(addr_parse_ip(SLICE("192.0.2.99"), 10143, &backends.all[backend].addresses[0]));
    backends.all[backend].addresses_n = 1;
    m.has_addresses[backend] = true;
}

static void start_control(void)
{
    struct admission_params params = {conf, &backends, ++m.epoch, &effects, NULL};
    struct load load;
    struct err err;
    size_t peers = 0;

    m.is_recovered = false;
    assert_int_equal(backends_init(&backends, conf, &err), 0);
    assert_int_equal(admission_new(&params, &admission, &err), 0);
    for (unsigned i = 0; i < SHARED_COUNT; i++)
        admission_share(admission, (enum shared_id)i, memories[i]);
    load = (struct load){admission_registry(admission), &backends};
    for (uint32_t b = 0; b < BACKENDS; b++) {
        backends.all[b].state = m.states[b];
        if (m.has_addresses[b])
            set_addresses(b);
    }
    for (unsigned u = 0; u < USERS; u++) {
        if (m.is_held[u])
            assert_int_equal(load_rows.hold(&load, name_of(u), &err), 0);
        if (m.is_on_disk[u])
            assert_int_equal(load_rows.placement(&load, SLICE("own"), name_of(u),
                                                 slice_str(backends_title(&backends, m.placed[u])),
                                                 &err),
                             0);
    }
    for (int w = 0; w < WORKERS; w++)
        peers += m.workers[w].is_alive;
    for (int w = 0; w < WORKERS; w++)
        m.workers[w].has_replayed = false;
    admission_start(admission, peers, m.now_ms);
    for (int w = 0; w < WORKERS; w++) {
        if (m.workers[w].is_alive)
            admission_attach(admission, &m.workers[w].worker);
    }
}

static void toggle_hold(unsigned user)
{
    struct load load = {admission_registry(admission), &backends};
    struct err err;

    m.is_held[user] = !m.is_held[user];
    if (m.is_held[user])
        assert_int_equal(load_rows.hold(&load, name_of(user), &err), 0);
    else if (m.is_recovered)
        admission_release(admission, name_of(user), m.now_ms);
    else
        m.is_held[user] = true;
}

static void pass_time(uint32_t ms)
{
    uint64_t end = m.now_ms + ms;
    uint64_t due;

    while ((due = admission_due_ms(admission)) != 0 && due <= end) {
        m.now_ms = due > m.now_ms ? due : m.now_ms;
        admission_tick(admission, m.now_ms);
        assert_true(admission_due_ms(admission) == 0 || admission_due_ms(admission) > m.now_ms);
    }
    m.now_ms = end;
}

/* Own storage: only the states that refuse, since draining changes where the unrecorded go. */
static void set_a_state(void)
{
    uint32_t b = draw(BACKENDS);

    m.states[b] = draw(2) ? BACKEND_UP : b < 2 || draw(2) ? BACKEND_DOWN : BACKEND_DRAIN;
    backends.all[b].state = m.states[b];
}

static void step(void)
{
    struct model_worker *w = &m.workers[draw(WORKERS)];
    uint32_t what = draw(400);

    if (what < 2) {
        stop_control();
        start_control();
    } else if (what < 5 && w->is_alive) {
        kill_worker(w);
    } else if (what < 20 && !w->is_alive) {
        start_worker(w);
    } else if (what < 20 && !w->has_replayed) {
        replay(w);
    } else if (what < 22) {
        toggle_hold(draw(USERS));
    } else if (what < 24) {
        set_a_state();
    } else if (what < 25) {
        uint32_t b = draw(2) ? 1 : 3;

        set_addresses(b);
        admission_addresses(admission, b);
    } else if (what < 27) {
        unsigned u = draw(USERS);

        m.is_on_disk[u] = m.is_on_disk[u] || m.is_queued[u];
    } else if (what < 35) {
        pass_time(draw(10000));
    } else if (what < 130) {
        deliver_some(draw(4));
    } else if (what < 135 && w->is_alive) {
        talk_nonsense(w, &w->sessions[draw(SESSIONS)]);
    } else if (w->is_alive && w->has_replayed) {
        step_session(w, &w->sessions[draw(SESSIONS)]);
    }
}

/* --- what must be so ----------------------------------------------------------------------- */

static void check_limit(struct map_node *node, void *arg)
{
    const struct source *source = CONTAINER(node, struct source, node);

    (void)arg;
    /* A site has no limit of its own. */
    if (source->network.bits != SITE_BITS)
        assert_true(source->sessions_n - source->opening_n <= PER_ADDRESS);
}

static void check_user_limit(struct map_node *node, void *arg)
{
    const struct user *u = CONTAINER(node, struct user, node);

    (void)arg;
    assert_true(u->sessions_n - u->delayed_n <= PER_USER);
}

static void check_visit_limit(struct map_node *node, void *arg)
{
    (void)arg;
    assert_true(CONTAINER(node, struct visit, node)->sessions_n <= PER_USER_ADDRESS);
}

static void check_counts(void)
{
    struct registry *registry = admission_registry(admission);
    struct recount r;

    recount_init(&r, registry);
    for (int w = 0; w < WORKERS; w++) {
        if (m.workers[w].is_alive)
            recount_worker(&r, &m.workers[w].worker);
    }
    recount_check(&r);
    if (m.was_replayed)
        return;
    map_each(&registry->sources.map, check_limit, NULL);
    map_each(&registry->users, check_user_limit, NULL);
    map_each(&registry->visits, check_visit_limit, NULL);
    assert_true(registry->logins_n <= LOGINS);
}

static void check(void)
{
    uint32_t where[2][USERS];
    size_t sessions = 0;

    memset(where, 0xff, sizeof where);
    for (int w = 0; w < WORKERS; w++) {
        for (int i = 0; i < SESSIONS; i++) {
            const struct model_session *s = &m.workers[w].sessions[i];

            sessions += s->stage != NONE;
            if (s->stage != DONE)
                continue;
            if (where[s->pool][s->user] == BACKEND_NONE)
                where[s->pool][s->user] = backend_of(s);
            assert_int_equal(where[s->pool][s->user], backend_of(s));
            if (s->pool == OWN)
                assert_int_equal(m.placed[s->user], backend_of(s));
        }
    }
    if (m.is_recovered)
        assert_true(admission_sessions(admission) <= sessions);
    check_counts();
}

static void give_verdicts(struct model_worker *w)
{
    for (int i = 0; w->is_alive && i < SESSIONS; i++) {
        if (w->sessions[i].stage == LEASED)
            say_result(w, &w->sessions[i], RESULT_REFUSED);
    }
}

/* All obstacles go, and time passes: nobody may be left without an answer. */
static void quiesce(void)
{
    for (int w = 0; w < WORKERS; w++) {
        if (m.workers[w].is_alive && !m.workers[w].has_replayed)
            replay(&m.workers[w]);
    }
    if (!m.is_recovered)
        fail_msg("not recovered though all have replayed");
    /* Who waits for what becomes of the logins in front is answered when these are over. */
    for (unsigned round = 0; round < WORKERS * SESSIONS; round++) {
        pass_time(120000);
        deliver_some(SIZE_MAX);
        for (int w = 0; w < WORKERS; w++)
            give_verdicts(&m.workers[w]);
    }
    for (int w = 0; w < WORKERS; w++) {
        for (int i = 0; i < SESSIONS; i++) {
            enum model_stage stage = m.workers[w].sessions[i].stage;

            assert_true(stage == NONE || stage == OPEN || stage == DONE);
        }
    }
    check();
}

static void run_once(uint64_t run)
{
    memset(&m, 0, sizeof m);
    m.seed = (run + 1) * 0x9e3779b97f4a7c15U;
    m.now_ms = 1000000;
    m.next_id = 1;
    for (unsigned u = 0; u < USERS; u++)
        m.placed[u] = BACKEND_NONE;
    start_control();
    for (unsigned i = 0; i < STEPS; i++) {
        step();
        check();
    }
    quiesce();
    for (int w = 0; w < WORKERS; w++) {
        if (m.workers[w].is_alive)
            kill_worker(&m.workers[w]);
    }
    stop_control();
}

static void test_random_runs_keep_every_promise(void **state)
{
    size_t logins = 0, refusals = 0, failures = 0, delayed = 0, refused[REFUSE_PENALTY + 1] = {0};

    (void)state;
    for (uint64_t run = 0; run < RUNS; run++) {
        run_once(run);
        logins += m.logins;
        refusals += m.refusals;
        failures += m.failures;
        delayed += m.counted[METRIC_LOGINS_DELAYED];
        for (size_t i = 0; i <= REFUSE_PENALTY; i++)
            refused[i] += m.refused[i];
    }
    print_message("%zu logins, %zu refusals, %zu failed, %zu delayed\n", logins, refusals, failures,
                  delayed);
    assert_true(logins > RUNS * 10 && refusals > RUNS * 10);
    assert_true(failures > RUNS * 5 && delayed > RUNS * 5);
    for (size_t i = 0; i <= REFUSE_PENALTY; i++) {
        print_message("refused %zu: %zu\n", i, refused[i]);
        assert_true(refused[i] > RUNS / 10);
    }
}

static int setup(void **state)
{
    struct err err;

    (void)state;
    for (unsigned i = 0; i < SHARED_COUNT; i++) {
        const char *lost;
        int fd = shared_create(&err);

        if (fd < 0 || shared_map(fd, &memories[i], &lost, &err) < 0)
            return -1;
        close(fd);
    }
    return conf_load_text(conf_text, "test", &conf, &err);
}

static int teardown(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SHARED_COUNT; i++)
        shared_unmap(&memories[i]);
    conf_free(&conf);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_random_runs_keep_every_promise, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
