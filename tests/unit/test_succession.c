/* A control that is replaced on purpose: what its successor goes on with (control/succession.h).
 * That users are never on two backends meanwhile, whatever happens, is test_admission_model.c's. */
#include "succession_world.h"

#include "control/wellness.h"

/* --- health -------------------------------------------------------------------------------- */

static void assert_health(const char *backend, enum health_state want, uint64_t since_ms)
{
    const struct health *h = &backend_at(backend)->health;

    if (h->state != want)
        fail_msg("%s is %s", backend, health_name((enum health_state)h->state));
    assert_true(h->since_ms == since_ms);
}

static void test_a_backend_that_is_down_stays_down_until_its_probes_say_otherwise(void **state)
{
    const uint64_t begun_ms = now_ms;

    (void)state;
    now_ms += 5000;
    probed("s2", false);
    now_ms += 5000;
    fall("s1");
    now_ms += 60000;
    succeed();
    assert_health("s1", HEALTH_DOWN, begun_ms + 10000);
    assert_health("s2", HEALTH_FAILING, begun_ms + 5000);
    assert_health("s3", HEALTH_UP, begun_ms);
    all_have_replayed();
    for (uint32_t i = 1; i < 20; i++) {
        char user[16];

        snprintf(user, sizeof user, "u%u", i);
        assert_string_not_equal(log_in(0, i, SHARED, user), "s1");
    }
    /* The first of the two good ones that it takes, and the next control counts the second. */
    probed("s1", true);
    assert_health("s1", HEALTH_RECOVERING, now_ms);
    assert_int_equal(conf->pools[SHARED].check_rise, 2);
    succeed();
    probed("s1", true);
    assert_health("s1", HEALTH_UP, now_ms);
}

static void test_after_a_crash_all_are_up(void **state)
{
    (void)state;
    fall("s1");
    now_ms += 1000;
    crash();
    assert_health("s1", HEALTH_UP, now_ms);
}

static void test_sessions_on_a_backend_that_is_down_are_told_to_end_again(void **state)
{
    (void)state;
    fall("t1");
    succeed();
    must(replay(0, 1, at("t1", REPLAY_RELAY), "ann"));
    assert_told("kick 0.1 down\n");
    must(replay(0, 2, at("s1", REPLAY_RELAY), "ann"));
    assert_told("");
}

static void test_a_rest_goes_on(void **state)
{
    const struct health *h;

    (void)state;
    for (uint32_t i = 0; health_serves(&backend_at("t1")->health); i++) {
        char user[16], address[32];

        snprintf(user, sizeof user, "u%u", i % 5);
        snprintf(address, sizeof address, "192.0.2.%u", i % 5);
        client = address;
        admit(0, i + 1, TINY, user);
        must(admission_result(admission, &workers[0], i + 1,
                              &(struct msg_result){.lease = leases[0][(i + 1) % IDS].lease,
                                                   .result = RESULT_FAILED,
                                                   .fault = FAULT_BACKEND},
                              now_ms));
        assert_in_range(i, 0, 40);
    }
    client = NULL;
    now_ms += HEALTH_REST_MS - 10000;
    succeed();
    h = &backend_at("t1")->health;
    assert_int_equal(h->rests, 1);
    assert_true(h->rest_until_ms == now_ms + 10000);
    rise("t1");
    assert_int_equal(h->state, HEALTH_RECOVERING);
    now_ms += 10000;
    succeed();
    h = &backend_at("t1")->health;
    probed("t1", true);
    assert_int_equal(h->state, HEALTH_UP);
    assert_true(h->rested_ms == now_ms);
    now_ms += 5000;
    succeed();
    h = &backend_at("t1")->health;
    assert_int_equal(h->rests, 1);
    assert_true(h->rested_ms == now_ms - 5000);
}

static void test_a_slow_start_goes_on_where_it_was(void **state)
{
    uint32_t n = (uint32_t)(backend_at("s1") - backends.all);
    const uint32_t slow_ms = conf->pools[SHARED].slow_start;
    double weight;

    (void)state;
    assert_in_range(slow_ms, 4000, 1000000);
    fall("s1");
    rise("s1");
    elapse(slow_ms / 2);
    admission_tick(admission, now_ms);
    weight = backends.nodes[n].weight;
    assert_true(weight < backends.nodes[n + 1].weight && weight > 0);
    succeed();
    assert_int_equal((long)(backends.nodes[n].weight / weight * 20), 20);
    /* It is not over before the replays are in, since nobody could return. */
    elapse(slow_ms);
    assert_told("");
    assert_true(backends.nodes[n].weight == backends.nodes[n + 1].weight);
    must(admission_replayed(admission, &workers[0], now_ms));
    must(admission_replayed(admission, &workers[1], now_ms));
    hush();
    elapse(WARM_MS);
    assert_told("back s1\n");
    succeed();
    all_have_replayed();
    elapse(slow_ms);
    assert_told("");
}

/* The fault may have been in what was changed. */
static void test_health_counts_for_a_backend_that_means_the_same(void **state)
{
    char lines[512];

    (void)state;
    snprintf(lines, sizeof lines,
             "health backend=s1 meaning=%llu state=down age=1000\n"
             "health backend=s2 meaning=%llu state=down age=1000\n"
             "health backend=gone meaning=1 state=down age=1000\n"
             "health backend=s3 state=down age=1000\n",
             (unsigned long long)backend_at("s1")->meaning,
             (unsigned long long)backend_at("s2")->meaning + 1);
    succeed_to(lines);
    assert_health("s1", HEALTH_DOWN, now_ms - 1000);
    assert_health("s2", HEALTH_UP, now_ms);
    assert_health("s3", HEALTH_UP, now_ms);
    assert_int_equal(sum.lost, 0);
    assert_int_equal(sum.backends, 1);
}

/* --- moves --------------------------------------------------------------------------------- */

static void test_a_move_goes_on_to_its_end(void **state)
{
    const uint64_t begun_ms = now_ms;

    (void)state;
    placement("own", "ann", "o1");
    log_in(0, 1, OWN, "ann");
    works(move("ann", "o2"));
    now_ms += 3000;
    succeed();
    assert_int_equal(sum.moves, 1);
    /* Held from the first, and not settled before all is known. */
    must(replay(1, 2, at("o1", REPLAY_OPEN), ""));
    must(try_admit(1, 2, "ann"));
    assert_told("");
    pass(1000);
    operate_tick(operate, now_ms);
    assert_int_equal(status().moves, 1);
    placement("own", "ann", "o1");
    must(replay(0, 1, at("o1", REPLAY_RELAY), "ann"));
    assert_told("kick 0.1 moved\n");
    must(admission_replayed(admission, &workers[0], now_ms));
    must(admission_replayed(admission, &workers[1], now_ms));
    assert_non_null(strstr(told, "held ann 1\n"));
    hush();
    pass(1000);
    assert_told("");
    {
        const struct user *u = registry_user(admission_registry(admission), OWN, SLICE("ann"));

        assert_true(moves_find(operate_machine(operate), u)->since_ms == begun_ms);
    }
    end(0, 1);
    pass(0);
    assert_told("lease 1.2 o2 attempt 1\n");
    assert_int_equal(route_of(OWN, "ann").placed, backend("o2"));
    assert_int_equal(status().moves, 0);
}

static void test_a_move_whose_sessions_ended_between_two_controls_is_over(void **state)
{
    (void)state;
    placement("own", "ann", "o1");
    log_in(0, 1, OWN, "ann");
    works(move("ann", "o2"));
    succeed();
    all_have_replayed();
    assert_int_not_equal(operate_due_ms(operate), 0);
    pass(0);
    assert_int_equal(route_of(OWN, "ann").placed, backend("o2"));
    assert_int_equal(status().moves, 0);
}

static void test_after_a_crash_a_move_is_over(void **state)
{
    (void)state;
    placement("own", "ann", "o1");
    log_in(0, 1, OWN, "ann");
    works(move("ann", "o2"));
    crash();
    placement("own", "ann", "o1");
    must(replay(0, 1, at("o1", REPLAY_RELAY), "ann"));
    assert_told("");
    assert_int_equal(status().moves, 0);
}

/* It could not be written yet; its sessions are there already. */
static void test_who_is_where_he_is_moved_to_is_not_kicked_for_it(void **state)
{
    const char *home = log_in(0, 1, SHARED, "ann");
    char lines[256];

    snprintf(lines, sizeof lines, "move user=ann pool=shared kind=move to=%s age=1 tries=3\n",
             home);
    (void)state;
    succeed_to(lines);
    must(replay(0, 1, at(home, REPLAY_RELAY), "ann"));
    assert_told("");
    must(replay(1, 1, at(other(home, NULL), REPLAY_LEASED), "ann"));
    assert_told("kick 1.1 moved\n");
}

static void test_a_write_that_failed_is_tried_as_often_as_it_would_have_been(void **state)
{
    sqlite3 *db;

    (void)state;
    placement("own", "ann", "o1");
    log_in(0, 1, OWN, "ann");
    works(move("ann", "o2"));
    db = lock_state();
    end(0, 1);
    pass(2 * MOVES_RETRY_MS);
    leave();
    assert_notes("move user=ann kind=move pool=own from=o1 to=o2 age=2000 tries=3 wait=1000\n");
    sqlite3_close(db);
    succeed_with(buf_slice(&notes));
    all_have_replayed();
    placement("own", "ann", "o1");
    db = lock_state();
    pass(MOVES_RETRY_MS);
    assert_int_equal(status().moves, 1);
    pass(MOVES_RETRY_MS);
    assert_int_equal(status().moves, 0);
    assert_int_equal(status().given_up, 1);
    sqlite3_close(db);
    succeed();
    assert_int_equal(status().given_up, 1);
}

static void test_who_waits_for_a_turn_goes_on_waiting_at_the_same_pace(void **state)
{
    size_t n;

    (void)state;
    gather_on("o1");
    works(operate_move_all(operate, backend("o1"), backend("o2"), 2, now_ms, &n, &err));
    pass(500);
    assert_int_equal(status().moves, CROWD);
    succeed();
    assert_int_equal(sum.moves, 2);
    assert_int_equal(sum.waiting, CROWD - 2);
    for (uint32_t i = 0; i < CROWD; i++)
        must(replay(0, i + 1, at("o1", REPLAY_RELAY), crowd[i]));
    assert_int_equal(times_told("kick"), 2);
    fails(operate_move_all(operate, backend("o1"), backend("o3"), 1, now_ms, &n, &err),
          "being moved already");
    must(admission_replayed(admission, &workers[0], now_ms));
    must(admission_replayed(admission, &workers[1], now_ms));
    pass(499);
    assert_int_equal(times_told("kick"), 2);
    pass(1);
    assert_int_equal(times_told("kick"), 3);
    pass(1000);
    assert_int_equal(times_told("kick"), CROWD);
    for (uint32_t i = 0; i < CROWD; i++)
        end(0, i + 1);
    pass(0);
    for (uint32_t i = 0; i < CROWD; i++)
        assert_int_equal(route_of(OWN, crowd[i]).placed, backend("o2"));
    hush();
}

static void test_kicks_of_many_go_on(void **state)
{
    size_t n;

    (void)state;
    gather_on("o1");
    works(operate_kick_all(operate, backend("o1"), 1, now_ms, &n, &err));
    pass(1000);
    hush();
    succeed();
    assert_int_equal(sum.waiting, CROWD - 2);
    for (uint32_t i = 0; i < CROWD; i++)
        must(replay(0, i + 1, at("o1", REPLAY_RELAY), crowd[i]));
    assert_int_equal(times_told("kick"), 0);
    must(admission_replayed(admission, &workers[0], now_ms));
    must(admission_replayed(admission, &workers[1], now_ms));
    pass(10000);
    assert_int_equal(times_told("kick"), CROWD - 2);
    assert_int_equal(times_told("moved"), 0);
    assert_int_equal(status().kicks, 0);
    hush();
}

static void test_those_who_return_go_on_returning(void **state)
{
    (void)state;
    succeed_to("batch kind=return pool=shared to=s1 rate=1 credit=1000\n"
               "user name=ann\nuser name=bob\n"
               "move user=cid pool=shared kind=return from=s2 to=s1 age=9\n");
    assert_int_equal(sum.waiting, 2);
    assert_int_equal(sum.moves, 1);
    assert_true(moves_are_returning(operate_machine(operate), backend("s1")));
    must(replay(0, 1, at("s2", REPLAY_RELAY), "ann"));
    must(replay(0, 2, at("s2", REPLAY_RELAY), "cid"));
    assert_told("kick 0.2 moved\n");
    all_have_replayed();
    pass(0);
    assert_told("kick 0.1 moved\n");
    end(0, 1);
    end(0, 2);
    pass(2000);
    assert_int_equal(route_of(SHARED, "ann").affinity, backend("s1"));
    assert_int_equal(route_of(SHARED, "cid").affinity, backend("s1"));
    assert_int_equal(route_of(SHARED, "ann").pin, BACKEND_NONE);
    assert_int_equal(route_of(SHARED, "cid").pin, BACKEND_NONE);
    assert_int_equal(status().moves, 0);
}

/* --- another configuration ----------------------------------------------------------------- */

static void test_moves_to_what_is_not_there_any_more_are_given_up(void **state)
{
    (void)state;
    succeed_to("move user=ann pool=own kind=move from=o1 to=gone age=9\n"
               "move user=bob pool=own kind=move from=o1 to=s1 age=9\n"
               "batch kind=move pool=own from=o1 to=gone rate=1\nuser name=cid\nuser name=dan\n"
               "move user=eve pool=shared kind=return from=s2 to=gone age=9\n"
               "batch kind=return pool=shared to=gone rate=1\nuser name=fay\n"
               "batch kind=return pool=own to=o1 rate=1\nuser name=gus\n"
               "move user=hal pool=own kind=return from=o1 to=o2 age=9\n");
    assert_int_equal(sum.lost, 0);
    assert_int_equal(sum.moves + sum.waiting, 0);
    assert_int_equal(status().given_up, 3);
    assert_int_equal(status().moves, 0);
    assert_int_equal(status().known_users, 0);
    /* Of another pool altogether nothing can be said. */
    succeed_to("move user=ann pool=gone kind=move from=o1 to=o2 age=9\n"
               "batch kind=move pool=gone from=o1 to=o2 rate=1\nuser name=cid\n");
    assert_int_equal(sum.lost, 2);
    assert_int_equal(status().known_users, 0);
}

static void test_users_leave_a_backend_that_is_not_there_any_more(void **state)
{
    (void)state;
    succeed_to("move user=ann pool=own kind=move from=gone to=o2 age=9\n"
               "batch kind=move pool=own from=gone to=o2 rate=10\nuser name=bob\n"
               "batch kind=kick pool=lost from=gone rate=10\nuser name=cid\n");
    assert_int_equal(sum.lost, 0);
    assert_int_equal(status().kicks, 1);
    placement("own", "bob", "gone");
    all_have_replayed();
    pass(1000);
    assert_int_equal(route_of(OWN, "ann").placed, backend("o2"));
    assert_int_equal(route_of(OWN, "bob").placed, backend("o2"));
    assert_int_equal(status().kicks + status().moves, 0);
}

/* --- at any point -------------------------------------------------------------------------- */

/* What a control and its workers go through; whoever has ended by then has. */
enum { POINTS = 16 };

/* A worker's sessions, for the replay: users of `crowd`, on o1 or o2. */
static const char *where[CROWD + 1];

static void all_replay(void)
{
    for (uint32_t i = 1; i <= CROWD; i++) {
        if (where[i])
            must(replay(0, i, at(where[i], REPLAY_RELAY), crowd[i - 1]));
    }
    all_have_replayed();
}

static void go_on(unsigned point)
{
    static sqlite3 *db;
    size_t n;

    if (point == 0)
        works(operate_move_all(operate, backend("o1"), backend("o2"), 2, now_ms, &n, &err));
    else if (point == 3)
        db = lock_state(); /* what is over now cannot be written */
    else if (point == 9)
        sqlite3_close(db);
    else if (point % 2 == 0 && point / 2 <= CROWD && where[point / 2]) {
        end(0, point / 2);
        where[point / 2] = NULL;
    }
    pass(500);
}

/* Who is where at the end, when control is replaced at `replaced`. */
static void assert_all_come_to_their_end(unsigned replaced)
{
    for (uint32_t i = 0; i < CROWD; i++) {
        placement("own", crowd[i], "o1");
        works(operate_place(operate, slice_str(crowd[i]), backend("o1"), &err));
        where[i + 1] = log_in(0, i + 1, OWN, crowd[i]);
    }
    for (unsigned point = 0; point < POINTS; point++) {
        go_on(point);
        if (point != replaced)
            continue;
        leave();
        succeed_with(buf_slice(&notes));
        assert_int_equal(sum.lost, 0);
        all_replay();
    }
    pass(10000);
    for (uint32_t i = 1; i <= CROWD; i++) {
        if (where[i])
            end(0, i);
        where[i] = NULL;
    }
    pass(10000);
    assert_int_equal(status().moves, 0);
    assert_int_equal(status().given_up, 0);
    for (uint32_t i = 0; i < CROWD; i++)
        assert_int_equal(route_of(OWN, crowd[i]).placed, backend("o2"));
    hush();
}

static void test_moves_end_alike_wherever_control_is_replaced(void **state)
{
    (void)state;
    for (unsigned replaced = 0; replaced <= POINTS; replaced++)
        assert_all_come_to_their_end(replaced);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SUCCEEDING(test_a_backend_that_is_down_stays_down_until_its_probes_say_otherwise),
        SUCCEEDING(test_after_a_crash_all_are_up),
        SUCCEEDING(test_sessions_on_a_backend_that_is_down_are_told_to_end_again),
        SUCCEEDING(test_a_rest_goes_on),
        SUCCEEDING(test_a_slow_start_goes_on_where_it_was),
        SUCCEEDING(test_health_counts_for_a_backend_that_means_the_same),
        SUCCEEDING(test_a_move_goes_on_to_its_end),
        SUCCEEDING(test_a_move_whose_sessions_ended_between_two_controls_is_over),
        SUCCEEDING(test_after_a_crash_a_move_is_over),
        SUCCEEDING(test_who_is_where_he_is_moved_to_is_not_kicked_for_it),
        SUCCEEDING(test_a_write_that_failed_is_tried_as_often_as_it_would_have_been),
        SUCCEEDING(test_who_waits_for_a_turn_goes_on_waiting_at_the_same_pace),
        SUCCEEDING(test_kicks_of_many_go_on),
        SUCCEEDING(test_those_who_return_go_on_returning),
        SUCCEEDING(test_moves_to_what_is_not_there_any_more_are_given_up),
        SUCCEEDING(test_users_leave_a_backend_that_is_not_there_any_more),
        SUCCEEDING(test_moves_end_alike_wherever_control_is_replaced),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
