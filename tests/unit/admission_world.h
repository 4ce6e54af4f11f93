/* A small world around admission, for its tests: a configuration, workers that talk as told, and a
 * record of all that admission says. */
#ifndef USHER_TESTS_ADMISSION_WORLD_H
#define USHER_TESTS_ADMISSION_WORLD_H

#include "control/admission.h"

#include "control/load.h"
#include "control/shared.h"
#include "names_said.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Listeners by number: their pools. */
enum { OWN, SHARED, NAMED, OWN_NAMED, TINY };
enum { WORKERS = 3, IDS = 64, LAST_EPOCH = 7, FIRST_INSTANCE = 20 };

static const char conf_text[] =
    "max_sessions = 50\nhold_timeout = 30s\nconnect_timeout = 5s\nuser_expire = 900s\n"
    "listener own { address = \"*:1\" }\n"
    "listener shared { address = \"*:2\" pool = shared }\n"
    "listener named { address = \"*:3\" pool = named }\n"
    "listener own_named { address = \"*:4\" pool = own_named }\n"
    "listener tiny { address = \"*:5\" pool = tiny }\n"
    "pool own { backend o1 { address = \"192.0.2.1:10143\" }\n"
    "  backend o2 { address = \"192.0.2.2:10143\" }\n"
    "  backend o3 { address = \"192.0.2.3:10143\" weight = 0 } }\n"
    "pool shared { storage = shared backend s1 { address = \"192.0.2.11:10143\" }\n"
    "  backend s2 { address = \"192.0.2.12:10143\" }\n"
    "  backend s3 { address = \"192.0.2.13:10143\" }\n"
    "  backend s4 { address = \"192.0.2.14:10143\" } }\n"
    "pool named { storage = shared backend n1 { address = \"n1.test:10143\" }\n"
    "  backend n2 { address = \"n2.test:10143\" } }\n"
    "pool own_named { backend p1 { address = \"p1.test:10143\" } }\n"
    "pool tiny { storage = shared backend t1 { address = \"192.0.2.21:10143\" } }\n";

static struct conf *conf;
static struct backends backends;
static struct shared *memories[SHARED_COUNT];
static struct admission *admission;
static struct load loading;
static struct err err;
static uint64_t now_ms;

static struct admission_worker workers[WORKERS];
static bool is_attached[WORKERS];
static struct names named[WORKERS];
static const struct conf *confs[WORKERS]; /* of workers of another generation; NULL: control's */
static struct msg_lease leases[WORKERS][IDS];      /* the last that each session was given */
static char tails[WORKERS][IDS][2 * IPC_USER_MAX]; /* behind them */
static size_t tails_n[WORKERS][IDS];
static uint32_t last_question;
static uint32_t descriptors, ports; /* of the next control's params; 0: not known */
static char told[1 << 20];
static const char *client; /* where sessions come from, as in "192.0.2.1"; NULL: not known */
static unsigned counted[METRIC_COUNT];

/* --- what admission says ------------------------------------------------------------------- */

static inline void tell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static inline void tell(const char *fmt, ...)
{
    size_t n = strlen(told);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(told + n, sizeof told - n, fmt, ap);
    va_end(ap);
}

static inline int number(const struct admission_worker *w)
{
    return (int)(w - workers);
}

static inline void on_go(void *arg, struct admission_worker *w, uint32_t id)
{
    (void)arg;
    tell("go %d.%u\n", number(w), id);
}

static inline const char *title_of(const struct msg_lease *l)
{
    return conf->pools[l->pool].backends[l->backend].title;
}

static inline void on_lease(void *arg, struct admission_worker *w, uint32_t id,
                            const struct msg_lease *lease, struct slice tail)
{
    (void)arg;
    tails_n[number(w)][id % IDS] = tail.n;
    memcpy(tails[number(w)][id % IDS], tail.p, tail.n);
    assert_true(lease->addresses_n > 0);
    assert_int_not_equal(backends.all[backends_at(&backends, lease->pool, lease->backend)].state,
                         BACKEND_DOWN);
    assert_int_equal(lease->lease.epoch, LAST_EPOCH);
    leases[number(w)][id % IDS] = *lease;
    tell("lease %d.%u %s attempt %u\n", number(w), id, title_of(lease), lease->attempt);
}

static inline void on_done(void *arg, struct admission_worker *w, uint32_t id)
{
    (void)arg;
    tell("done %d.%u\n", number(w), id);
}

static inline void on_refuse(void *arg, struct admission_worker *w, uint32_t id, enum refuse code,
                             const char *why, struct slice told_to_client)
{
    static const char *const names[] = {"UNAVAILABLE", "INUSE",       "MAX_SESSIONS",
                                        "MAX_ADDRESS", "MAX_USER",    "PENALTY",
                                        "DISABLED",    "CREDENTIALS", "OUTDATED"};

    (void)arg;
    tell("refuse %d.%u %s: %s\n", number(w), id, names[code], why);
    if (told_to_client.n > 0)
        tell("  saying %.*s\n", SLICE_ARG(told_to_client));
}

static inline void on_kick(void *arg, struct admission_worker *w, uint32_t id, enum kick why)
{
    (void)arg;
    tell("kick %d.%u%s\n", number(w), id,
         why == KICK_MOVED  ? " moved"
         : why == KICK_DOWN ? " down"
                            : "");
}

static inline void on_placed(void *arg, struct slice user, const char *pool, const char *backend)
{
    (void)arg;
    tell("placed %.*s %s %s\n", SLICE_ARG(user), pool, backend);
}

/* How a user whose sessions are stranded is moved; NULL: that cannot be. */
static int (*strand)(struct user *u, uint32_t to);

static inline int on_strand(void *arg, struct user *u, uint32_t to, uint64_t now, struct err *e)
{
    (void)arg;
    (void)now;
    tell("strand %.*s %s\n", SLICE_ARG(user_name(u)), backends_title(&backends, to));
    return strand ? strand(u, to) : err_set(e, 0, "nobody moves users here");
}

static inline void on_held(void *arg, struct slice user, size_t waiting)
{
    (void)arg;
    tell("held %.*s %zu\n", SLICE_ARG(user), waiting);
}

static inline void on_auth_failed(void *arg, const struct auth_failed *f)
{
    char text[INET6_ADDRSTRLEN];

    (void)arg;
    tell("failed %s %.*s %u %u\n", network_format(&f->client, text), SLICE_ARG(f->user),
         f->failures, f->user_failures);
}

static inline void on_count(void *arg, enum metric metric)
{
    (void)arg;
    counted[metric]++;
}

static inline void on_recovered(void *arg, size_t sessions, size_t users)
{
    (void)arg;
    tell("recovered %zu %zu\n", sessions, users);
}

static inline void on_queued(void *arg, uint32_t backend, size_t waiting, const char *limit)
{
    (void)arg;
    tell("queued %s %zu: %s\n", backends_title(&backends, backend), waiting, limit);
}

static inline void on_health(void *arg, uint32_t backend, enum health_state was, uint64_t lasted_ms,
                             struct slice detail)
{
    (void)arg;
    (void)lasted_ms;
    tell("health %s %s, was %s: %.*s\n", backends_title(&backends, backend),
         health_name((enum health_state)backends.all[backend].health.state), health_name(was),
         SLICE_ARG(detail));
}

static inline void on_came_back(void *arg, uint32_t backend, uint64_t now)
{
    (void)arg;
    (void)now;
    tell("back %s\n", backends_title(&backends, backend));
}

static inline void on_ask_facts(void *arg, uint32_t question, struct slice user, bool is_fresh)
{
    (void)arg;
    last_question = question;
    tell("ask %.*s%s\n", SLICE_ARG(user), is_fresh ? " fresh" : "");
}

static inline void on_flush_facts(void *arg, struct slice user)
{
    (void)arg;
    tell("flush %.*s\n", SLICE_ARG(user));
}

static const struct admission_effects effects = {.go = on_go,
                                                 .lease = on_lease,
                                                 .done = on_done,
                                                 .refuse = on_refuse,
                                                 .kick = on_kick,
                                                 .placed = on_placed,
                                                 .strand = on_strand,
                                                 .held = on_held,
                                                 .auth_failed = on_auth_failed,
                                                 .count = on_count,
                                                 .recovered = on_recovered,
                                                 .queued = on_queued,
                                                 .health = on_health,
                                                 .came_back = on_came_back,
                                                 .ask_facts = on_ask_facts,
                                                 .flush_facts = on_flush_facts};

static inline void assert_told(const char *want)
{
    assert_string_equal(told, want);
    told[0] = '\0';
}

/* Takes what was told as it is; for what another test has looked at. */
static inline void hush(void)
{
    told[0] = '\0';
}

/* Whether what was told begins so. */
static inline void assert_tells(const char *start)
{
    if (strncmp(told, start, strlen(start)) != 0)
        fail_msg("told \"%s\", not \"%s\"", told, start);
    told[0] = '\0';
}

/* --- what workers say ---------------------------------------------------------------------- */

static inline void must(const char *wrong)
{
    if (wrong)
        fail_msg("%s", wrong);
}

static inline struct addr client_address(void)
{
    struct addr a = {0};

    if (client)
        assert_true(addr_parse_ip(slice_str(client), 4711, &a));
    return a;
}

static inline const char *try_open(int w, uint32_t id, uint32_t listener)
{
    struct msg_open m = {.client = client_address(), .listener = listener};
    uint16_t door;

    if (!names_door(&named[w], listener, &door))
        return "no such listener";
    return admission_open(admission, &workers[w], id, door, &m);
}

static inline const char *try_admit(int w, uint32_t id, const char *user)
{
    struct msg_admit m = {.client = client_address()};

    return admission_admit(admission, &workers[w], id, &m, slice_str(user), now_ms);
}

static inline const char *try_result(int w, uint32_t id, struct lease_id lease, uint32_t result)
{
    struct msg_result m = {.lease = lease, .result = result};

    return admission_result(admission, &workers[w], id, &m, now_ms);
}

static inline void open_quietly(int w, uint32_t id, uint32_t listener)
{
    must(try_open(w, id, listener));
    hush();
}

/* A new session that asks for `user`. */
static inline void admit(int w, uint32_t id, uint32_t listener, const char *user)
{
    open_quietly(w, id, listener);
    must(try_admit(w, id, user));
}

static inline void result(int w, uint32_t id, enum result r)
{
    must(try_result(w, id, leases[w][id % IDS].lease, r));
}

/* The attempt has failed, and the backend is not to blame. */
static inline void fail_here(int w, uint32_t id)
{
    const struct msg_result m = {
        .lease = leases[w][id % IDS].lease, .result = RESULT_FAILED, .fault = FAULT_OURS};

    must(admission_result(admission, &workers[w], id, &m, now_ms));
}

/* A new session that is logged in. Returns its backend. */
static inline const char *log_in(int w, uint32_t id, uint32_t listener, const char *user)
{
    admit(w, id, listener, user);
    if (strncmp(told, "lease", 5) != 0)
        fail_msg("no lease but %s", told);
    result(w, id, RESULT_OK);
    hush();
    return title_of(&leases[w][id % IDS]);
}

static inline void end(int w, uint32_t id)
{
    const struct msg_end m = {.is_sent = true};

    admission_end(admission, &workers[w], id, &m, now_ms);
}

/* --- what lookup, probes and the clock say -------------------------------------------------- */

static inline void answer(uint32_t question, enum facts_status status, const char *text)
{
    const struct facts_answer a = {
        .status = status, .directory = SLICE("people"), .text = slice_str(text)};

    admission_answered(admission, question, &a, now_ms);
}

/* The last question's answer. */
static inline void found(const char *facts)
{
    answer(last_question, FACTS_FOUND, facts);
}

static inline struct backend *backend_at(const char *title)
{
    uint32_t n = backends_number(&backends, slice_str(title));

    assert_true(n < backends.n);
    return &backends.all[n];
}

static inline void probed(const char *backend, bool is_ok)
{
    admission_probed(admission, (uint32_t)(backend_at(backend) - backends.all), is_ok,
                     is_ok ? SLICE("") : SLICE("connect: refused"), now_ms);
}

/* By its probes. What comes of it is told. */
static inline void fall(const char *backend)
{
    uint32_t n = conf->pools[backend_at(backend)->pool].check_fall;

    for (uint32_t i = 0; i < n; i++)
        probed(backend, false);
}

static inline void rise(const char *backend)
{
    uint32_t n = conf->pools[backend_at(backend)->pool].check_rise;

    for (uint32_t i = 0; i < n; i++)
        probed(backend, true);
}

/* Time passes, and whatever is due by then happens. */
static inline void elapse(uint64_t ms)
{
    uint64_t end_ms = now_ms + ms, due_ms;

    while ((due_ms = admission_due_ms(admission)) != 0 && due_ms <= end_ms) {
        now_ms = due_ms > now_ms ? due_ms : now_ms;
        admission_tick(admission, now_ms);
        due_ms = admission_due_ms(admission);
        assert_true(due_ms == 0 || due_ms > now_ms);
    }
    now_ms = end_ms;
}

static inline void attach(int w)
{
    names_of_conf(&named[w], &backends, confs[w] ? confs[w] : conf);
    workers[w].names = &named[w];
    workers[w].instance = FIRST_INSTANCE + (uint32_t)w;
    admission_attach(admission, &workers[w]);
    is_attached[w] = true;
}

static inline void detach(int w)
{
    is_attached[w] = false;
    admission_detach(admission, &workers[w], now_ms);
    names_done(&named[w]);
}

static inline const char *replay(int w, uint32_t id, struct msg_replay m, const char *user)
{
    struct whereabouts there;
    const char *wrong = names_whereabouts(&named[w], &m, &there);

    if (wrong)
        return wrong;
    if (m.stage == REPLAY_LEASED)
        leases[w][id % IDS].lease = m.lease;
    m.client = client_address();
    return admission_replay(admission, &workers[w], id, &there, &m, slice_str(user), now_ms);
}

/* As a worker with this configuration says it; each pool's listener has its number. */
static inline struct msg_replay at_by(const struct conf *c, const char *backend,
                                      enum replay_stage stage)
{
    for (uint16_t p = 0; p < c->pools_n; p++) {
        for (uint16_t i = 0; i < c->pools[p].backends_n; i++) {
            if (strcmp(c->pools[p].backends[i].title, backend) == 0)
                return (struct msg_replay){.pool = p,
                                           .backend = i,
                                           .listener = p,
                                           .stage = (uint16_t)stage,
                                           .lease = {LAST_EPOCH - 1, 17},
                                           .attempt = 1};
        }
    }
    fail();
    return (struct msg_replay){0};
}

static inline struct msg_replay at(const char *backend, enum replay_stage stage)
{
    return at_by(conf, backend, stage);
}

/* --- the state file ------------------------------------------------------------------------ */

static inline void placement(const char *pool, const char *user, const char *backend)
{
    assert_int_equal(
        load_rows.placement(&loading, slice_str(pool), slice_str(user), slice_str(backend), &err),
        0);
}

static inline void pin(const char *user, const char *backend)
{
    assert_int_equal(load_rows.pin(&loading, slice_str(user), slice_str(backend), &err), 0);
}

static inline void hold(const char *user)
{
    assert_int_equal(load_rows.hold(&loading, slice_str(user), &err), 0);
}

static inline void set_state(const char *backend, const char *word)
{
    assert_int_equal(load_rows.backend_state(&loading, slice_str(backend), slice_str(word), &err),
                     0);
}

/* --- frame --------------------------------------------------------------------------------- */

/* A new control on the same shared memory, before admission_start(). */
static inline void new_control(void)
{
    struct admission_params params = {.conf = conf,
                                      .backends = &backends,
                                      .epoch = LAST_EPOCH,
                                      .effects = &effects,
                                      .descriptors = descriptors,
                                      .ports = ports,
                                      .now_ms = now_ms};

    if (backends_init(&backends, conf, &err) < 0 || admission_new(&params, &admission, &err) < 0)
        fail_msg("%s", err.text);
    for (unsigned i = 0; i < SHARED_COUNT; i++)
        admission_share(admission, (enum shared_id)i, memories[i]);
    loading = (struct load){admission_registry(admission), &backends};
}

static inline void end_control(void)
{
    for (int w = 0; w < WORKERS; w++) {
        if (is_attached[w])
            detach(w);
    }
    assert_int_equal(admission_sessions(admission), 0);
    assert_int_equal(admission_users(admission), 0);
    admission_free(&admission);
    backends_done(&backends);
}

/* The control that follows, with workers 0 and 1 to be waited for. */
static inline void restart(void)
{
    end_control();
    new_control();
    admission_start(admission, 2, now_ms);
    attach(0);
    attach(1);
    hush();
}

static inline int make_memories(void)
{
    for (unsigned i = 0; i < SHARED_COUNT; i++) {
        const char *lost;
        int fd = shared_create(&err);

        if (fd < 0 || shared_map(fd, &memories[i], &lost, &err) < 0)
            return -1;
        close(fd);
    }
    return 0;
}

/* *state: further settings, which count in place of those above, or NULL. */
static inline int setup_waiting(void **state)
{
    char text[sizeof conf_text + 4096];

    snprintf(text, sizeof text, "%s%s", conf_text, *state ? (const char *)*state : "");
    now_ms = 1000000;
    client = NULL;
    strand = NULL;
    memset(confs, 0, sizeof confs);
    descriptors = ports = 0;
    memset(counted, 0, sizeof counted);
    if (make_memories() < 0 || conf_load_text(text, "test", &conf, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return -1;
    }
    new_control();
    hush();
    return 0;
}

static inline int setup(void **state)
{
    if (setup_waiting(state) < 0)
        return -1;
    admission_start(admission, 0, now_ms);
    attach(0);
    attach(1);
    hush();
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    end_control();
    for (unsigned i = 0; i < SHARED_COUNT; i++)
        shared_unmap(&memories[i]);
    conf_free(&conf);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define WITH(settings, name) \
    cmocka_unit_test_prestate_setup_teardown(name, setup, teardown, (void *)(uintptr_t)(settings))
#define WAITING(name) cmocka_unit_test_setup_teardown(name, setup_waiting, teardown)

#endif
