/* Admission's rules, one sentence each: what workers ask, and what they are told. */
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

static void tell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void tell(const char *fmt, ...)
{
    size_t n = strlen(told);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(told + n, sizeof told - n, fmt, ap);
    va_end(ap);
}

static int number(const struct admission_worker *w)
{
    return (int)(w - workers);
}

static void on_go(void *arg, struct admission_worker *w, uint32_t id)
{
    (void)arg;
    tell("go %d.%u\n", number(w), id);
}

static const char *title_of(const struct msg_lease *l)
{
    return conf->pools[l->pool].backends[l->backend].title;
}

static void on_lease(void *arg, struct admission_worker *w, uint32_t id,
                     const struct msg_lease *lease)
{
    (void)arg;
    assert_true(lease->addresses_n > 0);
    assert_int_equal(lease->lease.epoch, LAST_EPOCH);
    leases[number(w)][id % IDS] = *lease;
    tell("lease %d.%u %s attempt %u\n", number(w), id, title_of(lease), lease->attempt);
}

static void on_done(void *arg, struct admission_worker *w, uint32_t id)
{
    (void)arg;
    tell("done %d.%u\n", number(w), id);
}

static void on_refuse(void *arg, struct admission_worker *w, uint32_t id, enum refuse code,
                      const char *why)
{
    static const char *const names[] = {"UNAVAILABLE", "INUSE", "LIMIT"};

    (void)arg;
    tell("refuse %d.%u %s: %s\n", number(w), id, names[code], why);
}

static void on_placed(void *arg, struct slice user, const char *pool, const char *backend)
{
    (void)arg;
    tell("placed %.*s %s %s\n", SLICE_ARG(user), pool, backend);
}

static void on_held(void *arg, struct slice user, size_t waiting)
{
    (void)arg;
    tell("held %.*s %zu\n", SLICE_ARG(user), waiting);
}

static void on_recovered(void *arg, size_t sessions, size_t users)
{
    (void)arg;
    tell("recovered %zu %zu\n", sessions, users);
}

static const struct admission_effects effects = {on_go,     on_lease, on_done,     on_refuse,
                                                 on_placed, on_held,  on_recovered};

static void assert_told(const char *want)
{
    assert_string_equal(told, want);
    told[0] = '\0';
}

/* Takes what was told as it is; for what another test has looked at. */
static void hush(void)
{
    told[0] = '\0';
}

/* Whether what was told begins so. */
static void assert_tells(const char *start)
{
    if (strncmp(told, start, strlen(start)) != 0)
        fail_msg("told \"%s\", not \"%s\"", told, start);
    told[0] = '\0';
}

/* --- what workers say ---------------------------------------------------------------------- */

static void must(const char *wrong)
{
    if (wrong)
        fail_msg("%s", wrong);
}

static const char *try_open(int w, uint32_t id, uint32_t listener)
{
    struct msg_open m = {.listener = listener};

    return admission_open(admission, &workers[w], id, &m);
}

static const char *try_admit(int w, uint32_t id, const char *user)
{
    return admission_admit(admission, &workers[w], id, slice_str(user), now_ms);
}

static const char *try_result(int w, uint32_t id, struct lease_id lease, uint32_t result)
{
    struct msg_result m = {.lease = lease, .result = result};

    return admission_result(admission, &workers[w], id, &m, now_ms);
}

static void open_quietly(int w, uint32_t id, uint32_t listener)
{
    must(try_open(w, id, listener));
    hush();
}

/* A new session that asks for `user`. */
static void admit(int w, uint32_t id, uint32_t listener, const char *user)
{
    open_quietly(w, id, listener);
    must(try_admit(w, id, user));
}

static void result(int w, uint32_t id, enum result r)
{
    must(try_result(w, id, leases[w][id % IDS].lease, r));
}

/* A new session that is logged in. Returns its backend. */
static const char *log_in(int w, uint32_t id, uint32_t listener, const char *user)
{
    admit(w, id, listener, user);
    if (strncmp(told, "lease", 5) != 0)
        fail_msg("no lease but %s", told);
    result(w, id, RESULT_OK);
    hush();
    return title_of(&leases[w][id % IDS]);
}

static void end(int w, uint32_t id)
{
    admission_end(admission, &workers[w], id, now_ms);
}

static void attach(int w)
{
    admission_attach(admission, &workers[w]);
    is_attached[w] = true;
}

static void detach(int w)
{
    is_attached[w] = false;
    admission_detach(admission, &workers[w], now_ms);
}

static const char *replay(int w, uint32_t id, struct msg_replay m, const char *user)
{
    if (m.stage == REPLAY_LEASED)
        leases[w][id % IDS].lease = m.lease;
    return admission_replay(admission, &workers[w], id, &m, slice_str(user), now_ms);
}

static struct msg_replay at(const char *backend, enum replay_stage stage)
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

static void placement(const char *pool, const char *user, const char *backend)
{
    assert_int_equal(
        load_rows.placement(&loading, slice_str(pool), slice_str(user), slice_str(backend), &err),
        0);
}

static void pin(const char *user, const char *backend)
{
    assert_int_equal(load_rows.pin(&loading, slice_str(user), slice_str(backend), &err), 0);
}

static void hold(const char *user)
{
    assert_int_equal(load_rows.hold(&loading, slice_str(user), &err), 0);
}

static void set_state(const char *backend, const char *word)
{
    assert_int_equal(load_rows.backend_state(&loading, slice_str(backend), slice_str(word), &err),
                     0);
}

/* --- frame --------------------------------------------------------------------------------- */

/* A new control on the same shared memory, before admission_start(). */
static void new_control(void)
{
    struct admission_params params = {conf, &backends, LAST_EPOCH, &effects, NULL};

    if (backends_init(&backends, conf, &err) < 0)
        fail_msg("%s", err.text);
    admission = admission_new(&params);
    assert_non_null(admission);
    admission_share(admission, shared);
    loading = (struct load){admission_registry(admission), &backends};
}

static void end_control(void)
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
static void restart(void)
{
    end_control();
    new_control();
    admission_start(admission, 2, now_ms);
    attach(0);
    attach(1);
    hush();
}

static int setup_waiting(void **state)
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

static int setup(void **state)
{
    if (setup_waiting(state) < 0)
        return -1;
    admission_start(admission, 0, now_ms);
    attach(0);
    attach(1);
    hush();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    end_control();
    shared_unmap(&shared);
    conf_free(&conf);
    return 0;
}

/* --- OPEN ---------------------------------------------------------------------------------- */

static void test_a_connection_may_come_in(void **state)
{
    (void)state;
    must(try_open(0, 1, OWN));
    assert_told("go 0.1\n");
    assert_int_equal(admission_sessions(admission), 1);
    end(0, 1);
    assert_int_equal(admission_sessions(admission), 0);
    assert_told("");
}

static void test_max_sessions_counts_over_all_workers(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 50; i++)
        open_quietly((int)(i % 2), i, OWN);
    must(try_open(0, 100, OWN));
    assert_tells("refuse 0.100 UNAVAILABLE: max_sessions");
    assert_int_equal(admission_sessions(admission), 50);
    end(0, 100);
    end(1, 1);
    must(try_open(0, 101, OWN));
    assert_told("go 0.101\n");
}

static void test_a_number_may_be_used_again_after_its_end(void **state)
{
    (void)state;
    log_in(0, 1, OWN, "ann");
    end(0, 1);
    must(try_open(0, 1, SHARED));
    assert_told("go 0.1\n");
}

/* --- own storage --------------------------------------------------------------------------- */

static void test_a_new_user_is_placed_by_the_first_good_login(void **state)
{
    char want[128];

    (void)state;
    admit(0, 1, OWN, "ann");
    snprintf(want, sizeof want, "lease 0.1 %s attempt 1\n", title_of(&leases[0][1]));
    assert_told(want);
    result(0, 1, RESULT_OK);
    snprintf(want, sizeof want, "placed ann own %s\ndone 0.1\n", title_of(&leases[0][1]));
    assert_told(want);
    end(0, 1);
    admit(0, 2, OWN, "ann");
    assert_int_equal(leases[0][2].backend, leases[0][1].backend);
    hush();
    result(0, 2, RESULT_OK);
    assert_told("done 0.2\n");
}

static void test_a_refused_login_places_nobody(void **state)
{
    (void)state;
    admit(0, 1, OWN, "ann");
    hush();
    result(0, 1, RESULT_REFUSED);
    assert_told("");
    assert_int_equal(admission_users(admission), 0);
}

static void test_a_weight_of_zero_takes_nobody_new(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 40; i++) {
        char user[16];

        snprintf(user, sizeof user, "user%u", i);
        assert_string_not_equal(log_in(0, i, OWN, user), "o3");
    }
}

static void test_a_placement_counts_whatever_hash_and_weight_say(void **state)
{
    (void)state;
    placement("own", "ann", "o3");
    placement("own", "bob", "o1");
    placement("own", "cid", "o2");
    assert_string_equal(log_in(0, 1, OWN, "ann"), "o3");
    assert_string_equal(log_in(0, 2, OWN, "bob"), "o1");
    assert_string_equal(log_in(0, 3, OWN, "cid"), "o2");
}

static void test_a_user_placed_on_a_backend_that_is_gone_is_not_sent_elsewhere(void **state)
{
    (void)state;
    placement("own", "ann", "o9");
    placement("own", "bob", "s1");
    admit(0, 1, OWN, "ann");
    assert_told("refuse 0.1 UNAVAILABLE: the user is placed on o9, which is not in the "
                "configuration\n");
    admit(0, 2, OWN, "bob");
    assert_told("refuse 0.2 UNAVAILABLE: the user is placed on s1, which is no longer in pool "
                "own\n");
}

static void test_a_user_of_own_storage_never_fails_over(void **state)
{
    char want[128];

    (void)state;
    admit(0, 1, OWN, "ann");
    hush();
    result(0, 1, RESULT_FAILED);
    snprintf(want, sizeof want, "refuse 0.1 UNAVAILABLE: backend %s failed\n",
             title_of(&leases[0][1]));
    assert_told(want);
    must(try_admit(0, 1, "ann"));
    snprintf(want, sizeof want, "lease 0.1 %s attempt 1\n", title_of(&leases[0][1]));
    assert_told(want);
}

static void test_a_pin_wins_over_a_placement(void **state)
{
    (void)state;
    placement("own", "ann", "o1");
    pin("ann", "o2");
    assert_string_equal(log_in(0, 1, OWN, "ann"), "o2");
    assert_told("");
}

static void test_a_pin_places_who_was_not_placed(void **state)
{
    (void)state;
    pin("ann", "o3");
    admit(0, 1, OWN, "ann");
    result(0, 1, RESULT_OK);
    assert_told("lease 0.1 o3 attempt 1\nplaced ann own o3\ndone 0.1\n");
}

static void test_a_pin_to_a_backend_that_is_gone_is_not_passed_over(void **state)
{
    (void)state;
    pin("ann", "o9");
    admit(0, 1, OWN, "ann");
    assert_told("refuse 0.1 UNAVAILABLE: the user is pinned to o9, which is not in the "
                "configuration\n");
}

static void test_a_pin_to_another_pool_says_nothing_here(void **state)
{
    (void)state;
    pin("ann", "s2");
    admit(0, 1, OWN, "ann");
    assert_tells("lease 0.1 o");
    assert_string_equal(log_in(0, 2, SHARED, "ann"), "s2");
}

static void test_a_pin_waits_until_the_sessions_elsewhere_have_ended(void **state)
{
    (void)state;
    restart();
    pin("ann", "o2");
    must(replay(0, 1, at("o1", REPLAY_RELAY), "ann"));
    must(admission_replayed(admission, &workers[0], now_ms));
    must(admission_replayed(admission, &workers[1], now_ms));
    admit(1, 1, OWN, "ann");
    assert_told("refuse 1.1 UNAVAILABLE: the user is pinned to o2 but has sessions on o1\n");
    end(0, 1);
    must(try_admit(1, 1, "ann"));
    assert_told("lease 1.1 o2 attempt 1\n");
}

static void test_the_same_name_in_two_pools_is_two_users(void **state)
{
    (void)state;
    log_in(0, 1, OWN, "ann");
    log_in(0, 2, SHARED, "ann");
    assert_int_equal(admission_users(admission), 2);
}

static void test_names_are_bytes(void **state)
{
    (void)state;
    placement("own", "\xff\xfe", "o3");
    assert_string_equal(log_in(0, 1, OWN, "\xff\xfe"), "o3");
    placement("own", "Ann", "o3");
    admit(0, 2, OWN, "ann");
    assert_true(strcmp(title_of(&leases[0][2]), "o3") != 0);
}

/* --- shared storage ------------------------------------------------------------------------ */

static void test_sessions_of_a_user_stay_together(void **state)
{
    const char *first = log_in(0, 1, SHARED, "ann");

    (void)state;
    for (uint32_t i = 2; i < 10; i++)
        assert_string_equal(log_in((int)(i % 2), i, SHARED, "ann"), first);
    assert_int_equal(admission_users(admission), 1);
}

static void test_a_second_login_follows_an_open_lease(void **state)
{
    (void)state;
    admit(0, 1, SHARED, "ann");
    result(0, 1, RESULT_FAILED);
    hush();
    /* By hash it would be the first choice again. */
    admit(1, 2, SHARED, "ann");
    assert_int_equal(leases[1][2].backend, leases[0][1].backend);
    assert_int_equal(leases[1][2].attempt, 1);
    assert_int_equal(leases[0][1].attempt, 2);
}

static void test_shared_storage_records_no_placement(void **state)
{
    (void)state;
    admit(0, 1, SHARED, "ann");
    hush();
    result(0, 1, RESULT_OK);
    assert_told("done 0.1\n");
    placement("shared", "bob", "s9");
    log_in(0, 2, SHARED, "bob");
}

/* Logs `user` in on another backend than the hash's first choice; tells which. */
static const char *log_in_on_second(int w, uint32_t id, const char *user)
{
    admit(w, id, SHARED, user);
    result(w, id, RESULT_FAILED);
    result(w, id, RESULT_OK);
    hush();
    return title_of(&leases[w][id % IDS]);
}

static void test_affinity_brings_a_user_back_until_it_expires(void **state)
{
    const char *second = log_in_on_second(0, 1, "ann");

    (void)state;
    now_ms += 5000 * 1000; /* long sessions keep it by themselves */
    end(0, 1);
    now_ms += 900 * 1000;
    assert_string_equal(log_in(0, 2, SHARED, "ann"), second);
    end(0, 2);
    now_ms += 902 * 1000;
    assert_string_not_equal(log_in(0, 3, SHARED, "ann"), second);
}

static void test_affinity_outlives_control(void **state)
{
    const char *second = log_in_on_second(0, 1, "ann");

    (void)state;
    restart();
    must(admission_replayed(admission, &workers[0], now_ms));
    must(admission_replayed(admission, &workers[1], now_ms));
    assert_string_equal(log_in(0, 1, SHARED, "ann"), second);
}

static void test_without_shared_memory_there_is_no_affinity(void **state)
{
    const char *first, *second = log_in_on_second(0, 1, "ann");

    (void)state;
    end(0, 1);
    admission_share(admission, NULL);
    first = log_in(0, 2, SHARED, "ann");
    assert_string_not_equal(first, second);
    admission_share(admission, shared);
}

static void test_affinity_to_a_backend_that_takes_nothing_new_does_not_count(void **state)
{
    char second[8];

    (void)state;
    snprintf(second, sizeof second, "%s", log_in_on_second(0, 1, "ann"));
    end(0, 1);
    set_state(second, "drain");
    assert_string_not_equal(log_in(0, 2, SHARED, "ann"), second);
}

static void test_a_failed_attempt_goes_on_to_the_next_at_most_three_times(void **state)
{
    uint16_t first, second;

    (void)state;
    admit(0, 1, SHARED, "ann");
    hush();
    first = leases[0][1].backend;
    result(0, 1, RESULT_FAILED);
    assert_tells("lease 0.1 ");
    second = leases[0][1].backend;
    assert_int_equal(leases[0][1].attempt, 2);
    result(0, 1, RESULT_FAILED);
    assert_tells("lease 0.1 ");
    assert_int_equal(leases[0][1].attempt, 3);
    assert_true(first != second && leases[0][1].backend != first && leases[0][1].backend != second);
    result(0, 1, RESULT_FAILED);
    assert_tells("refuse 0.1 UNAVAILABLE: backend s");
    /* The next login begins anew. */
    must(try_admit(0, 1, "ann"));
    assert_int_equal(leases[0][1].backend, first);
    assert_int_equal(leases[0][1].attempt, 1);
}

static void test_when_no_backend_is_left_the_login_is_refused(void **state)
{
    (void)state;
    admit(0, 1, TINY, "ann");
    hush();
    result(0, 1, RESULT_FAILED);
    assert_told("refuse 0.1 UNAVAILABLE: no further backend of pool tiny may be used\n");
}

static void test_a_failure_beside_other_sessions_there_moves_nobody(void **state)
{
    (void)state;
    log_in(0, 1, SHARED, "ann");
    admit(0, 2, SHARED, "ann");
    hush();
    result(0, 2, RESULT_FAILED);
    assert_non_null(strstr(told, "has just failed, and the user has other sessions on it\n"));
    assert_tells("refuse 0.2 UNAVAILABLE: backend s");
}

static void test_of_several_failing_attempts_the_last_goes_on(void **state)
{
    uint16_t first;

    (void)state;
    admit(0, 1, SHARED, "ann");
    admit(1, 2, SHARED, "ann");
    hush();
    first = leases[0][1].backend;
    assert_int_equal(leases[1][2].backend, first);
    result(1, 2, RESULT_FAILED);
    assert_non_null(strstr(told, "has just failed, and the user has other sessions on it\n"));
    assert_tells("refuse 1.2 UNAVAILABLE: backend s");
    result(0, 1, RESULT_FAILED);
    assert_tells("lease 0.1 ");
    assert_int_not_equal(leases[0][1].backend, first);
    /* Who was refused follows when it comes again. */
    must(try_admit(1, 2, "ann"));
    assert_int_equal(leases[1][2].backend, leases[0][1].backend);
}

static void test_a_failed_attempt_follows_the_user_elsewhere(void **state)
{
    (void)state;
    restart();
    must(replay(0, 1, at("s1", REPLAY_LEASED), "ann"));
    must(replay(0, 2, at("s1", REPLAY_LEASED), "ann"));
    must(replay(1, 1, at("s4", REPLAY_RELAY), "ann"));
    must(admission_replayed(admission, &workers[0], now_ms));
    must(admission_replayed(admission, &workers[1], now_ms));
    hush();
    result(0, 1, RESULT_FAILED);
    assert_told("lease 0.1 s4 attempt 2\n");
}

static void test_a_pinned_user_of_shared_storage_does_not_fail_over(void **state)
{
    (void)state;
    pin("ann", "s3");
    admit(0, 1, SHARED, "ann");
    assert_told("lease 0.1 s3 attempt 1\n");
    result(0, 1, RESULT_FAILED);
    assert_told(
        "refuse 0.1 UNAVAILABLE: backend s3 has just failed, and the user is pinned to it\n");
}

/* --- operators' states --------------------------------------------------------------------- */

static void test_a_backend_that_is_down_is_skipped_with_shared_storage(void **state)
{
    (void)state;
    set_state("s1", "down");
    set_state("s2", "down");
    set_state("s3", "drain");
    for (uint32_t i = 0; i < 40; i++) {
        char user[16];

        snprintf(user, sizeof user, "user%u", i);
        assert_string_equal(log_in(0, i, SHARED, user), "s4");
    }
    set_state("s4", "down");
    admit(0, 41, SHARED, "ann");
    assert_told("refuse 0.41 UNAVAILABLE: no backend of pool shared may be used\n");
}

static void test_a_backend_that_is_down_is_waited_for_with_own_storage(void **state)
{
    (void)state;
    placement("own", "ann", "o1");
    set_state("o1", "down");
    admit(0, 1, OWN, "ann");
    assert_told("refuse 0.1 UNAVAILABLE: backend o1 is down by an operator's order\n");
    set_state("o1", "up");
    must(try_admit(0, 1, "ann"));
    assert_told("lease 0.1 o1 attempt 1\n");
}

static void
test_a_new_user_of_own_storage_is_not_placed_elsewhere_while_its_first_is_down(void **state)
{
    const char *home;
    char want[96];

    (void)state;
    admit(0, 1, OWN, "ann");
    home = title_of(&leases[0][1]);
    result(0, 1, RESULT_REFUSED);
    hush();
    set_state(home, "down");
    must(try_admit(0, 1, "ann"));
    snprintf(want, sizeof want,
             "refuse 0.1 UNAVAILABLE: backend %s is down by an operator's order\n", home);
    assert_told(want);
    set_state(home, "drain");
    must(try_admit(0, 1, "ann"));
    assert_string_not_equal(title_of(&leases[0][1]), home);
}

static void test_a_drained_backend_keeps_those_who_are_there(void **state)
{
    char title[8];

    (void)state;
    snprintf(title, sizeof title, "%s", log_in(0, 1, SHARED, "ann"));
    set_state(title, "drain");
    assert_string_equal(log_in(0, 2, SHARED, "ann"), title);
    end(0, 1);
    end(0, 2);
    assert_string_not_equal(log_in(0, 3, SHARED, "ann"), title);
    placement("own", "bob", "o1");
    set_state("o1", "drain");
    assert_string_equal(log_in(0, 4, OWN, "bob"), "o1");
}

static void test_sessions_on_a_backend_that_goes_down_are_not_split(void **state)
{
    char title[8];

    (void)state;
    snprintf(title, sizeof title, "%s", log_in(0, 1, SHARED, "ann"));
    set_state(title, "down");
    admit(0, 2, SHARED, "ann");
    assert_tells("refuse 0.2 UNAVAILABLE: backend s");
}

static void test_a_state_that_is_no_word_counts_as_down(void **state)
{
    int to = dup(STDERR_FILENO), null[2];

    (void)state;
    assert_int_equal(pipe(null), 0);
    dup2(null[1], STDERR_FILENO);
    set_state("t1", "Down");
    dup2(to, STDERR_FILENO);
    close(to);
    close(null[0]);
    close(null[1]);
    set_state("nobody", "down");
    admit(0, 1, TINY, "ann");
    assert_tells("refuse 0.1 UNAVAILABLE: ");
}

/* --- holds --------------------------------------------------------------------------------- */

static void test_a_user_on_hold_waits_and_is_refused_in_the_end(void **state)
{
    (void)state;
    hold("ann");
    admit(0, 1, OWN, "ann");
    assert_told("held ann 1\n");
    admit(1, 1, SHARED, "ann");
    assert_told("held ann 2\n");
    assert_int_equal(admission_due_ms(admission), now_ms + 30000);
    admission_tick(admission, now_ms + 29999);
    assert_told("");
    admission_tick(admission, now_ms + 30000);
    assert_told("refuse 0.1 INUSE: the user is on hold\nrefuse 1.1 INUSE: the user is on hold\n");
    assert_int_equal(admission_due_ms(admission), 0);
    admit(0, 2, OWN, "bob");
    assert_tells("lease 0.2 ");
}

static void test_a_hold_that_ends_lets_its_users_in_order(void **state)
{
    (void)state;
    hold("ann");
    hold("bob");
    pin("ann", "o1");
    admit(0, 1, OWN, "ann");
    admit(0, 2, OWN, "bob");
    admit(1, 1, OWN, "ann");
    hush();
    admission_release(admission, SLICE("ann"), now_ms);
    assert_told("lease 0.1 o1 attempt 1\nlease 1.1 o1 attempt 1\n");
    admission_release(admission, SLICE("ann"), now_ms);
    admission_release(admission, SLICE("nobody"), now_ms);
    assert_told("");
    admission_tick(admission, now_ms + 30000);
    assert_told("refuse 0.2 INUSE: the user is on hold\n");
}

static void test_who_leaves_the_line_is_not_answered(void **state)
{
    (void)state;
    hold("ann");
    admit(0, 1, OWN, "ann");
    admit(1, 1, OWN, "ann");
    hush();
    end(0, 1);
    detach(1);
    admission_tick(admission, now_ms + 30000);
    assert_told("");
    admit(0, 3, OWN, "ann");
    assert_told("held ann 1\n");
}

/* --- names --------------------------------------------------------------------------------- */

static void give_address(const char *backend)
{
    uint32_t n = backends_number(&backends, slice_str(backend));

    assert_true(addr_parse_ip(SLICE("192.0.2.99"), 10143, &backends.all[n].addresses[0]));
    backends.all[n].addresses_n = 1;
    admission_addresses(admission, n);
}

static void test_a_login_waits_for_the_first_addresses(void **state)
{
    (void)state;
    admit(0, 1, OWN_NAMED, "ann");
    admit(0, 2, OWN_NAMED, "bob");
    assert_told("");
    assert_int_equal(admission_due_ms(admission), now_ms + 5000);
    give_address("p1");
    assert_told("lease 0.1 p1 attempt 1\nlease 0.2 p1 attempt 1\n");
    assert_int_equal(admission_due_ms(admission), 0);
}

static void test_a_login_waits_for_addresses_no_longer_than_for_a_connection(void **state)
{
    (void)state;
    admit(0, 1, OWN_NAMED, "ann");
    admission_tick(admission, now_ms + 4999);
    assert_told("");
    admission_tick(admission, now_ms + 5000);
    assert_told("refuse 0.1 UNAVAILABLE: backend p1 has no known address\n");
    give_address("p1");
    assert_told("");
    must(try_admit(0, 1, "ann"));
    assert_told("lease 0.1 p1 attempt 1\n");
}

static void test_with_shared_storage_a_name_that_is_unknown_is_a_failed_attempt(void **state)
{
    (void)state;
    pin("bob", "n1");
    give_address("n1");
    for (uint32_t i = 0; i < 20; i++) {
        char user[16];

        snprintf(user, sizeof user, "user%u", i);
        admit(0, i, NAMED, user);
    }
    hush();
    now_ms += 5000;
    admission_tick(admission, now_ms);
    for (uint32_t i = 0; i < 20; i++)
        assert_string_equal(title_of(&leases[0][i]), "n1");
    assert_non_null(strstr(told, "n1 attempt 2"));
}

static void test_two_logins_of_one_user_wait_for_the_same_backend(void **state)
{
    (void)state;
    admit(0, 1, NAMED, "ann");
    admit(0, 2, NAMED, "ann");
    /* Both wait; neither may go on while the other decides, so the first to give up is refused. */
    admission_tick(admission, now_ms + 5000);
    assert_tells("refuse 0.1 UNAVAILABLE: backend n");
    give_address("n1");
    give_address("n2");
    assert_tells("lease 0.2 n");
}

static void test_waits_are_due_in_the_order_of_their_ends(void **state)
{
    uint64_t start = now_ms;

    (void)state;
    hold("ann");
    admit(0, 1, OWN, "ann");
    assert_int_equal(admission_due_ms(admission), start + 30000);
    now_ms += 26000;
    admit(0, 2, OWN_NAMED, "bob");
    assert_int_equal(admission_due_ms(admission), start + 30000);
    admit(0, 3, OWN_NAMED, "cid");
    end(0, 1);
    assert_int_equal(admission_due_ms(admission), start + 31000);
    end(0, 2);
    end(0, 3);
    assert_int_equal(admission_due_ms(admission), 0);
}

/* --- several logins in one session --------------------------------------------------------- */

static void test_after_a_refused_login_another_user_may_come(void **state)
{
    (void)state;
    pin("ann", "s1");
    pin("bob", "s2");
    admit(0, 1, SHARED, "ann");
    result(0, 1, RESULT_REFUSED);
    must(try_admit(0, 1, "bob"));
    result(0, 1, RESULT_REFUSED);
    must(try_admit(0, 1, "ann"));
    result(0, 1, RESULT_OK);
    assert_told("lease 0.1 s1 attempt 1\nlease 0.1 s2 attempt 1\nlease 0.1 s1 attempt 1\n"
                "done 0.1\n");
    assert_int_equal(admission_users(admission), 1);
}

static void test_each_lease_has_a_number_of_its_own(void **state)
{
    struct lease_id first;

    (void)state;
    admit(0, 1, SHARED, "ann");
    first = leases[0][1].lease;
    result(0, 1, RESULT_REFUSED);
    must(try_admit(0, 1, "ann"));
    assert_int_not_equal(leases[0][1].lease.number, first.number);
    assert_non_null(try_result(0, 1, first, RESULT_OK));
}

/* --- nonsense ------------------------------------------------------------------------------ */

static void test_what_makes_no_sense_changes_nothing(void **state)
{
    struct lease_id lease;
    char long_name[IPC_USER_MAX + 2];

    (void)state;
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    assert_non_null(try_open(0, 1, 99));
    assert_non_null(try_admit(0, 1, "ann"));
    assert_non_null(try_result(0, 1, (struct lease_id){0, 0}, RESULT_OK));
    end(0, 1);
    open_quietly(0, 1, SHARED);
    assert_non_null(try_result(0, 1, (struct lease_id){0, 0}, RESULT_OK));
    assert_non_null(try_admit(0, 1, ""));
    assert_non_null(try_admit(0, 1, long_name));
    assert_non_null(try_admit(0, 1, "a\nb"));
    assert_non_null(try_admit(0, 1, "a\rb"));
    assert_non_null(admission_admit(admission, &workers[0], 1, slice_of("a\0b", 3), now_ms));
    assert_told("");
    must(try_admit(0, 1, "ann"));
    hush();
    lease = leases[0][1].lease;
    assert_non_null(try_admit(0, 1, "bob"));
    assert_non_null(try_open(0, 1, SHARED));
    assert_non_null(try_result(0, 1, lease, RESULT_FAILED + 1));
    assert_non_null(try_result(0, 1, (struct lease_id){lease.epoch, lease.number + 1}, RESULT_OK));
    assert_non_null(try_result(0, 1, (struct lease_id){lease.epoch - 1, lease.number}, RESULT_OK));
    assert_told("");
    result(0, 1, RESULT_OK);
    assert_told("done 0.1\n");
    assert_non_null(try_result(0, 1, lease, RESULT_FAILED));
    assert_non_null(try_admit(0, 1, "ann"));
    assert_told("");
    assert_int_equal(admission_sessions(admission), 1);
}

static void test_a_worker_cannot_touch_anothers_sessions(void **state)
{
    (void)state;
    admit(0, 1, SHARED, "ann");
    hush();
    assert_non_null(try_result(1, 1, leases[0][1].lease, RESULT_OK));
    assert_non_null(try_admit(1, 1, "bob"));
    end(1, 1);
    assert_told("");
    must(try_open(1, 1, SHARED));
    assert_told("go 1.1\n");
    assert_non_null(try_result(1, 1, leases[0][1].lease, RESULT_OK));
    result(0, 1, RESULT_OK);
    assert_told("done 0.1\n");
}

/* --- workers that go ----------------------------------------------------------------------- */

static void test_a_worker_that_goes_takes_its_sessions_along(void **state)
{
    (void)state;
    log_in(0, 1, SHARED, "ann");
    log_in(1, 1, SHARED, "ann");
    admit(0, 2, SHARED, "bob");
    admit(0, 3, OWN_NAMED, "cid");
    open_quietly(0, 4, OWN);
    detach(0);
    assert_int_equal(admission_sessions(admission), 1);
    assert_int_equal(admission_users(admission), 1);
    assert_int_equal(admission_due_ms(admission), 0);
    attach(2);
    log_in(2, 1, SHARED, "ann");
}

/* --- a new control ------------------------------------------------------------------------- */

static void test_the_first_control_of_all_waits_for_nobody(void **state)
{
    (void)state;
    admission_start(admission, 0, now_ms);
    assert_told("recovered 0 0\n");
}

static void test_nobody_is_admitted_before_all_have_replayed(void **state)
{
    (void)state;
    restart();
    must(try_open(0, 1, SHARED));
    must(replay(1, 5, (struct msg_replay){.listener = SHARED}, ""));
    must(try_admit(1, 5, "ann"));
    must(replay(0, 2, at("s1", REPLAY_LEASED), "bob"));
    result(0, 2, RESULT_FAILED);
    must(admission_replayed(admission, &workers[0], now_ms));
    assert_told("");
    must(replay(1, 6, at("s3", REPLAY_RELAY), "ann"));
    must(replay(1, 7, at("s4", REPLAY_RELAY), "bob"));
    assert_told("");
    must(admission_replayed(admission, &workers[1], now_ms));
    /* In the order of asking; ann follows her session, and so does bob, away from s1. */
    assert_told("recovered 4 2\ngo 0.1\nlease 1.5 s3 attempt 1\nlease 0.2 s4 attempt 2\n");
}

static void test_a_good_login_waits_for_the_replays_too(void **state)
{
    (void)state;
    restart();
    must(replay(0, 1, at("s1", REPLAY_LEASED), "ann"));
    result(0, 1, RESULT_OK);
    assert_non_null(try_result(0, 1, leases[0][1].lease, RESULT_OK));
    must(admission_replayed(admission, &workers[0], now_ms));
    assert_told("");
    must(replay(1, 1, at("s2", REPLAY_RELAY), "ann"));
    must(admission_replayed(admission, &workers[1], now_ms));
    assert_told("recovered 2 1\nrefuse 0.1 UNAVAILABLE: the user's other sessions are on s2\n");
}

static void test_leases_of_the_old_control_still_count(void **state)
{
    (void)state;
    restart();
    must(replay(0, 1, at("o2", REPLAY_LEASED), "ann"));
    must(replay(0, 2, at("s2", REPLAY_LEASED), "bob"));
    must(admission_replayed(admission, &workers[0], now_ms));
    must(admission_replayed(admission, &workers[1], now_ms));
    hush();
    result(0, 1, RESULT_OK);
    assert_told("placed ann own o2\ndone 0.1\n");
    result(0, 2, RESULT_REFUSED);
    must(try_admit(0, 2, "bob"));
    assert_tells("lease 0.2 ");
}

static void test_a_replayed_login_that_was_not_recorded_is_placed(void **state)
{
    (void)state;
    restart();
    must(replay(0, 1, at("o3", REPLAY_RELAY), "ann"));
    assert_told("placed ann own o3\n");
    placement("own", "bob", "o1");
    must(replay(0, 2, at("o1", REPLAY_RELAY), "bob"));
    assert_told("");
}

static void test_a_lease_elsewhere_than_the_placement_is_refused(void **state)
{
    (void)state;
    restart();
    must(replay(0, 1, at("o1", REPLAY_LEASED), "ann"));
    must(replay(1, 1, at("o2", REPLAY_RELAY), "ann"));
    must(admission_replayed(admission, &workers[0], now_ms));
    must(admission_replayed(admission, &workers[1], now_ms));
    end(1, 1);
    hush();
    result(0, 1, RESULT_OK);
    assert_told("refuse 0.1 UNAVAILABLE: the user is placed on o2\n");
}

static void test_a_worker_that_dies_during_the_replay_is_not_waited_for(void **state)
{
    (void)state;
    restart();
    must(replay(0, 1, at("s1", REPLAY_RELAY), "ann"));
    must(try_open(1, 1, SHARED));
    detach(0);
    assert_told("");
    /* Its successor was not there before and is not waited for, nor does it count for another. */
    attach(2);
    must(admission_replayed(admission, &workers[2], now_ms));
    assert_told("");
    must(admission_replayed(admission, &workers[1], now_ms));
    assert_told("recovered 0 0\ngo 1.1\n");
}

static void test_who_ends_during_the_replay_is_not_answered(void **state)
{
    (void)state;
    restart();
    must(try_open(0, 1, SHARED));
    must(replay(0, 2, at("s1", REPLAY_LEASED), "ann"));
    result(0, 2, RESULT_OK);
    end(0, 1);
    end(0, 2);
    must(admission_replayed(admission, &workers[0], now_ms));
    must(admission_replayed(admission, &workers[1], now_ms));
    assert_told("recovered 0 0\n");
}

static void test_an_open_that_was_not_answered_may_be_asked_again(void **state)
{
    (void)state;
    restart();
    must(replay(0, 1, (struct msg_replay){.listener = SHARED}, ""));
    must(admission_replayed(admission, &workers[0], now_ms));
    must(try_open(0, 1, SHARED));
    assert_told("");
    must(admission_replayed(admission, &workers[1], now_ms));
    assert_told("recovered 0 0\ngo 0.1\n");
}

static void test_replayed_sessions_go_before_those_that_wait(void **state)
{
    (void)state;
    restart();
    must(try_open(0, 1000, SHARED));
    for (uint32_t i = 0; i < 50; i++)
        must(replay(1, i, at("s1", REPLAY_RELAY), "ann"));
    must(try_open(0, 1001, SHARED));
    assert_tells("refuse 0.1001 UNAVAILABLE: max_sessions");
    must(admission_replayed(admission, &workers[0], now_ms));
    must(admission_replayed(admission, &workers[1], now_ms));
    assert_told("recovered 50 1\nrefuse 0.1000 UNAVAILABLE: max_sessions = 50\n");
    assert_int_equal(admission_sessions(admission), 50);
}

static void test_replays_that_make_no_sense_change_nothing(void **state)
{
    struct msg_replay m;

    (void)state;
    restart();
    m = at("s1", REPLAY_RELAY);
    assert_non_null(replay(0, 1, m, ""));
    m.backend = 4;
    assert_non_null(replay(0, 1, m, "ann"));
    m = at("s1", REPLAY_LEASED);
    m.pool = 999;
    assert_non_null(replay(0, 1, m, "ann"));
    m = at("s1", REPLAY_OPEN);
    m.listener = 999;
    assert_non_null(replay(0, 1, m, ""));
    m = at("s1", REPLAY_OPEN);
    m.stage = REPLAY_RELAY + 1;
    assert_non_null(replay(0, 1, m, "ann"));
    assert_int_equal(admission_sessions(admission), 0);
    must(replay(0, 1, at("s1", REPLAY_RELAY), "ann"));
    assert_non_null(replay(0, 1, at("s1", REPLAY_RELAY), "ann"));
    must(admission_replayed(admission, &workers[0], now_ms));
    assert_non_null(admission_replayed(admission, &workers[0], now_ms));
    assert_non_null(replay(0, 2, at("s1", REPLAY_RELAY), "ann"));
    assert_int_equal(admission_sessions(admission), 1);
}

static void test_a_replayed_attempt_number_is_kept_within_bounds(void **state)
{
    struct msg_replay m = at("s1", REPLAY_LEASED);

    (void)state;
    restart();
    m.attempt = 0;
    must(replay(0, 1, m, "ann"));
    m.attempt = 60000;
    must(replay(0, 2, m, "bob"));
    must(admission_replayed(admission, &workers[0], now_ms));
    must(admission_replayed(admission, &workers[1], now_ms));
    hush();
    result(0, 1, RESULT_FAILED);
    assert_tells("lease 0.1 ");
    assert_int_equal(leases[0][1].attempt, 2);
    result(0, 2, RESULT_FAILED);
    assert_tells("refuse 0.2 UNAVAILABLE: backend s1 failed, the last that is tried");
}

#define TEST(name)    cmocka_unit_test_setup_teardown(name, setup, teardown)
#define WAITING(name) cmocka_unit_test_setup_teardown(name, setup_waiting, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_connection_may_come_in),
        TEST(test_max_sessions_counts_over_all_workers),
        TEST(test_a_number_may_be_used_again_after_its_end),
        TEST(test_a_new_user_is_placed_by_the_first_good_login),
        TEST(test_a_refused_login_places_nobody),
        TEST(test_a_weight_of_zero_takes_nobody_new),
        TEST(test_a_placement_counts_whatever_hash_and_weight_say),
        TEST(test_a_user_placed_on_a_backend_that_is_gone_is_not_sent_elsewhere),
        TEST(test_a_user_of_own_storage_never_fails_over),
        TEST(test_a_pin_wins_over_a_placement),
        TEST(test_a_pin_places_who_was_not_placed),
        TEST(test_a_pin_to_a_backend_that_is_gone_is_not_passed_over),
        TEST(test_a_pin_to_another_pool_says_nothing_here),
        TEST(test_a_pin_waits_until_the_sessions_elsewhere_have_ended),
        TEST(test_the_same_name_in_two_pools_is_two_users),
        TEST(test_names_are_bytes),
        TEST(test_sessions_of_a_user_stay_together),
        TEST(test_a_second_login_follows_an_open_lease),
        TEST(test_shared_storage_records_no_placement),
        TEST(test_affinity_brings_a_user_back_until_it_expires),
        TEST(test_affinity_outlives_control),
        TEST(test_without_shared_memory_there_is_no_affinity),
        TEST(test_affinity_to_a_backend_that_takes_nothing_new_does_not_count),
        TEST(test_a_failed_attempt_goes_on_to_the_next_at_most_three_times),
        TEST(test_when_no_backend_is_left_the_login_is_refused),
        TEST(test_a_failure_beside_other_sessions_there_moves_nobody),
        TEST(test_of_several_failing_attempts_the_last_goes_on),
        TEST(test_a_failed_attempt_follows_the_user_elsewhere),
        TEST(test_a_pinned_user_of_shared_storage_does_not_fail_over),
        TEST(test_a_backend_that_is_down_is_skipped_with_shared_storage),
        TEST(test_a_backend_that_is_down_is_waited_for_with_own_storage),
        TEST(test_a_new_user_of_own_storage_is_not_placed_elsewhere_while_its_first_is_down),
        TEST(test_a_drained_backend_keeps_those_who_are_there),
        TEST(test_sessions_on_a_backend_that_goes_down_are_not_split),
        TEST(test_a_state_that_is_no_word_counts_as_down),
        TEST(test_a_user_on_hold_waits_and_is_refused_in_the_end),
        TEST(test_a_hold_that_ends_lets_its_users_in_order),
        TEST(test_who_leaves_the_line_is_not_answered),
        TEST(test_a_login_waits_for_the_first_addresses),
        TEST(test_a_login_waits_for_addresses_no_longer_than_for_a_connection),
        TEST(test_with_shared_storage_a_name_that_is_unknown_is_a_failed_attempt),
        TEST(test_two_logins_of_one_user_wait_for_the_same_backend),
        TEST(test_waits_are_due_in_the_order_of_their_ends),
        TEST(test_after_a_refused_login_another_user_may_come),
        TEST(test_each_lease_has_a_number_of_its_own),
        TEST(test_what_makes_no_sense_changes_nothing),
        TEST(test_a_worker_cannot_touch_anothers_sessions),
        TEST(test_a_worker_that_goes_takes_its_sessions_along),
        WAITING(test_the_first_control_of_all_waits_for_nobody),
        TEST(test_nobody_is_admitted_before_all_have_replayed),
        TEST(test_a_good_login_waits_for_the_replays_too),
        TEST(test_leases_of_the_old_control_still_count),
        TEST(test_a_replayed_login_that_was_not_recorded_is_placed),
        TEST(test_a_lease_elsewhere_than_the_placement_is_refused),
        TEST(test_a_worker_that_dies_during_the_replay_is_not_waited_for),
        TEST(test_who_ends_during_the_replay_is_not_answered),
        TEST(test_an_open_that_was_not_answered_may_be_asked_again),
        TEST(test_replayed_sessions_go_before_those_that_wait),
        TEST(test_replays_that_make_no_sense_change_nothing),
        TEST(test_a_replayed_attempt_number_is_kept_within_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
