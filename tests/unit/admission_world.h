/* A small world around admission, for its tests: a configuration, workers that talk as told, and a
 * record of all that admission says. */
#ifndef USHER_TESTS_ADMISSION_WORLD_H
#define USHER_TESTS_ADMISSION_WORLD_H

#include "control/admission.h"

#include "control/load.h"
#include "control/shared.h"

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
enum { WORKERS = 3, IDS = 64, LAST_EPOCH = 7 };

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
static struct shared *shared;
static struct admission *admission;
static struct load loading;
static struct err err;
static uint64_t now_ms;

static struct admission_worker workers[WORKERS];
static bool is_attached[WORKERS];
static struct msg_lease leases[WORKERS][IDS]; /* the last that each session was given */
static char told[1 << 20];

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
                            const struct msg_lease *lease)
{
    (void)arg;
    assert_true(lease->addresses_n > 0);
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
                             const char *why)
{
    static const char *const names[] = {"UNAVAILABLE", "INUSE", "LIMIT"};

    (void)arg;
    tell("refuse %d.%u %s: %s\n", number(w), id, names[code], why);
}

static inline void on_placed(void *arg, struct slice user, const char *pool, const char *backend)
{
    (void)arg;
    tell("placed %.*s %s %s\n", SLICE_ARG(user), pool, backend);
}

static inline void on_held(void *arg, struct slice user, size_t waiting)
{
    (void)arg;
    tell("held %.*s %zu\n", SLICE_ARG(user), waiting);
}

static inline void on_recovered(void *arg, size_t sessions, size_t users)
{
    (void)arg;
    tell("recovered %zu %zu\n", sessions, users);
}

static const struct admission_effects effects = {on_go,     on_lease, on_done,     on_refuse,
                                                 on_placed, on_held,  on_recovered};

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

static inline const char *try_open(int w, uint32_t id, uint32_t listener)
{
    struct msg_open m = {.listener = listener};

    return admission_open(admission, &workers[w], id, &m);
}

static inline const char *try_admit(int w, uint32_t id, const char *user)
{
    return admission_admit(admission, &workers[w], id, slice_str(user), now_ms);
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
    admission_end(admission, &workers[w], id, now_ms);
}

static inline void attach(int w)
{
    admission_attach(admission, &workers[w]);
    is_attached[w] = true;
}

static inline void detach(int w)
{
    is_attached[w] = false;
    admission_detach(admission, &workers[w], now_ms);
}

static inline const char *replay(int w, uint32_t id, struct msg_replay m, const char *user)
{
    if (m.stage == REPLAY_LEASED)
        leases[w][id % IDS].lease = m.lease;
    return admission_replay(admission, &workers[w], id, &m, slice_str(user), now_ms);
}

static inline struct msg_replay at(const char *backend, enum replay_stage stage)
{
    uint32_t n = backends_number(&backends, slice_str(backend));

    return (struct msg_replay){.pool = backends.all[n].pool,
                               .backend = backends.all[n].index,
                               .listener = backends.all[n].pool,
                               .stage = (uint16_t)stage,
                               .lease = {LAST_EPOCH - 1, 17},
                               .attempt = 1};
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
    struct admission_params params = {conf, &backends, LAST_EPOCH, &effects, NULL};

    if (backends_init(&backends, conf, &err) < 0)
        fail_msg("%s", err.text);
    admission = admission_new(&params);
    assert_non_null(admission);
    admission_share(admission, shared);
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

static inline int setup_waiting(void **state)
{
    const char *lost;
    int fd = shared_create(&err);

    (void)state;
    now_ms = 1000000;
    if (fd < 0 || shared_map(fd, &shared, &lost, &err) < 0 ||
        conf_load_text(conf_text, "test", &conf, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return -1;
    }
    close(fd);
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
    shared_unmap(&shared);
    conf_free(&conf);
    return 0;
}

#define TEST(name)    cmocka_unit_test_setup_teardown(name, setup, teardown)
#define WAITING(name) cmocka_unit_test_setup_teardown(name, setup_waiting, teardown)

#endif
