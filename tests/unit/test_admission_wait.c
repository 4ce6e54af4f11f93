/* Admission when something is not there yet: users on hold, unknown addresses, workers that die, a
 * new control and its replays. */
#include "admission_world.h"

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
    admission_addresses(admission, n, now_ms);
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
    assert_tells("refuse 0.1001 MAX_SESSIONS: max_sessions");
    must(admission_replayed(admission, &workers[0], now_ms));
    must(admission_replayed(admission, &workers[1], now_ms));
    assert_told("recovered 50 1\nrefuse 0.1000 MAX_SESSIONS: max_sessions = 50\n");
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_user_on_hold_waits_and_is_refused_in_the_end),
        TEST(test_a_hold_that_ends_lets_its_users_in_order),
        TEST(test_who_leaves_the_line_is_not_answered),
        TEST(test_a_login_waits_for_the_first_addresses),
        TEST(test_a_login_waits_for_addresses_no_longer_than_for_a_connection),
        TEST(test_with_shared_storage_a_name_that_is_unknown_is_a_failed_attempt),
        TEST(test_two_logins_of_one_user_wait_for_the_same_backend),
        TEST(test_waits_are_due_in_the_order_of_their_ends),
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
