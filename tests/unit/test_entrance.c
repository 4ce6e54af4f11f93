/* The way in to backends: what each may take at a time, who waits until it can, and in which order
 * (control/entrance.h). */
#include "admission_world.h"
#include "no_memory.h"

#include "control/entrance.h"

/* A pool of shared storage with one backend, and its listener. */
enum { DOOR = 5, PAIR = 6 };

#define DOOR_OF(settings)                                              \
    "listener door { address = \"*:6\" pool = door }\n"                \
    "pool door { storage = shared queue_timeout = 30s\n"               \
    "  backend d1 { address = \"192.0.2.41:10143\" " settings " } }\n" \
    "listener pair { address = \"*:7\" pool = pair }\n"                \
    "pool pair { storage = shared\n"                                   \
    "  backend e1 { address = \"192.0.2.51:10143\" " settings " }\n"   \
    "  backend e2 { address = \"192.0.2.52:10143\" " settings " } }\n"

static size_t queued(void)
{
    struct admission_counts counts;

    admission_count(admission, &counts);
    return counts.queued;
}

static size_t leased(void)
{
    size_t n = 0;

    for (const char *at = told; (at = strstr(at, "lease ")) != NULL; at++)
        n++;
    return n;
}

/* A new session that asks for `user`; what was told before stays. */
static void come(int w, uint32_t id, uint32_t listener, const char *user)
{
    char *end_of_told = told + strlen(told);

    must(try_open(w, id, listener));
    *end_of_told = '\0';
    must(try_admit(w, id, user));
}

/* --- limits of a backend ------------------------------------------------------------------- */

static void test_who_finds_max_connecting_reached_waits_for_one_to_end(void **state)
{
    (void)state;
    come(0, 1, DOOR, "ann");
    come(0, 2, DOOR, "bob");
    assert_told("lease 0.1 d1 attempt 1\nlease 0.2 d1 attempt 1\n");
    come(0, 3, DOOR, "cid");
    assert_told("queued d1 1: max_connecting\n");
    come(1, 1, DOOR, "dan");
    assert_told(""); /* the log is not told of each */
    assert_int_equal(queued(), 2);
    result(0, 1, RESULT_OK);
    assert_told("done 0.1\nlease 0.3 d1 attempt 1\n");
    result(0, 2, RESULT_REFUSED);
    assert_told("lease 1.1 d1 attempt 1\n");
    assert_int_equal(queued(), 0);
    assert_int_equal(counted[METRIC_LOGINS_QUEUED], 2);
    assert_int_equal(admission_due_ms(admission), 0);
}

static void test_who_finds_max_sessions_reached_waits_for_one_to_leave(void **state)
{
    (void)state;
    log_in(0, 1, DOOR, "ann");
    log_in(0, 2, DOOR, "bob");
    come(0, 3, DOOR, "cid");
    assert_told("queued d1 1: max_sessions\n");
    elapse(1000);
    assert_told("");
    end(0, 1);
    assert_told("lease 0.3 d1 attempt 1\n");
}

static void test_a_worker_that_dies_makes_room(void **state)
{
    (void)state;
    log_in(1, 1, DOOR, "ann");
    log_in(1, 2, DOOR, "bob");
    come(1, 3, DOOR, "cid");
    come(0, 4, DOOR, "dan");
    hush();
    detach(1);
    assert_told("lease 0.4 d1 attempt 1\n");
    assert_int_equal(queued(), 0);
}

static void test_no_more_sessions_than_there_are_ports(void **state)
{
    (void)state;
    end_control();
    ports = 1;
    new_control();
    admission_start(admission, 0, now_ms);
    attach(0);
    hush();
    assert_int_equal(entrance_sessions_max(&(struct entrance){.ports = 3},
                                           &(struct conf_backend){.source = {.n = 2}}),
                     6);
    assert_int_equal(entrance_sessions_max(&(struct entrance){.ports = 3},
                                           &(struct conf_backend){.max_sessions = 2}),
                     2);
    assert_int_equal(entrance_sessions_max(&(struct entrance){.ports = 3},
                                           &(struct conf_backend){.max_sessions = 4}),
                     3);
    assert_int_equal(
        entrance_sessions_max(&(struct entrance){0}, &(struct conf_backend){.max_sessions = 4}), 4);
    assert_int_equal(entrance_sessions_max(&(struct entrance){0}, &(struct conf_backend){0}), 0);
    log_in(0, 1, DOOR, "ann");
    come(0, 2, DOOR, "bob");
    assert_told("queued d1 1: ports towards it\n");
    end(0, 1);
    assert_told("lease 0.2 d1 attempt 1\n");
}

static void test_a_worker_without_descriptors_waits_and_holds_nobody_else_up(void **state)
{
    (void)state;
    attach(0);
    attach(1);
    hush();
    /* Two sessions, one of them with a backend. */
    log_in(0, 1, DOOR, "ann");
    come(0, 2, DOOR, "bob");
    assert_told("queued d1 1: descriptors of the worker\n");
    come(1, 1, DOOR, "cid");
    elapse(0);
    assert_told("lease 1.1 d1 attempt 1\n");
    elapse(DESCRIPTORS_AGAIN_MS);
    assert_told("");
    end(0, 1);
    assert_told("lease 0.2 d1 attempt 1\n");
}

/* As of a client that ends without ever having logged in. */
static void test_descriptors_that_come_back_without_a_word_are_found(void **state)
{
    (void)state;
    attach(0);
    hush();
    open_quietly(0, 1, DOOR);
    open_quietly(0, 2, DOOR);
    come(0, 3, DOOR, "bob");
    assert_told("queued d1 1: descriptors of the worker\n");
    elapse(0);
    end(0, 1);
    end(0, 2);
    assert_told("");
    elapse(DESCRIPTORS_AGAIN_MS);
    assert_told("lease 0.3 d1 attempt 1\n");
}

static int setup_without_descriptors(void **state)
{
    if (setup_waiting(state) < 0)
        return -1;
    end_control();
    descriptors = WORKER_RESERVE + 3;
    new_control();
    admission_start(admission, 0, now_ms);
    hush();
    return 0;
}

/* --- the rate ------------------------------------------------------------------------------ */

static void test_no_more_logins_are_begun_than_login_rate(void **state)
{
    uint64_t start_ms;

    (void)state;
    for (uint32_t i = 0; i < 6; i++) {
        char user[8];

        snprintf(user, sizeof user, "u%u", i);
        come(0, i, DOOR, user);
    }
    assert_told("lease 0.0 d1 attempt 1\nqueued d1 1: login_rate\n");
    start_ms = now_ms;
    elapse(0);
    assert_int_equal(admission_due_ms(admission), start_ms + 500);
    elapse(499);
    assert_told("");
    elapse(1);
    assert_told("lease 0.1 d1 attempt 1\n");
    elapse(1000);
    assert_told("lease 0.2 d1 attempt 1\nlease 0.3 d1 attempt 1\n");
}

/* 5,000 at once, 200 a second: all are in within 26 seconds, and nobody is refused. */
enum { STORM = 5000, STORM_RATE = 200, STORM_USERS = 1700, TAKES_MS = 120 };

static struct {
    uint32_t id;
    uint64_t at_ms;
} leases_of_storm[STORM];
static size_t begun_n, finished_n;
static size_t refusals_n;

static void note_lease(void *arg, struct admission_worker *w, uint32_t id,
                       const struct msg_lease *lease, struct slice tail)
{
    (void)arg;
    (void)w;
    (void)tail;
    assert_true(begun_n < STORM);
    leases[0][begun_n % IDS] = *lease;
    leases_of_storm[begun_n].id = id;
    leases_of_storm[begun_n++].at_ms = now_ms;
}

static void note_refusal(void *arg, struct admission_worker *w, uint32_t id, enum refuse code,
                         const char *why, struct slice told_to_client)
{
    (void)arg;
    (void)w;
    (void)id;
    (void)code;
    (void)why;
    (void)told_to_client;
    refusals_n++;
}

static void finish_those_who_have_had_their_time(void)
{
    while (finished_n < begun_n && leases_of_storm[finished_n].at_ms + TAKES_MS <= now_ms) {
        const struct msg_result m = {.lease = leases[0][finished_n % IDS].lease,
                                     .result = RESULT_OK};

        must(admission_result(admission, &workers[0], leases_of_storm[finished_n].id, &m, now_ms));
        finished_n++;
    }
}

static void test_a_storm_of_logins_gets_in_at_the_rate(void **state)
{
    struct admission_effects noting = effects;
    struct admission_params params = {
        .conf = conf, .backends = &backends, .epoch = LAST_EPOCH, .effects = &noting};
    uint64_t start_ms = now_ms;

    (void)state;
    end_control();
    noting.lease = note_lease;
    noting.refuse = note_refusal;
    begun_n = finished_n = refusals_n = 0;
    params.now_ms = now_ms;
    assert_int_equal(backends_init(&backends, conf, &err), 0);
    assert_int_equal(admission_new(&params, &admission, &err), 0);
    admission_start(admission, 0, now_ms);
    attach(0);
    for (uint32_t i = 0; i < STORM; i++) {
        char user[16];

        snprintf(user, sizeof user, "u%u", i % STORM_USERS);
        must(try_open(0, i, DOOR));
        must(try_admit(0, i, user));
        told[0] = '\0';
    }
    for (; finished_n < STORM && now_ms < start_ms + 60000; now_ms++) {
        finish_those_who_have_had_their_time();
        admission_tick(admission, now_ms);
        told[0] = '\0';
    }
    assert_int_equal(refusals_n, 0);
    assert_int_equal(finished_n, STORM);
    assert_in_range(now_ms - start_ms, 24000, 26000);
    for (size_t i = 0; i + STORM_RATE * 11 / 10 < STORM; i++)
        assert_true(leases_of_storm[i + STORM_RATE * 11 / 10].at_ms - leases_of_storm[i].at_ms >=
                    1000);
}

static void test_the_rate_begins_slowly_after_a_fall(void **state)
{
    size_t n;

    (void)state;
    fall("d1");
    rise("d1");
    hush();
    for (uint32_t i = 0; i < 40; i++) {
        char user[8];

        snprintf(user, sizeof user, "u%u", i);
        come((int)(i % 2), i, DOOR, user);
    }
    hush();
    elapse(1000); /* of 64 a second, 8 in 256, and a little more at its end */
    n = leased();
    assert_in_range(n, 2, 4);
    hush();
    elapse(4000);
    assert_in_range(leased(), 20, 36);
}

/* --- fairness ------------------------------------------------------------------------------ */

static void test_users_take_turns(void **state)
{
    (void)state;
    come(0, 0, DOOR, "mal");
    for (uint32_t i = 1; i < 10; i++)
        come(0, i, DOOR, "mal");
    come(1, 1, DOOR, "ann");
    come(1, 2, DOOR, "bob");
    hush();
    elapse(3 * 500);
    assert_told("lease 0.1 d1 attempt 1\nlease 1.1 d1 attempt 1\nlease 1.2 d1 attempt 1\n");
    elapse(500);
    assert_told("lease 0.2 d1 attempt 1\n");
}

static void test_nobody_comes_past_who_waits(void **state)
{
    (void)state;
    come(0, 1, DOOR, "ann");
    come(0, 2, DOOR, "bob");
    hush();
    now_ms += 500; /* there is a token, and nobody has looked */
    come(0, 3, DOOR, "cid");
    assert_told("");
    elapse(0);
    assert_told("lease 0.2 d1 attempt 1\n");
}

/* --- who goes meanwhile -------------------------------------------------------------------- */

static void test_who_waits_too_long_is_refused_as_unavailable(void **state)
{
    (void)state;
    log_in(0, 1, DOOR, "ann");
    log_in(0, 2, DOOR, "bob");
    come(0, 3, DOOR, "cid");
    hush();
    elapse(10000);
    come(0, 4, DOOR, "dan");
    elapse(19999);
    assert_told("queued d1 2: max_sessions\n");
    elapse(1);
    assert_told("refuse 0.3 UNAVAILABLE: backend d1 had no room within queue_timeout\n");
    elapse(10000);
    assert_told("refuse 0.4 UNAVAILABLE: backend d1 had no room within queue_timeout\n");
    assert_int_equal(queued(), 0);
    assert_int_equal(admission_due_ms(admission), 0);
    must(try_admit(0, 3, "cid"));
    end(0, 1);
    assert_told("queued d1 1: max_sessions\nlease 0.3 d1 attempt 1\n");
}

static void test_who_hangs_up_in_the_queue_is_not_answered(void **state)
{
    (void)state;
    log_in(0, 1, DOOR, "ann");
    log_in(0, 2, DOOR, "bob");
    come(0, 3, DOOR, "cid");
    come(1, 4, DOOR, "dan");
    come(1, 5, DOOR, "eve");
    hush();
    end(0, 3);
    detach(1);
    assert_int_equal(queued(), 0);
    end(0, 1);
    assert_told("");
    assert_int_equal(admission_due_ms(admission), 0);
}

static void test_nobody_comes_from_the_queue_to_a_backend_that_was_put_down(void **state)
{
    (void)state;
    log_in(0, 1, DOOR, "ann");
    log_in(0, 2, DOOR, "bob");
    come(0, 3, DOOR, "cid");
    hush();
    set_state("d1", "down");
    elapse(0);
    assert_told("refuse 0.3 UNAVAILABLE: no backend of pool door may be used\n");
    end(0, 1);
    assert_told("");
}

/* Those who wait say nothing of where their user is. */
static void test_several_logins_of_one_user_go_to_another_backend_together(void **state)
{
    const char *first, *other;
    char want[256];

    (void)state;
    pin("mal", "e1");
    pin("eve", "e1");
    log_in(1, 1, PAIR, "mal");
    log_in(1, 2, PAIR, "eve");
    pin("mal2", "e2");
    pin("eve2", "e2");
    for (uint32_t i = 0;; i++) {
        char user[16];

        assert_true(i < 40);
        snprintf(user, sizeof user, "u%u", i);
        come(0, i, PAIR, user);
        if (queued() == 0) {
            end(0, i);
            hush();
            continue;
        }
        hush();
        come(0, 41, PAIR, user);
        come(0, 42, PAIR, user);
        hush();
        assert_int_equal(queued(), 3);
        first = "e1";
        other = "e2";
        fall(first);
        snprintf(want, sizeof want, "lease 0.%u %s attempt 1\nlease 0.41 %s attempt 1\n", i, other,
                 other);
        assert_non_null(strstr(told, want));
        if (strstr(told, "\nrefuse"))
            fail_msg("%s", told);
        assert_int_equal(queued(), 1);
        return;
    }
}

static void test_a_user_on_hold_comes_out_of_the_queue_to_the_hold(void **state)
{
    (void)state;
    log_in(0, 1, DOOR, "ann");
    log_in(0, 2, DOOR, "bob");
    come(0, 3, DOOR, "cid");
    come(0, 4, DOOR, "dan");
    hush();
    hold("cid");
    end(0, 1);
    assert_told("held cid 1\nlease 0.4 d1 attempt 1\n");
    result(0, 4, RESULT_REFUSED);
    hush();
    admission_release(admission, SLICE("cid"), now_ms);
    assert_told("lease 0.3 d1 attempt 1\n");
}

static void test_a_move_takes_its_user_out_of_the_queue(void **state)
{
    struct user *u;

    (void)state;
    log_in(0, 1, DOOR, "ann");
    log_in(0, 2, DOOR, "bob");
    come(0, 3, DOOR, "cid");
    hush();
    u = registry_user(admission_registry(admission), DOOR, SLICE("cid"));
    registry_keep(u);
    admission_move_begin(admission, u, now_ms);
    assert_told("held cid 1\n");
    assert_int_equal(queued(), 0);
    end(0, 1);
    assert_told("");
    admission_move_end(admission, u, now_ms);
    assert_told("lease 0.3 d1 attempt 1\n");
    registry_let_go(admission_registry(admission), u);
}

/* One who waited for addresses counted; nobody but the move says that there is room again. */
static void test_room_that_a_move_makes_is_used(void **state)
{
    struct user *u;

    (void)state;
    backend_at("d1")->addresses_n = 0;
    come(0, 1, DOOR, "ann");
    come(0, 2, DOOR, "bob");
    come(0, 3, DOOR, "cid");
    assert_told("queued d1 1: max_connecting\n");
    backend_at("d1")->addresses_n = 1;
    u = registry_user(admission_registry(admission), DOOR, SLICE("ann"));
    registry_keep(u);
    admission_move_begin(admission, u, now_ms);
    assert_told("held ann 1\n");
    elapse(0);
    assert_told("lease 0.3 d1 attempt 1\n");
    admission_move_end(admission, u, now_ms);
    registry_let_go(admission_registry(admission), u);
}

/* --- all backends together ----------------------------------------------------------------- */

static void test_no_more_are_under_way_than_max_logins_whoever_waited(void **state)
{
    (void)state;
    /* The first takes the token, three wait for theirs. */
    for (uint32_t i = 0; i < 4; i++) {
        char user[8];

        snprintf(user, sizeof user, "u%u", i);
        come(0, i, DOOR, user);
    }
    assert_tells("lease 0.0 d1 attempt 1\nqueued d1 1: login_rate\n");
    elapse(500);
    assert_told("lease 0.1 d1 attempt 1\n");
    elapse(5000);
    assert_told("");
    assert_int_equal(admission_registry(admission)->logins_n, 2);
    result(0, 0, RESULT_OK);
    assert_told("done 0.0\nlease 0.2 d1 attempt 1\n");
    /* Wherever one has ended. */
    elapse(500);
    assert_told("");
    end(0, 1);
    assert_told("lease 0.3 d1 attempt 1\n");
    come(0, 9, DOOR, "dan");
    assert_told("refuse 0.9 UNAVAILABLE: max_logins = 2\n");
}

static void test_a_login_that_ends_elsewhere_makes_room_under_max_logins(void **state)
{
    (void)state;
    come(0, 1, DOOR, "ann");
    come(0, 2, DOOR, "bob");
    come(0, 3, TINY, "cid");
    assert_told("lease 0.1 d1 attempt 1\nqueued d1 1: login_rate\nlease 0.3 t1 attempt 1\n");
    elapse(5000);
    assert_told("");
    result(0, 3, RESULT_REFUSED);
    assert_told("lease 0.2 d1 attempt 1\n");
}

/* --- restart ------------------------------------------------------------------------------- */

static void test_sessions_that_are_replayed_count_and_are_refused_for_nothing(void **state)
{
    struct msg_replay m;

    (void)state;
    restart();
    m = at("d1", REPLAY_RELAY);
    m.listener = DOOR;
    for (uint32_t i = 1; i <= 3; i++)
        must(replay(0, i, m, "ann"));
    must(try_open(1, 1, DOOR));
    must(admission_replayed(admission, &workers[0], now_ms));
    must(admission_replayed(admission, &workers[1], now_ms));
    hush();
    assert_int_equal(backend_at("d1")->sessions, 3);
    must(try_admit(1, 1, "bob"));
    assert_told("queued d1 1: max_sessions\n");
    end(0, 1);
    assert_told("");
    end(0, 2);
    assert_told("lease 1.1 d1 attempt 1\n");
}

/* The answers that have waited for the replays make room, too. */
static void test_a_question_of_a_restart_waits_for_those_answered_behind_it(void **state)
{
    struct msg_replay m;

    (void)state;
    restart();
    m = at("d1", REPLAY_LEASED);
    m.listener = DOOR;
    must(replay(0, 1, m, "ann"));
    must(replay(0, 2, m, "bob"));
    m = (struct msg_replay){.listener = DOOR, .stage = REPLAY_OPEN};
    must(replay(0, 3, m, ""));
    must(admission_replayed(admission, &workers[0], now_ms));
    must(try_admit(0, 3, "cid"));
    must(try_result(0, 1, (struct lease_id){LAST_EPOCH - 1, 17}, RESULT_OK));
    hush();
    must(admission_replayed(admission, &workers[1], now_ms));
    elapse(0);
    assert_non_null(strstr(told, "done 0.1\n"));
    assert_non_null(strstr(told, "lease 0.3 d1 attempt 1\n"));
}

/* --- memory -------------------------------------------------------------------------------- */

static void test_without_memory_for_the_queue_a_login_is_refused(void **state)
{
    size_t failures = 0;

    (void)state;
    log_in(0, 1, DOOR, "ann");
    log_in(0, 2, DOOR, "bob");
    for (size_t at = 1; failures < 100; at++) {
        open_quietly(0, 3, DOOR);
        memory.n = 0;
        memory.fails_at = at;
        memory.is_on = true;
        must(try_admit(0, 3, "cid"));
        memory.is_on = false;
        if (queued() == 1)
            break;
        failures++;
        assert_tells("refuse 0.3 UNAVAILABLE: no memory");
        assert_int_equal(admission_due_ms(admission), 0);
        end(0, 3);
    }
    assert_true(failures >= 3);
    hush();
    end(0, 1);
    assert_told("lease 0.3 d1 attempt 1\n");
}

#define TWO      DOOR_OF("max_connecting = 2 max_sessions = 2")
#define FEW      DOOR_OF("max_connecting = 2")
#define RATE     DOOR_OF("login_rate = 2 max_connecting = 0")
#define STORM_OF "max_sessions = 10000\nmax_sessions_per_user = 0\n" DOOR_OF("login_rate = 200")
#define WARM     DOOR_OF("login_rate = 64 max_connecting = 0")
#define LOGINS   "max_logins = 2\n" RATE

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(FEW, test_who_finds_max_connecting_reached_waits_for_one_to_end),
        WITH(TWO, test_who_finds_max_sessions_reached_waits_for_one_to_leave),
        WITH(TWO, test_a_worker_that_dies_makes_room),
        WITH(TWO, test_no_more_sessions_than_there_are_ports),
        cmocka_unit_test_prestate_setup_teardown(
            test_a_worker_without_descriptors_waits_and_holds_nobody_else_up,
            setup_without_descriptors, teardown, (void *)(uintptr_t)DOOR_OF("")),
        cmocka_unit_test_prestate_setup_teardown(
            test_descriptors_that_come_back_without_a_word_are_found, setup_without_descriptors,
            teardown, (void *)(uintptr_t)DOOR_OF("")),
        WITH(RATE, test_no_more_logins_are_begun_than_login_rate),
        WITH(STORM_OF, test_a_storm_of_logins_gets_in_at_the_rate),
        WITH(WARM, test_the_rate_begins_slowly_after_a_fall),
        WITH(RATE, test_users_take_turns),
        WITH(RATE, test_nobody_comes_past_who_waits),
        WITH(TWO, test_who_waits_too_long_is_refused_as_unavailable),
        WITH(TWO, test_who_hangs_up_in_the_queue_is_not_answered),
        WITH(TWO, test_nobody_comes_from_the_queue_to_a_backend_that_was_put_down),
        WITH(TWO, test_several_logins_of_one_user_go_to_another_backend_together),
        WITH(TWO, test_a_user_on_hold_comes_out_of_the_queue_to_the_hold),
        WITH(TWO, test_a_move_takes_its_user_out_of_the_queue),
        WITH(FEW, test_room_that_a_move_makes_is_used),
        WITH(LOGINS, test_no_more_are_under_way_than_max_logins_whoever_waited),
        WITH(LOGINS, test_a_login_that_ends_elsewhere_makes_room_under_max_logins),
        WITH(TWO, test_sessions_that_are_replayed_count_and_are_refused_for_nothing),
        WITH(FEW, test_a_question_of_a_restart_waits_for_those_answered_behind_it),
        WITH(TWO, test_without_memory_for_the_queue_a_login_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
