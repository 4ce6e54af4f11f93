/* Sessions of workers whose configuration is another than control's: on backends and in pools that
 * are not there any more, and what becomes of their users' logins. */
#include "operate_world.h"

#include <time.h>

/* Before the reload: pools own and shared have a backend more (o9, s9), o1 is in pool shared, s1 is
 * another server, and there is a pool more. */
static const char before_text[] =
    "listener own { address = \"*:1\" }\n"
    "listener shared { address = \"*:2\" pool = shared }\n"
    "listener old { address = \"*:6\" pool = old }\n"
    "pool own { backend o9 { address = \"192.0.2.9:10143\" }\n"
    "  backend o2 { address = \"192.0.2.2:10143\" } }\n"
    "pool shared { storage = shared backend s9 { address = \"192.0.2.19:10143\" }\n"
    "  backend s3 { address = \"192.0.2.13:10143\" }\n"
    "  backend o1 { address = \"192.0.2.1:10143\" }\n"
    "  backend s1 { address = \"192.0.2.99:10143\" } }\n"
    "pool old { storage = shared backend q1 { address = \"192.0.2.31:10143\" } }\n";

enum { OLD_WORKER = 0, NEW_WORKER = 2 };

static struct conf *before;

/* Worker 0 is of the generation before and tells of its sessions; worker 2 is a new one. */
static int setup_reloaded(void **unused)
{
    if (setup_operating(unused) < 0 || conf_load_text(before_text, "before", &before, &err) < 0)
        return -1;
    end_operating();
    end_control();
    new_control();
    begin_operating();
    admission_start(admission, 1, now_ms);
    confs[OLD_WORKER] = before;
    workers[OLD_WORKER].facts.is_retired = true;
    attach(OLD_WORKER);
    attach(NEW_WORKER);
    hush();
    return 0;
}

static int teardown_reloaded(void **unused)
{
    int result = teardown_operating(unused);

    conf_free(&before);
    workers[OLD_WORKER].facts.is_retired = false;
    return result;
}

static void tells_of(uint32_t id, const char *title, enum replay_stage stage, const char *user)
{
    must(replay(OLD_WORKER, id, at_by(before, title, stage), user));
}

static void has_told_all(void)
{
    must(admission_replayed(admission, &workers[OLD_WORKER], now_ms));
    hush();
}

static struct operate_session session(uint32_t id)
{
    struct operate_session s;

    assert_true(
        operate_session(operate, (struct operate_key){workers[OLD_WORKER].instance, id}, &s));
    return s;
}

static size_t count_by(const struct operate_filter *filter)
{
    struct operate_key *keys;
    size_t n;

    works(operate_sessions(operate, filter, &keys, &n, &err));
    free(keys);
    return n;
}

/* --- seen, and ended ------------------------------------------------------------------------ */

static void test_sessions_on_what_is_gone_are_seen_as_they_are(void **unused)
{
    struct operate_counts counts[64];

    (void)unused;
    tells_of(1, "s9", REPLAY_RELAY, "ann");
    tells_of(2, "q1", REPLAY_RELAY, "bob");
    tells_of(3, "o1", REPLAY_RELAY, "cid");
    tells_of(4, "s3", REPLAY_RELAY, "dan");
    has_told_all();
    assert_string_equal(backends_title(&backends, session(1).backend), "s9");
    assert_int_equal(session(1).pool, SHARED);
    assert_string_equal(backends_title(&backends, session(2).backend), "q1");
    assert_string_equal(conf->pools[session(2).pool].title, "removed");
    assert_string_equal(backends_title(&backends, session(3).backend), "o1");
    assert_int_equal(session(3).pool, SHARED);
    assert_int_equal(status().sessions, 4);
    assert_int_equal(status().users, 4);
    operate_count(operate, counts);
    assert_int_equal(counts[backend("s3")].sessions, 1);
    assert_int_equal(counts[backend("o1")].sessions, 1);
    assert_int_equal(count_by(&(struct operate_filter){.backend = backend("s9"), .pool = -1}), 1);
    assert_int_equal(count_by(&(struct operate_filter){.backend = backend("q1"), .pool = -1}), 1);
}

static void test_sessions_on_what_is_gone_are_kicked_by_whatever_names_them(void **unused)
{
    size_t n;

    (void)unused;
    tells_of(1, "s9", REPLAY_RELAY, "ann");
    tells_of(2, "q1", REPLAY_RELAY, "bob");
    tells_of(3, "q1", REPLAY_RELAY, "cid");
    tells_of(4, "q1", REPLAY_RELAY, "dan");
    has_told_all();
    assert_int_equal(operate_kick_user(operate, SLICE("bob")), 1);
    assert_true(
        operate_kick_session(operate, (struct operate_key){workers[OLD_WORKER].instance, 3}));
    assert_told("kick 0.2\nkick 0.3\n");
    works(operate_kick_all(operate, backend("q1"), 100, now_ms, &n, &err));
    assert_int_equal(n, 3);
    works(operate_kick_all(operate, backend("s9"), 100, now_ms, &n, &err));
    assert_int_equal(n, 1);
    pass(1000);
    assert_int_equal(times_told("kick 0.1\n") + times_told("kick 0.4\n"), 2);
    assert_int_equal(times_told("kick"), 2);
}

static void test_sessions_on_what_is_gone_end_without_a_trace(void **unused)
{
    (void)unused;
    tells_of(1, "s9", REPLAY_RELAY, "ann");
    tells_of(2, "q1", REPLAY_RELAY, "bob");
    tells_of(3, "o9", REPLAY_LEASED, "cid");
    has_told_all();
    end(OLD_WORKER, 1);
    end(OLD_WORKER, 2);
    end(OLD_WORKER, 3);
    assert_int_equal(status().sessions + status().logins, 0);
    assert_told("");
}

static void test_users_of_a_backend_that_is_gone_can_be_moved(void **unused)
{
    size_t n;

    (void)unused;
    tells_of(1, "s9", REPLAY_RELAY, "ann");
    has_told_all();
    works(operate_move_all(operate, backend("s9"), backend("s2"), 100, now_ms, &n, &err));
    assert_int_equal(n, 1);
    assert_told("kick 0.1 moved\n");
    end(OLD_WORKER, 1);
    pass(100);
    assert_string_equal(log_in(NEW_WORKER, 1, SHARED, "ann"), "s2");
}

/* --- attempts that were under way ----------------------------------------------------------- */

static void test_an_attempt_where_nobody_goes_any_more_may_succeed(void **unused)
{
    (void)unused;
    tells_of(1, "s9", REPLAY_LEASED, "ann");
    tells_of(2, "q1", REPLAY_LEASED, "bob");
    tells_of(3, "o9", REPLAY_LEASED, "cid");
    has_told_all();
    for (uint32_t id = 1; id <= 3; id++)
        result(OLD_WORKER, id, RESULT_OK);
    assert_told("done 0.1\ndone 0.2\nplaced cid own o9\ndone 0.3\n");
    assert_int_equal(session(2).stage, STAGE_DONE);
}

static void test_an_attempt_where_nobody_goes_any_more_may_fail(void **unused)
{
    (void)unused;
    tells_of(1, "s9", REPLAY_LEASED, "ann");
    tells_of(2, "q1", REPLAY_LEASED, "bob");
    tells_of(3, "o9", REPLAY_LEASED, "cid");
    tells_of(4, "q1", REPLAY_LEASED, "dan");
    has_told_all();
    pin("ann", "s3");
    result(OLD_WORKER, 1, RESULT_FAILED);
    assert_told("lease 0.1 s3 attempt 2\n");
    result(OLD_WORKER, 2, RESULT_FAILED);
    assert_told("refuse 0.2 UNAVAILABLE: backend q1 failed\n");
    result(OLD_WORKER, 3, RESULT_FAILED);
    assert_told("refuse 0.3 UNAVAILABLE: backend o9 failed\n");
    result(OLD_WORKER, 4, RESULT_REFUSED);
    assert_told("");
    /* The next login goes by the pool that there is. */
    pin("bob", "o2");
    must(try_admit(OLD_WORKER, 2, "bob"));
    assert_told("lease 0.2 o2 attempt 1\n");
}

static void test_the_health_of_a_server_is_not_judged_by_another_of_its_name(void **unused)
{
    (void)unused;
    for (uint32_t id = 1; id <= 40; id++) {
        char user[8];

        snprintf(user, sizeof user, "u%u", id);
        tells_of(id, "s1", REPLAY_LEASED, user);
    }
    has_told_all();
    for (uint32_t id = 1; id <= 40; id++) {
        const struct msg_result m = {
            .lease = leases[OLD_WORKER][id].lease, .result = RESULT_FAILED, .fault = FAULT_BACKEND};

        must(admission_result(admission, &workers[OLD_WORKER], id, &m, now_ms));
    }
    assert_null(strstr(told, "health s1"));
    assert_int_equal(backend_at("s1")->health.state, HEALTH_UP);
    hush();
}

/* --- new logins ----------------------------------------------------------------------------- */

static void test_an_old_worker_serves_what_it_knows(void **unused)
{
    (void)unused;
    has_told_all();
    pin("ann", "s3");
    admit(OLD_WORKER, 1, 1, "ann");
    assert_told("lease 0.1 s3 attempt 1\n");
    result(OLD_WORKER, 1, RESULT_OK);
    assert_told("done 0.1\n");
    assert_string_equal(log_in(NEW_WORKER, 1, SHARED, "ann"), "s3");
}

static void test_an_old_worker_is_sent_nowhere_that_it_knows_otherwise(void **unused)
{
    static const char *const changed[] = {"s1", "s2", "o1"};
    struct penalty_record record;

    (void)unused;
    client = "192.0.2.77";
    has_told_all();
    for (uint32_t i = 0; i < 3; i++) {
        char want[128];

        pin("ann", changed[i]);
        admit(OLD_WORKER, i, changed[i][0] == 's' ? 1 : 0, "ann");
        snprintf(want, sizeof want,
                 "refuse 0.%u OUTDATED: backend %s is not as the worker's configuration has it\n",
                 i, changed[i]);
        assert_told(want);
        end(OLD_WORKER, i);
    }
    assert_told("");
    assert_int_equal(status().logins, 0);
    /* It was charged nothing, and blames nobody. */
    operate_penalties(operate, &SLICE("ann"), NULL, now_ms, &record);
    assert_int_equal(record.user, 0);
    assert_int_equal(counted[METRIC_LOGINS_PENALIZED] + counted[METRIC_LOGINS_DELAYED], 0);
    pin("ann", "s1");
    assert_string_equal(log_in(NEW_WORKER, 1, SHARED, "ann"), "s1");
}

static void test_an_old_worker_holds_nobody_up_for_want_of_descriptors(void **unused)
{
    (void)unused;
    has_told_all();
    end_operating();
    end_control();
    descriptors = 64 + 2;
    new_control();
    begin_operating();
    admission_start(admission, 0, now_ms);
    attach(OLD_WORKER);
    pin("ann", "s3");
    admit(OLD_WORKER, 1, 1, "ann");
    assert_told("lease 0.1 s3 attempt 1\n");
    admit(OLD_WORKER, 2, 1, "ann");
    assert_told("lease 0.2 s3 attempt 1\n");
}

static void test_a_user_on_a_backend_that_is_gone_comes_to_another(void **unused)
{
    (void)unused;
    tells_of(1, "s9", REPLAY_RELAY, "ann");
    tells_of(2, "s9", REPLAY_RELAY, "ann");
    has_told_all();
    admit(NEW_WORKER, 1, SHARED, "ann");
    assert_non_null(strstr(told, "strand ann s"));
    assert_int_equal(times_told("kick 0.1 moved\n") + times_told("kick 0.2 moved\n"), 2);
    assert_int_equal(times_told("held ann 1\n"), 1);
    assert_int_equal(times_told("lease"), 0);
    hush();
    admit(NEW_WORKER, 2, SHARED, "ann");
    assert_told("held ann 2\n");
    end(OLD_WORKER, 1);
    pass(0);
    assert_told("");
    end(OLD_WORKER, 2);
    pass(0);
    assert_int_equal(times_told("lease 2.1 s") + times_told("lease 2.2 s"), 2);
    assert_string_equal(title_of(&leases[NEW_WORKER][1]), title_of(&leases[NEW_WORKER][2]));
    assert_int_equal(status().moves + status().held, 0);
    assert_null(registry_order(admission_registry(admission), SLICE("ann")));
}

static void test_who_is_in_the_middle_of_a_login_there_comes_to_another_too(void **unused)
{
    (void)unused;
    tells_of(1, "s9", REPLAY_LEASED, "ann");
    has_told_all();
    admit(NEW_WORKER, 1, SHARED, "ann");
    assert_int_equal(times_told("kick 0.1 moved\n") + times_told("held ann 1\n"), 2);
    hush();
    result(OLD_WORKER, 1, RESULT_OK);
    assert_told("refuse 0.1 INUSE: the user is being moved\n");
    pass(0);
    assert_tells("lease 2.1 s");
}

static void test_a_backend_in_another_pool_is_gone_from_its_old_one(void **unused)
{
    (void)unused;
    tells_of(1, "o1", REPLAY_RELAY, "ann");
    has_told_all();
    admit(NEW_WORKER, 1, SHARED, "ann");
    assert_int_equal(times_told("kick 0.1 moved\n") + times_told("held ann 1\n"), 2);
    hush();
    end(OLD_WORKER, 1);
    pass(0);
    assert_tells("lease 2.1 s");
}

static void test_a_pin_counts_for_where_they_go(void **unused)
{
    (void)unused;
    tells_of(1, "s9", REPLAY_RELAY, "ann");
    has_told_all();
    pin("ann", "s2");
    admit(NEW_WORKER, 1, SHARED, "ann");
    assert_told("strand ann s2\nkick 0.1 moved\nheld ann 1\n");
    end(OLD_WORKER, 1);
    pass(0);
    assert_told("lease 2.1 s2 attempt 1\n");
}

static void test_nobody_is_ended_for_a_login_that_is_refused(void **unused)
{
    (void)unused;
    tells_of(1, "s9", REPLAY_RELAY, "ann");
    has_told_all();
    pin("ann", "s2");
    set_state("s2", "down");
    admit(NEW_WORKER, 1, SHARED, "ann");
    assert_told("refuse 2.1 UNAVAILABLE: backend s2 is down by an operator's order\n");
    set_state("s2", "up");
    admit(OLD_WORKER, 2, 1, "ann");
    assert_told("refuse 0.2 OUTDATED: backend s2 is not as the worker's configuration has it\n");
}

static void test_a_move_that_cannot_be_refuses_the_login(void **unused)
{
    (void)unused;
    tells_of(1, "s9", REPLAY_RELAY, "ann");
    has_told_all();
    strand = NULL;
    pin("ann", "s2");
    admit(NEW_WORKER, 1, SHARED, "ann");
    assert_told("strand ann s2\nrefuse 2.1 UNAVAILABLE: nobody moves users here\n");
}

static void test_own_storage_keeps_its_users_where_their_mail_is(void **unused)
{
    (void)unused;
    tells_of(1, "o9", REPLAY_RELAY, "ann");
    tells_of(2, "o9", REPLAY_LEASED, "bob");
    has_told_all();
    admit(NEW_WORKER, 1, OWN, "ann");
    assert_told("refuse 2.1 UNAVAILABLE: the user is placed on o9, which is not in the "
                "configuration\n");
    admit(NEW_WORKER, 2, OWN, "bob");
    assert_told("refuse 2.2 UNAVAILABLE: the user has sessions on o9, which is not in pool own any "
                "more\n");
}

static void test_own_storage_with_another_placement_ends_them_first(void **unused)
{
    (void)unused;
    placement("own", "ann", "o3");
    tells_of(1, "o9", REPLAY_RELAY, "ann");
    has_told_all();
    admit(NEW_WORKER, 1, OWN, "ann");
    assert_told("strand ann o3\nkick 0.1 moved\nheld ann 1\n");
    end(OLD_WORKER, 1);
    pass(0);
    assert_told("lease 2.1 o3 attempt 1\n");
    result(NEW_WORKER, 1, RESULT_OK);
    assert_told("done 2.1\n");
}

static void test_a_late_session_there_is_ended_when_its_user_is_elsewhere(void **unused)
{
    (void)unused;
    has_told_all();
    detach(OLD_WORKER);
    log_in(NEW_WORKER, 1, SHARED, "ann");
    attach(OLD_WORKER);
    tells_of(1, "s9", REPLAY_RELAY, "ann");
    assert_told("kick 0.1 moved\n");
}

/* Be it on a backend that is gone, which would end the others, or on one of the pool. */
static void test_a_late_session_does_not_say_where_its_user_is(void **unused)
{
    static const char *const late[] = {"s9", "s3"};

    (void)unused;
    has_told_all();
    detach(OLD_WORKER);
    pin("ann", "s2");
    log_in(NEW_WORKER, 1, SHARED, "ann");
    works(operate_pin(operate, SLICE("ann"), BACKEND_NONE, &err));
    attach(OLD_WORKER);
    for (uint32_t i = 0; i < 2; i++) {
        tells_of(i + 1, late[i], REPLAY_RELAY, "ann");
        hush();
        assert_string_equal(log_in(NEW_WORKER, i + 2, SHARED, "ann"), "s2");
    }
}

static void test_the_route_says_what_a_login_would_do(void **unused)
{
    struct operate_route r;

    (void)unused;
    tells_of(1, "s9", REPLAY_RELAY, "ann");
    has_told_all();
    r = route_of(SHARED, "ann");
    assert_int_equal(r.live, backend("s9"));
    assert_true(r.chosen < backends.n);
    assert_non_null(strstr(r.why, "; the sessions on s9 are ended first"));
}

/* In pools that are gone users stay as they are, whatever the pools that there are do. */
static void test_a_pool_that_is_gone_has_its_users_to_itself(void **unused)
{
    (void)unused;
    tells_of(1, "q1", REPLAY_RELAY, "ann");
    has_told_all();
    assert_int_equal(times_told("placed"), 0);
    log_in(NEW_WORKER, 1, SHARED, "ann");
    log_in(NEW_WORKER, 2, OWN, "ann");
    assert_int_equal(status().sessions, 3);
    assert_int_equal(operate_kick_user(operate, SLICE("ann")), 3);
}

/* One that was taken over says of sessions by the thousand that they are trials. */
static void test_trials_in_a_pool_of_thousands_cost_nobody_any_time(void **unused)
{
    static char text[CONF_BACKENDS_MAX * 64];
    size_t n = 0;
    clock_t began;

    (void)unused;
    end_operating();
    end_control();
    conf_free(&conf);
    n += (size_t)snprintf(text, sizeof text, "listener l { address = \"*:1\" }\npool main {\n");
    for (unsigned i = 0; i < CONF_BACKENDS_MAX; i++)
        n += (size_t)snprintf(text + n, sizeof text - n,
                              "backend b%u { address = \"192.0.2.1:%u\" }\n", i, i + 1);
    snprintf(text + n, sizeof text - n, "}\n");
    works(conf_load_text(text, "big", &conf, &err));
    new_control();
    begin_operating();
    confs[OLD_WORKER] = conf;
    admission_start(admission, 1, now_ms);
    attach(OLD_WORKER);
    began = clock();
    for (uint32_t id = 1; id <= 200; id++) {
        struct msg_replay m = at("b7", REPLAY_LEASED);

        m.flags = LEASE_IS_TRIAL;
        must(replay(OLD_WORKER, id, m, "ann"));
    }
    assert_true((clock() - began) / CLOCKS_PER_SEC < 1);
}

#define RELOADED(name) cmocka_unit_test_setup_teardown(name, setup_reloaded, teardown_reloaded)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RELOADED(test_sessions_on_what_is_gone_are_seen_as_they_are),
        RELOADED(test_sessions_on_what_is_gone_are_kicked_by_whatever_names_them),
        RELOADED(test_sessions_on_what_is_gone_end_without_a_trace),
        RELOADED(test_users_of_a_backend_that_is_gone_can_be_moved),
        RELOADED(test_an_attempt_where_nobody_goes_any_more_may_succeed),
        RELOADED(test_an_attempt_where_nobody_goes_any_more_may_fail),
        RELOADED(test_the_health_of_a_server_is_not_judged_by_another_of_its_name),
        RELOADED(test_an_old_worker_serves_what_it_knows),
        RELOADED(test_an_old_worker_is_sent_nowhere_that_it_knows_otherwise),
        RELOADED(test_an_old_worker_holds_nobody_up_for_want_of_descriptors),
        RELOADED(test_a_user_on_a_backend_that_is_gone_comes_to_another),
        RELOADED(test_who_is_in_the_middle_of_a_login_there_comes_to_another_too),
        RELOADED(test_a_backend_in_another_pool_is_gone_from_its_old_one),
        RELOADED(test_a_pin_counts_for_where_they_go),
        RELOADED(test_nobody_is_ended_for_a_login_that_is_refused),
        RELOADED(test_a_move_that_cannot_be_refuses_the_login),
        RELOADED(test_own_storage_keeps_its_users_where_their_mail_is),
        RELOADED(test_own_storage_with_another_placement_ends_them_first),
        RELOADED(test_a_late_session_there_is_ended_when_its_user_is_elsewhere),
        RELOADED(test_a_late_session_does_not_say_where_its_user_is),
        RELOADED(test_the_route_says_what_a_login_would_do),
        RELOADED(test_a_pool_that_is_gone_has_its_users_to_itself),
        RELOADED(test_trials_in_a_pool_of_thousands_cost_nobody_any_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
