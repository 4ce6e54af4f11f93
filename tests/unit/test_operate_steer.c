/* What operators change, and what becomes of it: moves, kicks, what lasts, and that nothing is
 * changed which could not be written. */
#include "operate_world.h"

#include "no_memory.h"

#include "control/moves.h"

/* --- what lasts ---------------------------------------------------------------------------- */

static void test_the_state_of_a_backend_counts_and_lasts(void **state)
{
    (void)state;
    works(operate_backend(operate, backend("t1"), BACKEND_DOWN, &err));
    admit(0, 1, TINY, "ann");
    assert_tells("refuse 0.1 UNAVAILABLE");
    reboot();
    all_have_replayed();
    assert_int_equal(backends.all[backend("t1")].state, BACKEND_DOWN);
    works(operate_backend(operate, backend("t1"), BACKEND_UP, &err));
    admit(0, 1, TINY, "ann");
    assert_tells("lease 0.1 t1");
    fails(operate_backend(operate, backend("gone"), BACKEND_UP, &err), "no such backend");
}

static void test_who_waits_for_addresses_is_not_sent_to_what_is_down_by_then(void **state)
{
    (void)state;
    works(operate_backend(operate, backend("n2"), BACKEND_DOWN, &err));
    admit(0, 1, NAMED, "ann");
    assert_told("");
    works(operate_backend(operate, backend("n1"), BACKEND_DOWN, &err));
    backends.all[backend("n1")].addresses_n = 1;
    admission_addresses(admission, backend("n1"), now_ms);
    assert_told("");
    pass(5000);
    assert_tells("refuse 0.1 UNAVAILABLE");
}

static void test_a_pin_counts_and_lasts_until_it_is_ended(void **state)
{
    const char *home = log_in(0, 1, SHARED, "ann");
    const char *to = other(home, NULL);

    (void)state;
    end(0, 1);
    works(operate_pin(operate, SLICE("ann"), backend(to), &err));
    reboot();
    all_have_replayed();
    assert_string_equal(log_in(0, 1, SHARED, "ann"), to);
    end(0, 1);
    works(operate_pin(operate, SLICE("ann"), BACKEND_NONE, &err));
    works(operate_pin(operate, SLICE("ann"), BACKEND_NONE, &err)); /* nothing to end */
    assert_null(registry_order(admission_registry(admission), SLICE("ann")));
    operate_flush_user(operate, SLICE("ann"));
    reboot();
    all_have_replayed();
    assert_string_equal(log_in(0, 1, SHARED, "ann"), home);
}

/* As with a placement. */
static void test_a_pin_counts_for_a_login_that_is_under_way(void **state)
{
    const char *home;

    (void)state;
    admit(0, 1, SHARED, "ann");
    hush();
    home = title_of(&leases[0][1]);
    works(operate_pin(operate, SLICE("ann"), backend(other(home, NULL)), &err));
    result(0, 1, RESULT_OK);
    assert_tells("refuse 0.1 UNAVAILABLE: the user is pinned to");
    assert_string_equal(log_in(0, 2, SHARED, "ann"), other(home, NULL));
}

static void test_a_hold_makes_logins_wait_and_lasts(void **state)
{
    (void)state;
    works(operate_hold(operate, SLICE("ann"), true, now_ms, &err));
    admit(0, 1, SHARED, "ann");
    assert_told("held ann 1\n");
    works(operate_hold(operate, SLICE("ann"), false, now_ms, &err));
    assert_tells("lease 0.1");
    works(operate_hold(operate, SLICE("ann"), true, now_ms, &err));
    reboot();
    all_have_replayed();
    admit(0, 2, SHARED, "ann");
    assert_told("held ann 1\n");
}

static void test_a_placement_counts_and_lasts(void **state)
{
    (void)state;
    works(operate_place(operate, SLICE("new"), backend("o3"), &err));
    assert_string_equal(log_in(0, 1, OWN, "new"), "o3");
    end(0, 1);
    reboot();
    all_have_replayed();
    assert_string_equal(log_in(0, 1, OWN, "new"), "o3");
    fails(operate_place(operate, SLICE("new"), backend("s1"), &err), "shared storage");
}

/* A placement of a login that waits to be written is older than the operator's word. */
static void test_an_operators_word_is_written_behind_what_waits(void **state)
{
    (void)state;
    works(state_place(state_file, "own", SLICE("ann"), "o1", &err));
    works(operate_place(operate, SLICE("ann"), backend("o3"), &err));
    assert_int_equal(state_waiting(state_file), 0);
    reboot();
    all_have_replayed();
    assert_int_equal(route_of(OWN, "ann").placed, backend("o3"));
}

static void test_what_cannot_be_written_is_not_done(void **state)
{
    sqlite3 *db = lock_state();

    (void)state;
    fails(operate_backend(operate, backend("s1"), BACKEND_DOWN, &err), "locked");
    fails(operate_pin(operate, SLICE("ann"), backend("s1"), &err), "locked");
    fails(operate_hold(operate, SLICE("ann"), true, now_ms, &err), "locked");
    fails(operate_place(operate, SLICE("ann"), backend("o1"), &err), "locked");
    fails(move("ann", "s1"), "locked");
    fails(move("ann", "o1"), "locked");
    sqlite3_close(db);
    assert_int_equal(backends.all[backend("s1")].state, BACKEND_UP);
    assert_null(registry_order(admission_registry(admission), SLICE("ann")));
    assert_int_equal(status().known_users, 0);
    assert_int_equal(status().moves, 0);
}

static void test_names_that_are_none_are_refused(void **state)
{
    const struct slice names[] = {SLICE(""), SLICE("a\nb"), SLICE("a\0b")};
    size_t n;

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        fails(operate_pin(operate, names[i], backend("s1"), &err), "not a user's name");
        fails(operate_place(operate, names[i], backend("o1"), &err), "not a user's name");
        fails(operate_hold(operate, names[i], true, now_ms, &err), "not a user's name");
        fails(operate_move(operate, names[i], backend("s1"), now_ms, &err), "not a user's name");
        assert_int_equal(operate_flush_user(operate, names[i]), 0);
    }
    fails(operate_pin(operate, SLICE("ann"), backend("gone"), &err), "no such backend");
    fails(operate_place(operate, SLICE("ann"), backend("gone"), &err), "no such backend");
    works(operate_kick_all(operate, backend("gone"), 1, now_ms, &n, &err));
    assert_int_equal(n, 0);
}

/* --- a move -------------------------------------------------------------------------------- */

static void test_a_move_waits_for_the_last_session(void **state)
{
    const char *home = log_in(0, 1, SHARED, "ann");
    const char *to = other(home, NULL);
    char want[64];

    (void)state;
    log_in(1, 2, SHARED, "ann");
    works(move("ann", to));
    assert_told("kick 0.1 moved\nkick 1.2 moved\n");
    admit(0, 3, SHARED, "ann");
    assert_told("held ann 1\n");
    end(0, 1);
    pass(1000);
    assert_told("");
    assert_true(route_of(SHARED, "ann").is_moving);
    end(1, 2);
    pass(0);
    snprintf(want, sizeof want, "lease 0.3 %s attempt 1\n", to);
    assert_told(want);
    assert_int_equal(route_of(SHARED, "ann").pin, backend(to));
    assert_int_equal(route_of(SHARED, "ann").affinity, backend(to));
    assert_int_equal(status().moves, 0);
    reboot();
    assert_int_equal(route_of(SHARED, "ann").pin, backend(to));
}

static void test_a_move_in_own_storage_changes_the_placement(void **state)
{
    const char *home = log_in(0, 1, OWN, "ann");

    (void)state;
    works(move("ann", "o3"));
    assert_told("kick 0.1 moved\n");
    assert_int_equal(route_of(OWN, "ann").placed, backend(home));
    end(0, 1);
    pass(0);
    assert_int_equal(route_of(OWN, "ann").placed, backend("o3"));
    assert_int_equal(route_of(OWN, "ann").pin, BACKEND_NONE);
    reboot();
    all_have_replayed();
    assert_string_equal(log_in(0, 1, OWN, "ann"), "o3");
}

/* Which would count more than the placement. */
static void test_a_pin_in_own_storage_moves_along(void **state)
{
    (void)state;
    works(operate_pin(operate, SLICE("ann"), backend("o1"), &err));
    works(move("ann", "o3"));
    assert_int_equal(route_of(OWN, "ann").pin, backend("o3"));
    assert_int_equal(route_of(OWN, "ann").placed, backend("o3"));
    assert_int_equal(route_of(OWN, "ann").chosen, backend("o3"));
}

static void test_who_has_no_session_is_moved_at_once(void **state)
{
    (void)state;
    works(move("ann", "s3"));
    assert_int_equal(status().moves, 0);
    assert_string_equal(log_in(0, 1, SHARED, "ann"), "s3");
    /* And who is there already is left in peace. */
    works(move("ann", "s3"));
    assert_told("");
    assert_int_equal(status().moves, 0);
}

static void test_a_login_without_a_backend_yet_waits_for_the_move(void **state)
{
    (void)state;
    admit(0, 1, NAMED, "ann");
    assert_int_equal(status().logins, 1);
    addr_parse_ip(SLICE("192.0.2.32"), 1, &backends.all[backend("n2")].addresses[0]);
    backends.all[backend("n2")].addresses_n = 1;
    works(move("ann", "n2"));
    assert_told("held ann 1\nlease 0.1 n2 attempt 1\n");
}

static void test_a_login_under_way_never_becomes_a_session(void **state)
{
    const char *to;

    (void)state;
    admit(0, 1, SHARED, "ann");
    to = other(title_of(&leases[0][1]), NULL);
    hush();
    works(move("ann", to));
    assert_told("kick 0.1 moved\n");
    /* The backend's OK was on its way. */
    result(0, 1, RESULT_OK);
    assert_tells("refuse 0.1 INUSE: the user is being moved");
    pass(0);
    assert_int_equal(route_of(SHARED, "ann").pin, backend(to));
    end(0, 1);
}

static void test_a_login_that_has_failed_waits_for_the_move(void **state)
{
    char want[64];
    const char *to;

    (void)state;
    admit(0, 1, SHARED, "ann");
    to = other(title_of(&leases[0][1]), NULL);
    hush();
    works(move("ann", to));
    hush();
    result(0, 1, RESULT_FAILED);
    assert_told("held ann 1\n");
    pass(0);
    snprintf(want, sizeof want, "lease 0.1 %s attempt 2\n", to);
    assert_told(want);
}

static void test_a_session_that_does_not_end_holds_the_move_up(void **state)
{
    const char *home = log_in(0, 1, SHARED, "ann");

    (void)state;
    works(move("ann", other(home, NULL)));
    hush();
    admit(0, 2, SHARED, "ann");
    hush();
    pass(30000);
    assert_told("refuse 0.2 INUSE: the user is being moved\n");
    assert_int_equal(status().moves, 1);
    detach(0);
    pass(MOVES_LOST_MS);
    assert_int_equal(status().moves, 0);
}

static void test_a_hold_outlives_a_move(void **state)
{
    const char *home = log_in(0, 1, SHARED, "ann");

    (void)state;
    works(move("ann", other(home, NULL)));
    hush();
    works(operate_hold(operate, SLICE("ann"), true, now_ms, &err));
    admit(0, 2, SHARED, "ann");
    assert_told("held ann 1\n");
    end(0, 1);
    pass(0);
    assert_told("");
    works(operate_hold(operate, SLICE("ann"), false, now_ms, &err));
    assert_tells("lease 0.2");
}

static void test_a_move_outlives_a_release(void **state)
{
    const char *home = log_in(0, 1, SHARED, "ann");

    (void)state;
    works(operate_hold(operate, SLICE("ann"), true, now_ms, &err));
    works(move("ann", other(home, NULL)));
    hush();
    admit(0, 2, SHARED, "ann");
    hush();
    works(operate_hold(operate, SLICE("ann"), false, now_ms, &err));
    assert_told("");
    end(0, 1);
    pass(0);
    assert_tells("lease 0.2");
}

static void test_a_move_that_cannot_be_written_is_tried_again(void **state)
{
    const char *home = log_in(0, 1, SHARED, "ann");
    const char *to = other(home, NULL);
    sqlite3 *db = lock_state();

    (void)state;
    works(move("ann", to));
    end(0, 1);
    pass(MOVES_RETRY_MS);
    assert_int_equal(status().moves, 1);
    sqlite3_close(db);
    pass(MOVES_RETRY_MS);
    assert_int_equal(route_of(SHARED, "ann").pin, backend(to));
}

static void test_a_move_that_can_never_be_written_is_given_up(void **state)
{
    const char *home = log_in(0, 1, SHARED, "ann");
    sqlite3 *db = lock_state();
    char want[64];

    (void)state;
    works(move("ann", other(home, NULL)));
    end(0, 1);
    hush();
    admit(0, 2, SHARED, "ann");
    hush();
    pass((MOVES_TRIES - 1) * MOVES_RETRY_MS);
    snprintf(want, sizeof want, "lease 0.2 %s attempt 1\n", home);
    assert_told(want);
    assert_int_equal(status().moves, 0);
    sqlite3_close(db);
}

/* As if the channel alone had broken: the worker tells of its sessions anew. */
static void test_a_session_that_comes_back_is_kicked_and_waited_for(void **state)
{
    const char *home = log_in(0, 1, SHARED, "ann");

    (void)state;
    works(move("ann", other(home, NULL)));
    hush();
    detach(0);
    attach(0);
    must(replay(0, 1, at(home, REPLAY_RELAY), "ann"));
    assert_told("kick 0.1 moved\n");
    pass(1000);
    assert_int_equal(status().moves, 1);
    end(0, 1);
    pass(MOVES_LOST_MS);
    assert_int_equal(status().moves, 0);
}

/* The next turn of the loop is nearer than the worker's new channel. */
static void test_a_move_waits_for_what_a_lost_channel_may_bring_back(void **state)
{
    const char *home = log_in(0, 1, SHARED, "ann");
    char want[64];

    (void)state;
    works(move("ann", other(home, NULL)));
    admit(1, 2, SHARED, "ann");
    hush();
    detach(0);
    pass(MOVES_LOST_MS - 1);
    assert_told("");
    attach(0);
    must(replay(0, 1, at(home, REPLAY_RELAY), "ann"));
    assert_told("kick 0.1 moved\n");
    pass(1000);
    assert_told("");
    end(0, 1);
    pass(0);
    snprintf(want, sizeof want, "lease 1.2 %s attempt 1\n", other(home, NULL));
    assert_told(want);
}

static void test_a_lost_worker_does_not_hold_a_move_up(void **state)
{
    const char *home = log_in(0, 1, SHARED, "ann");

    (void)state;
    works(move("ann", other(home, NULL)));
    hush();
    detach(0);
    pass(MOVES_LOST_MS);
    assert_int_equal(status().moves, 0);
}

static void test_who_comes_back_when_the_user_is_elsewhere_is_kicked(void **state)
{
    const char *home = log_in(0, 1, SHARED, "ann");

    (void)state;
    detach(0);
    works(move("ann", other(home, NULL)));
    assert_string_equal(log_in(1, 2, SHARED, "ann"), other(home, NULL));
    attach(0);
    must(replay(0, 1, at(home, REPLAY_RELAY), "ann"));
    assert_told("kick 0.1 moved\n");
}

static void test_a_move_dies_with_its_control(void **state)
{
    const char *home = log_in(0, 1, SHARED, "ann");
    char want[64];

    (void)state;
    works(move("ann", other(home, NULL)));
    reboot();
    must(replay(0, 1, at(home, REPLAY_RELAY), "ann"));
    all_have_replayed();
    assert_int_equal(status().moves, 0);
    admit(0, 2, SHARED, "ann");
    snprintf(want, sizeof want, "lease 0.2 %s attempt 1\n", home);
    assert_told(want);
}

static void test_moves_that_make_no_sense_are_refused(void **state)
{
    const char *home = log_in(0, 1, SHARED, "ann");
    const char *to = other(home, NULL);
    size_t n;

    (void)state;
    fails(move("ann", "gone"), "no such backend");
    works(operate_backend(operate, backend("s4"), BACKEND_DOWN, &err));
    fails(move("bob", "s4"), "s4 is down");
    works(move("ann", to));
    fails(move("ann", home), "ann is being moved to");
    fails(operate_pin(operate, SLICE("ann"), BACKEND_NONE, &err), "ann is being moved to");
    fails(operate_place(operate, SLICE("ann"), backend("o1"), &err), "ann is being moved to");
    works(operate_pin(operate, SLICE("cid"), backend("o1"), &err));
    fails(move("cid", "s1"), "pinned to o1 of pool own");
    fails(operate_move_all(operate, backend("s1"), backend("s1"), 1, now_ms, &n, &err), "there");
    fails(operate_move_all(operate, backend("s1"), backend("o1"), 1, now_ms, &n, &err),
          "not in the same pool");
    fails(operate_move_all(operate, backend("s1"), backend("s2"), 0, now_ms, &n, &err), "rate");
}

static void test_nobody_is_moved_before_all_sessions_are_known(void **state)
{
    size_t n;

    (void)state;
    reboot();
    assert_false(status().is_recovered);
    fails(move("ann", "s1"), "try again in a moment");
    fails(operate_move_all(operate, backend("s1"), backend("s2"), 1, now_ms, &n, &err),
          "try again in a moment");
    fails(operate_kick_all(operate, backend("s1"), 1, now_ms, &n, &err), "try again in a moment");
    all_have_replayed();
    works(move("ann", "s1"));
}

/* --- what is forgotten --------------------------------------------------------------------- */

static void test_affinity_is_forgotten_of_a_user_and_of_a_backend(void **state)
{
    (void)state;
    pin("ann", "s3");
    pin("bob", "s3");
    log_in(0, 1, SHARED, "ann");
    log_in(0, 2, SHARED, "bob");
    end(0, 1);
    end(0, 2);
    assert_int_equal(route_of(SHARED, "ann").affinity, backend("s3"));
    assert_int_equal(operate_flush_user(operate, SLICE("ann")), 1);
    assert_int_equal(operate_flush_user(operate, SLICE("ann")), 0);
    assert_int_equal(route_of(SHARED, "ann").affinity, BACKEND_NONE);
    assert_int_equal(operate_flush_backend(operate, backend("s1")), 0);
    assert_int_equal(operate_flush_backend(operate, backend("s3")), 1);
    assert_int_equal(route_of(SHARED, "bob").affinity, BACKEND_NONE);
    assert_int_equal(operate_flush_backend(operate, backend("o1")), 0);
    assert_int_equal(operate_flush_backend(operate, backend("gone")), 0);
}

static void test_penalties_are_told_and_forgotten(void **state)
{
    struct penalty_record r;
    struct slice ann = SLICE("ann");
    struct in6_addr from;
    struct addr a;

    (void)state;
    client = "2001:db8::1";
    a = client_address();
    from = network_client(&a);
    for (uint32_t i = 0; i < 3; i++) {
        admit(0, 1 + i, SHARED, "ann");
        result(0, 1 + i, RESULT_REFUSED);
        end(0, 1 + i);
    }
    operate_penalties(operate, &ann, &from, now_ms, &r);
    assert_int_equal(r.user, 3);
    assert_int_equal(r.address, 3);
    assert_int_equal(r.site, 3);
    operate_penalties(operate, NULL, &from, now_ms, &r);
    assert_int_equal(r.user, 0);
    assert_int_equal(r.address, 3);
    operate_clear_penalties(operate, &ann, NULL);
    operate_penalties(operate, &ann, &from, now_ms, &r);
    assert_int_equal(r.user, 0);
    assert_int_equal(r.address, 3);
    operate_clear_penalties(operate, NULL, &from);
    operate_penalties(operate, &ann, &from, now_ms, &r);
    assert_int_equal(r.address + r.site, 0);
    hush();
}

static void test_a_known_pair_is_forgiven_and_stays_known(void **state)
{
    struct penalty_record r;
    struct slice ann = SLICE("ann");
    struct in6_addr from;
    struct addr a;

    (void)state;
    client = "192.0.2.78";
    a = client_address();
    from = network_client(&a);
    log_in(0, 1, SHARED, "ann");
    admit(0, 2, SHARED, "ann");
    result(0, 2, RESULT_REFUSED);
    operate_penalties(operate, &ann, &from, now_ms, &r);
    assert_true(r.is_known);
    assert_int_equal(r.pair, 1);
    operate_clear_penalties(operate, &ann, &from);
    operate_penalties(operate, &ann, &from, now_ms, &r);
    assert_true(r.is_known);
    assert_int_equal(r.pair, 0);
    hush();
}

/* --- without memory ------------------------------------------------------------------------ */

static int move_one(void)
{
    return move("ann", "s3");
}

static int move_many(void)
{
    size_t n;

    return operate_move_all(operate, backend("old"), backend("o2"), 10, now_ms, &n, &err);
}

static int kick_many(void)
{
    size_t n;

    return operate_kick_all(operate, backend("o1"), 1, now_ms, &n, &err);
}

static int pin_one(void)
{
    return operate_pin(operate, SLICE("dan"), backend("s3"), &err);
}

static int place_one(void)
{
    return operate_place(operate, SLICE("ann"), backend("o3"), &err);
}

static int see_all(void)
{
    const struct operate_filter all = {.backend = BACKEND_NONE, .pool = -1};
    struct operate_key *keys = NULL;
    size_t n;
    int result = operate_sessions(operate, &all, &keys, &n, &err);

    free(keys);
    return result;
}

static int see_route(void)
{
    struct operate_route r = {0};
    int result = operate_route(operate, SHARED, SLICE("ann"), BACKEND_NONE, now_ms, &r, &err);

    free(r.hash);
    return result;
}

/* Each request fails in its turn: the command says so, and works as soon as there is memory. */
static void test_without_memory_nothing_is_done_and_everything_can_be_tried_again(void **state)
{
    int (*const commands[])(void) = {move_one,  move_many, kick_many, pin_one,
                                     place_one, see_all,   see_route};

    (void)state;
    gather_on("o1");
    placement("own", "cid", "old");
    pin("bob", "old");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        size_t fails_at = 0;
        int result;

        do {
            size_t known = status().known_users, moves = status().moves;

            err.text[0] = '\0';
            memory.n = 0;
            memory.fails_at = ++fails_at;
            memory.is_on = true;
            result = commands[i]();
            memory.is_on = false;
            assert_true(result == 0 || strstr(err.text, "no memory"));
            if (result < 0) {
                assert_int_equal(status().known_users, known);
                assert_int_equal(status().moves, moves);
            }
        } while (result < 0);
        assert_true(fails_at > 1);
    }
    pass(10000);
    assert_int_equal(status().moves + status().kicks, 0);
    hush();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OPERATING(test_the_state_of_a_backend_counts_and_lasts),
        OPERATING(test_who_waits_for_addresses_is_not_sent_to_what_is_down_by_then),
        OPERATING(test_a_pin_counts_and_lasts_until_it_is_ended),
        OPERATING(test_a_pin_counts_for_a_login_that_is_under_way),
        OPERATING(test_a_hold_makes_logins_wait_and_lasts),
        OPERATING(test_a_placement_counts_and_lasts),
        OPERATING(test_an_operators_word_is_written_behind_what_waits),
        OPERATING(test_what_cannot_be_written_is_not_done),
        OPERATING(test_names_that_are_none_are_refused),
        OPERATING(test_a_move_waits_for_the_last_session),
        OPERATING(test_a_move_in_own_storage_changes_the_placement),
        OPERATING(test_a_pin_in_own_storage_moves_along),
        OPERATING(test_who_has_no_session_is_moved_at_once),
        OPERATING(test_a_login_without_a_backend_yet_waits_for_the_move),
        OPERATING(test_a_login_under_way_never_becomes_a_session),
        OPERATING(test_a_login_that_has_failed_waits_for_the_move),
        OPERATING(test_a_session_that_does_not_end_holds_the_move_up),
        OPERATING(test_a_hold_outlives_a_move),
        OPERATING(test_a_move_outlives_a_release),
        OPERATING(test_a_move_that_cannot_be_written_is_tried_again),
        OPERATING(test_a_move_that_can_never_be_written_is_given_up),
        OPERATING(test_a_session_that_comes_back_is_kicked_and_waited_for),
        OPERATING(test_a_move_waits_for_what_a_lost_channel_may_bring_back),
        OPERATING(test_a_lost_worker_does_not_hold_a_move_up),
        OPERATING(test_who_comes_back_when_the_user_is_elsewhere_is_kicked),
        OPERATING(test_a_move_dies_with_its_control),
        OPERATING(test_moves_that_make_no_sense_are_refused),
        OPERATING(test_nobody_is_moved_before_all_sessions_are_known),
        OPERATING(test_affinity_is_forgotten_of_a_user_and_of_a_backend),
        OPERATING(test_penalties_are_told_and_forgotten),
        OPERATING(test_a_known_pair_is_forgiven_and_stays_known),
        OPERATING(test_without_memory_nothing_is_done_and_everything_can_be_tried_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
