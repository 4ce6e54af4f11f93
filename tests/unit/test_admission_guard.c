/* Admission's limits, and what failed logins lead to: who is refused, who waits, who is charged. */
#include "admission_world.h"

#include "control/guard.h"

static const struct registry *registry(void)
{
    return admission_registry(admission);
}

static void come_from(const char *address)
{
    client = address;
}

static void pass_time(uint64_t ms)
{
    uint64_t end_ms = now_ms + ms, due;

    while ((due = admission_due_ms(admission)) != 0 && due <= end_ms) {
        now_ms = due;
        admission_tick(admission, now_ms);
    }
    now_ms = end_ms;
}

/* --- limits on sessions -------------------------------------------------------------------- */

static void test_an_address_has_so_many_sessions_over_all_workers(void **state)
{
    (void)state;
    come_from("192.0.2.1");
    must(try_open(0, 1, OWN));
    must(try_open(1, 1, OWN));
    must(try_open(0, 2, OWN));
    assert_told("go 0.1\ngo 1.1\nrefuse 0.2 MAX_ADDRESS: max_sessions_per_address = 2\n");
    assert_int_equal(counted[METRIC_LIMITED], 1);
    assert_int_equal(admission_sessions(admission), 2);
    come_from("192.0.2.2");
    must(try_open(0, 3, OWN));
    assert_told("go 0.3\n");
    end(1, 1);
    come_from("192.0.2.1");
    must(try_open(1, 4, OWN));
    assert_told("go 1.4\n");
}

static void test_an_ipv4_address_is_the_same_however_it_is_written(void **state)
{
    (void)state;
    come_from("192.0.2.1");
    open_quietly(0, 1, OWN);
    come_from("::ffff:192.0.2.1");
    open_quietly(0, 2, OWN);
    must(try_open(0, 3, OWN));
    assert_tells("refuse 0.3 MAX_ADDRESS");
}

static void test_an_ipv6_address_counts_as_its_network(void **state)
{
    (void)state;
    come_from("2001:db8:0:1::1");
    open_quietly(0, 1, OWN);
    come_from("2001:db8:0:1:ffff::");
    open_quietly(0, 2, OWN);
    come_from("2001:db8:0:1::3");
    must(try_open(0, 3, OWN));
    assert_tells("refuse 0.3 MAX_ADDRESS");
    come_from("2001:db8:0:2::1");
    must(try_open(0, 4, OWN));
    assert_tells("go 0.4");
    assert_int_equal(registry()->sources.map.used, 3); /* two, and the site around them */
}

static void test_how_large_a_network_is_can_be_set(void **state)
{
    (void)state;
    come_from("192.0.2.1");
    open_quietly(0, 1, OWN);
    come_from("192.0.2.254");
    must(try_open(0, 2, OWN));
    assert_tells("refuse 0.2 MAX_ADDRESS");
    come_from("192.0.3.1");
    open_quietly(0, 3, OWN);
    come_from("2001:db8:77::");
    open_quietly(0, 4, OWN);
    come_from("2001:db8:78::");
    must(try_open(0, 5, OWN));
    assert_tells("refuse 0.5 MAX_ADDRESS");
}

static void test_exempt_addresses_have_no_limit_by_address(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 10; i++) {
        come_from(i % 2 ? "192.0.2.7" : "2001:db8::7");
        log_in(0, i, OWN, "ann");
    }
    come_from("192.0.3.7");
    log_in(0, 10, OWN, "ann");
    must(try_open(0, 11, OWN));
    assert_tells("refuse 0.11 MAX_ADDRESS");
}

static void test_a_user_has_so_many_sessions_from_anywhere(void **state)
{
    (void)state;
    come_from("192.0.2.1");
    log_in(0, 1, SHARED, "ann");
    come_from("192.0.2.2");
    admit(1, 1, SHARED, "ann"); /* on its way */
    hush();
    come_from("192.0.2.3");
    admit(0, 2, SHARED, "ann");
    assert_told("refuse 0.2 MAX_USER: max_sessions_per_user = 2\n");
    assert_int_equal(counted[METRIC_LIMITED], 1);
    log_in(0, 3, SHARED, "bob");
    /* The session goes on, and its next login may be better. */
    end(0, 1);
    must(try_admit(0, 2, "ann"));
    assert_tells("lease 0.2 ");
}

static void test_logins_on_hold_count_for_their_user(void **state)
{
    (void)state;
    hold("ann");
    admit(0, 1, OWN, "ann");
    admit(0, 2, OWN, "ann");
    hush();
    admit(0, 3, OWN, "ann");
    assert_told("refuse 0.3 MAX_USER: max_sessions_per_user = 2\n");
}

static void test_a_user_has_so_many_sessions_from_one_address(void **state)
{
    (void)state;
    come_from("192.0.2.1");
    log_in(0, 1, SHARED, "ann");
    log_in(1, 1, SHARED, "ann");
    admit(0, 2, SHARED, "ann");
    assert_told("refuse 0.2 MAX_USER: max_sessions_per_user_address = 2\n");
    log_in(0, 3, SHARED, "bob");
    come_from("192.0.2.2");
    log_in(0, 4, SHARED, "ann");
    end(1, 1);
    come_from("192.0.2.1");
    must(try_admit(0, 2, "ann"));
    assert_tells("lease 0.2 ");
}

static void test_limits_of_zero_are_none(void **state)
{
    (void)state;
    come_from("192.0.2.1");
    for (uint32_t i = 0; i < 50; i++)
        log_in(0, i, SHARED, "ann");
}

/* --- limits on logins ---------------------------------------------------------------------- */

static void test_so_many_logins_may_be_under_way(void **state)
{
    (void)state;
    admit(0, 1, OWN, "ann");
    admit(1, 1, OWN_NAMED, "bob"); /* waits for an address */
    hush();
    admit(0, 2, OWN, "cid");
    assert_told("refuse 0.2 UNAVAILABLE: max_logins = 2\n");
    assert_int_equal(counted[METRIC_LIMITED], 1);
    result(0, 1, RESULT_REFUSED);
    must(try_admit(0, 2, "cid"));
    assert_tells("lease 0.2 ");
    result(0, 2, RESULT_OK);
    hush();
    admit(0, 3, OWN, "dan");
    assert_tells("lease 0.3 ");
    end(0, 3);
    end(1, 1);
    admit(0, 4, OWN, "dan");
    admit(0, 5, OWN, "eve");
    assert_non_null(strstr(told, "lease 0.5 "));
}

static void test_the_next_attempt_of_a_login_is_the_same_login(void **state)
{
    (void)state;
    admit(0, 1, SHARED, "ann");
    admit(0, 2, SHARED, "bob");
    hush();
    result(0, 1, RESULT_FAILED);
    assert_tells("lease 0.1 ");
}

static void test_logins_on_hold_are_under_way_only_when_it_ends(void **state)
{
    (void)state;
    hold("ann");
    pin("ann", "o1");
    for (uint32_t i = 0; i < 3; i++)
        admit(0, i, OWN, "ann");
    admit(0, 10, OWN, "bob");
    assert_non_null(strstr(told, "lease 0.10 "));
    hush();
    admission_release(admission, SLICE("ann"), now_ms);
    assert_told("lease 0.0 o1 attempt 1\n"
                "refuse 0.1 UNAVAILABLE: max_logins = 2\n"
                "refuse 0.2 UNAVAILABLE: max_logins = 2\n");
}

/* --- clients that a proxy tells of --------------------------------------------------------- */

static void test_a_session_counts_where_the_proxy_says_that_it_comes_from(void **state)
{
    (void)state;
    come_from("192.0.2.1");
    open_quietly(0, 1, OWN);
    open_quietly(0, 2, OWN);
    come_from("198.51.100.1");
    must(try_admit(0, 1, "ann"));
    assert_tells("lease 0.1 ");
    open_quietly(0, 3, OWN);
    must(try_open(0, 4, OWN));
    assert_tells("refuse 0.4 MAX_ADDRESS");
    /* There is room at the proxy's now, but none where it says. */
    come_from("192.0.2.1");
    open_quietly(0, 5, OWN);
    come_from("198.51.100.1");
    must(try_admit(0, 5, "bob"));
    assert_told("refuse 0.5 MAX_ADDRESS: max_sessions_per_address = 2\n");
    come_from("192.0.2.1");
    must(try_open(0, 6, OWN));
    assert_tells("refuse 0.6 MAX_ADDRESS");
    must(try_admit(0, 5, "bob"));
    assert_tells("lease 0.5 ");
}

static void test_a_session_that_moves_within_its_network_is_not_counted_twice(void **state)
{
    (void)state;
    come_from("2001:db8::1");
    open_quietly(0, 1, OWN);
    open_quietly(0, 2, OWN);
    come_from("2001:db8::2");
    must(try_admit(0, 1, "ann"));
    assert_tells("lease 0.1 ");
    result(0, 1, RESULT_REFUSED);
    assert_told("failed 2001:db8::2 ann 1 1\n");
}

static void test_a_session_may_come_from_an_exempt_proxy_and_from_an_exempt_client(void **state)
{
    (void)state;
    come_from("192.0.2.1"); /* exempt */
    open_quietly(0, 1, OWN);
    assert_int_equal(registry()->sources.map.used, 0);
    come_from("198.51.100.1");
    must(try_admit(0, 1, "ann"));
    hush();
    assert_int_equal(registry()->sources.map.used, 1);
    result(0, 1, RESULT_REFUSED);
    assert_told("failed 198.51.100.1 ann 1 1\n");
    come_from("192.0.2.1");
    must(try_admit(0, 1, "ann"));
    hush();
    result(0, 1, RESULT_REFUSED);
    assert_told("");
    assert_int_equal(registry()->sources.map.used, 0);
}

/* --- a new control ------------------------------------------------------------------------- */

static void recover(void)
{
    must(admission_replayed(admission, &workers[0], now_ms));
    must(admission_replayed(admission, &workers[1], now_ms));
}

static void test_replayed_sessions_count_and_are_not_refused(void **state)
{
    (void)state;
    restart();
    come_from("192.0.2.1");
    for (uint32_t i = 0; i < 4; i++)
        must(replay(0, i, at("s1", i % 2 ? REPLAY_RELAY : REPLAY_LEASED), "ann"));
    recover();
    assert_told("recovered 4 1\n");
    must(try_open(0, 10, SHARED));
    assert_tells("refuse 0.10 MAX_ADDRESS");
    come_from("192.0.2.2");
    admit(0, 11, SHARED, "ann");
    assert_tells("refuse 0.11 MAX_USER: max_sessions_per_user = 3\n");
    result(0, 0, RESULT_OK);
    assert_told("done 0.0\n");
}

static void test_connections_that_wait_for_the_replays_come_behind(void **state)
{
    (void)state;
    restart();
    come_from("192.0.2.1");
    must(try_open(0, 1, SHARED));
    must(try_open(0, 2, SHARED));
    must(replay(0, 3, at("s1", REPLAY_RELAY), "ann"));
    recover();
    assert_told("recovered 1 1\ngo 0.1\n"
                "refuse 0.2 MAX_ADDRESS: max_sessions_per_address = 2\n");
}

/* --- failed logins ------------------------------------------------------------------------- */

/* A session whose login the backend refuses, at once or after a wait. */
static void fail_login(uint32_t id, const char *user)
{
    admit(0, id, OWN, user);
    if (told[0] == '\0')
        pass_time(15000);
    assert_tells("lease ");
    result(0, id, RESULT_REFUSED);
    end(0, id);
}

static void fail_logins(unsigned n, const char *user)
{
    for (unsigned i = 0; i < n; i++)
        fail_login(1000 + i, user);
    hush();
}

static void test_refused_logins_are_told_with_their_counts(void **state)
{
    (void)state;
    come_from("192.0.2.1");
    admit(0, 1, OWN, "ann");
    hush();
    result(0, 1, RESULT_REFUSED);
    assert_told("failed 192.0.2.1 ann 1 1\n");
    must(try_admit(0, 1, "bob"));
    hush();
    result(0, 1, RESULT_REFUSED);
    assert_told("failed 192.0.2.1 bob 2 1\n");
    come_from("2001:db8::1");
    admit(0, 2, OWN, "bob");
    hush();
    result(0, 2, RESULT_REFUSED);
    assert_told("failed 2001:db8::1 bob 1 2\n");
}

static void test_who_has_failed_thrice_waits_before_the_backend_is_asked(void **state)
{
    (void)state;
    come_from("192.0.2.1");
    pin("bob", "o1");
    fail_logins(3, "ann");
    admit(0, 1, OWN, "bob");
    assert_told("");
    assert_int_equal(counted[METRIC_LOGINS_DELAYED], 1);
    assert_int_equal(admission_due_ms(admission), now_ms + 1000);
    pass_time(999);
    assert_told("");
    pass_time(1);
    assert_told("lease 0.1 o1 attempt 1\n");
    assert_int_equal(admission_due_ms(admission), 0);
    assert_int_equal(counted[METRIC_LOGINS_DELAYED], 1);
}

static void test_waits_end_in_the_order_of_their_ends(void **state)
{
    (void)state;
    come_from("192.0.2.1");
    pin("ann", "o1");
    fail_logins(3, "ann");
    /* Each that waits makes the next one wait longer: 1, 2, 4, 8, 15 and 15 seconds. */
    for (uint32_t i = 1; i <= 6; i++)
        admit(0, i, OWN, "ann");
    assert_told("");
    end(0, 3);
    pass_time(8000);
    assert_told("lease 0.1 o1 attempt 1\nlease 0.2 o1 attempt 1\nlease 0.4 o1 attempt 1\n");
    pass_time(7000);
    assert_told("lease 0.5 o1 attempt 1\nlease 0.6 o1 attempt 1\n");
    assert_int_equal(admission_due_ms(admission), 0);
}

static void test_who_waits_and_ends_leaves_the_line(void **state)
{
    (void)state;
    come_from("192.0.2.1");
    fail_logins(3, "ann");
    admit(0, 1, OWN, "ann");
    admit(1, 1, OWN, "ann");
    end(0, 1);
    detach(1);
    assert_int_equal(admission_due_ms(admission), 0);
    assert_int_equal(registry()->sources.map.used, 0);
    pass_time(20000);
    assert_told("");
    /* And is not charged: nothing was tried. */
    admit(0, 2, OWN, "ann");
    assert_int_equal(admission_due_ms(admission), now_ms + 1000);
}

static void test_an_address_that_fails_too_often_is_refused_after_a_wait(void **state)
{
    (void)state;
    come_from("192.0.2.1");
    fail_logins(5, "ann");
    admit(0, 1, OWN, "bob");
    assert_told("");
    pass_time(14999);
    assert_told("");
    pass_time(1);
    assert_told("failed 192.0.2.1 bob 5 0\n"
                "refuse 0.1 PENALTY: failed logins from the address: 5, penalty_refuse_address = "
                "5\n");
    assert_int_equal(counted[METRIC_LOGINS_PENALIZED], 1);
    assert_int_equal(counted[METRIC_LIMITED], 0);
    come_from("192.0.2.2");
    admit(0, 2, OWN, "bob");
    assert_tells("lease 0.2");
}

static void test_who_tries_again_and_again_does_not_keep_the_address_shut(void **state)
{
    (void)state;
    come_from("192.0.2.1");
    fail_logins(5, "ann");
    for (unsigned i = 0; i < 40; i++) { /* ten minutes, in which the count halves */
        admit(0, 1, OWN, "bob");
        pass_time(15000);
        if (strstr(told, "lease"))
            return;
        end(0, 1);
        hush();
    }
    fail_msg("bob never came in");
}

static void test_a_known_user_comes_in_where_others_are_refused(void **state)
{
    (void)state;
    come_from("192.0.2.1");
    log_in(0, 1, OWN, "bob");
    fail_logins(5, "ann");
    admit(0, 2, OWN, "bob");
    assert_tells("lease 0.2");
}

static void test_exempt_addresses_are_neither_counted_nor_punished(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 200; i++) {
        come_from(i % 2 ? "127.0.0.1" : "::1");
        fail_login(1, "ann");
        assert_told("");
    }
    come_from("192.0.2.1");
    admit(0, 2, OWN, "ann");
    assert_tells("lease 0.2");
}

static void test_many_attempts_at_once_get_no_further_than_in_a_row(void **state)
{
    unsigned leases_n = 0;

    (void)state;
    for (uint32_t i = 0; i < 40; i++) {
        come_from("192.0.2.1");
        open_quietly(0, i, OWN);
    }
    for (uint32_t i = 0; i < 40; i++)
        must(try_admit(0, i, "ann"));
    pass_time(40000);
    for (const char *at = told; (at = strstr(at, "lease ")) != NULL; at++)
        leases_n++;
    assert_int_equal(leases_n, 5);
    hush();
    /* One whose password is right makes room for another. */
    result(0, 0, RESULT_OK);
    hush();
    pass_time(1000);
    assert_tells("lease 0.");
    assert_told("");
    for (uint32_t i = 1; i < 5; i++)
        result(0, i, RESULT_REFUSED);
    hush();
    pass_time(1000);
    assert_told("");
}

static void test_a_charge_is_over_with_a_good_login(void **state)
{
    (void)state;
    come_from("192.0.2.1");
    for (uint32_t i = 0; i < 20; i++) {
        char user[16];

        snprintf(user, sizeof user, "user%u", i);
        log_in(0, i, OWN, user);
    }
    assert_int_equal(registry()->logins_n, 0);
}

static void test_a_login_without_a_verdict_is_not_charged(void **state)
{
    (void)state;
    come_from("192.0.2.1");
    hold("eve");
    for (uint32_t i = 0; i < 10; i++) {
        admit(0, i, OWN, "ann");
        result(0, i, RESULT_FAILED); /* the backend did not answer */
        must(try_admit(0, i, "eve"));
        pass_time(30000); /* on hold */
        admit(0, 20, OWN_NAMED, "ann");
        pass_time(5000); /* without an address */
        end(0, 20);
        admit(0, 20, OWN_NAMED, "ann");
        end(0, 20);
        admit(1, 20, OWN, "ann");
        detach(1); /* its worker died */
        attach(1);
    }
    hush();
    admit(0, 30, OWN, "ann");
    assert_tells("lease 0.30");
}

static void test_who_hangs_up_before_the_answer_is_charged(void **state)
{
    (void)state;
    come_from("192.0.2.1");
    for (uint32_t i = 0; i < 3; i++) {
        admit(0, i, OWN, "ann");
        end(0, i);
    }
    assert_null(strstr(told, "failed"));
    hush();
    admit(0, 10, OWN, "ann");
    assert_told("");
    assert_int_equal(admission_due_ms(admission), now_ms + 1000);
}

static void test_who_goes_before_the_password_is_sent_is_not_charged(void **state)
{
    const struct msg_end m = {.is_sent = false};

    (void)state;
    come_from("192.0.2.1");
    for (uint32_t i = 0; i < 10; i++) {
        admit(0, i, OWN, "ann");
        admission_end(admission, &workers[0], i, &m, now_ms);
    }
    hush();
    admit(0, 10, OWN, "ann");
    assert_tells("lease 0.10");
}

static void test_a_charge_is_kept_once(void **state)
{
    struct lease_id lease;

    (void)state;
    come_from("192.0.2.1");
    admit(0, 1, OWN, "ann");
    lease = leases[0][1].lease;
    hush();
    result(0, 1, RESULT_REFUSED);
    assert_told("failed 192.0.2.1 ann 1 1\n");
    for (int i = 0; i < 5; i++) {
        assert_non_null(try_result(0, 1, lease, RESULT_REFUSED));
        assert_non_null(try_result(0, 1, lease, RESULT_OK));
    }
    end(0, 1);
    end(0, 1);
    admit(0, 2, OWN, "ann");
    hush();
    result(0, 2, RESULT_REFUSED);
    assert_told("failed 192.0.2.1 ann 2 2\n");
}

static void test_logins_that_wait_leave_room_for_the_user_elsewhere(void **state)
{
    (void)state;
    come_from("192.0.2.1");
    fail_logins(3, "eve");
    admit(0, 1, OWN, "ann");
    admit(0, 2, OWN, "ann");
    assert_told("");
    come_from("192.0.2.2");
    log_in(0, 3, OWN, "ann");
    log_in(0, 4, OWN, "ann");
    pass_time(1000);
    assert_told("refuse 0.1 MAX_USER: max_sessions_per_user = 2\n");
}

static void test_behind_the_wait_comes_the_hold(void **state)
{
    (void)state;
    come_from("192.0.2.1");
    fail_logins(3, "eve");
    hold("ann");
    admit(0, 1, OWN, "ann");
    assert_told("");
    pass_time(1000);
    assert_told("held ann 1\n");
    assert_int_equal(admission_due_ms(admission), now_ms + 30000);
    pass_time(30000);
    assert_told("refuse 0.1 INUSE: the user is on hold\n");
}

static void test_only_so_many_wait_at_one_time(void **state)
{
    (void)state;
    come_from("192.0.2.1");
    log_in(1, 1, OWN, "ann");
    fail_logins(3, "eve");
    for (unsigned i = 0; i < 8; i++) {
        admit(0, 1, OWN, "ann");
        end(0, 1); /* hung up: now ann waits here too */
    }
    for (uint32_t i = 0; i < DELAYED_MAX; i++)
        admit(0, 1000 + i, OWN, "eve");
    assert_null(strstr(told, "refuse"));
    hush();
    admit(0, 2, OWN, "eve");
    assert_told("failed 192.0.2.1 eve 11 3\n"
                "refuse 0.2 PENALTY: too many logins wait already because of failed ones\n");
    /* Nobody locks out a known pair. */
    admit(0, 3, OWN, "ann");
    assert_tells("lease 0.3");
    end(0, 1000);
    admit(0, 4, OWN, "ann");
    assert_told("");
}

/* What an attacker who fails is told, and when; for a user of this name. */
static void attack(const char *user, char *out_story, size_t n)
{
    uint64_t start = now_ms;
    size_t used = 0;

    for (unsigned i = 0; i < 30; i++) {
        admit(0, 1, SHARED, user);
        pass_time(20000);
        used += (size_t)snprintf(out_story + used, n - used, "%u ms: %.10s\n",
                                 (unsigned)(now_ms - start), told);
        if (strncmp(told, "lease", 5) == 0)
            result(0, 1, RESULT_REFUSED);
        end(0, 1);
        hush();
    }
}

static void test_nothing_tells_whether_a_name_is_known(void **state)
{
    char nobody[4096], placed[4096], busy[4096];

    (void)state;
    come_from("198.51.100.1");
    log_in(1, 1, SHARED, "ann"); /* from elsewhere, and lives */
    placement("shared", "bob", "s2");
    pin("bob", "s3");
    come_from("192.0.2.1");
    attack("zoe", nobody, sizeof nobody);
    come_from("192.0.2.2");
    attack("ann", busy, sizeof busy);
    come_from("192.0.2.3");
    attack("bob", placed, sizeof placed);
    assert_non_null(strstr(nobody, "failed"));
    assert_string_equal(nobody, busy);
    assert_string_equal(nobody, placed);
}

/* --- a new control, and failed logins ------------------------------------------------------ */

static void test_the_next_control_remembers_who_failed_and_who_is_known(void **state)
{
    (void)state;
    come_from("192.0.2.1");
    log_in(0, 1, OWN, "bob");
    fail_logins(5, "ann");
    restart();
    recover();
    hush();
    admit(0, 2, OWN, "bob");
    assert_tells("lease 0.2");
    admit(0, 3, OWN, "cid");
    assert_told("");
    pass_time(15000);
    assert_tells("failed 192.0.2.1 cid 5 0\nrefuse 0.3 PENALTY");
}

static void test_replayed_logins_are_charged(void **state)
{
    (void)state;
    restart();
    come_from("192.0.2.1");
    for (uint32_t i = 0; i < 3; i++)
        must(replay(0, i, at("o1", REPLAY_LEASED), "ann"));
    must(replay(0, 9, at("o1", REPLAY_RELAY), "ann"));
    recover();
    hush();
    admit(0, 10, OWN, "bob");
    assert_told("");
    result(0, 0, RESULT_REFUSED);
    /* The pair is known, by the session that lives. */
    assert_told("failed 192.0.2.1 ann 1 0\n");
    result(0, 1, RESULT_OK);
    result(0, 2, RESULT_OK);
    hush();
    admit(0, 11, OWN, "bob");
    assert_tells("lease 0.11");
}

static void test_a_refused_result_counts_before_the_replays_are_in(void **state)
{
    (void)state;
    restart();
    come_from("192.0.2.1");
    must(replay(0, 1, at("o1", REPLAY_LEASED), "ann"));
    must(replay(0, 2, at("o1", REPLAY_LEASED), "ann"));
    result(0, 1, RESULT_REFUSED);
    assert_told("failed 192.0.2.1 ann 1 1\n");
    /* Has its verdict, and is not charged when it goes now. */
    result(0, 2, RESULT_FAILED);
    end(0, 2);
    recover();
    hush();
    admit(0, 3, OWN, "ann");
    hush();
    result(0, 3, RESULT_REFUSED);
    assert_told("failed 192.0.2.1 ann 2 2\n");
}

#define TWO_PER_ADDRESS "max_sessions_per_address = 2\n"
#define REFUSE_5        "penalty_refuse_address = 5\n"

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(TWO_PER_ADDRESS, test_an_address_has_so_many_sessions_over_all_workers),
        WITH(TWO_PER_ADDRESS, test_an_ipv4_address_is_the_same_however_it_is_written),
        WITH(TWO_PER_ADDRESS, test_an_ipv6_address_counts_as_its_network),
        WITH("max_sessions_per_address = 1\naddress_bits_v4 = 24\naddress_bits_v6 = 32\n",
             test_how_large_a_network_is_can_be_set),
        WITH("max_sessions_per_address = 1\nmax_sessions_per_user_address = 1\n"
             "penalty_exempt = {\"192.0.2.0/24\", \"2001:db8::/64\"}\n",
             test_exempt_addresses_have_no_limit_by_address),
        WITH("max_sessions_per_user = 2\n", test_a_user_has_so_many_sessions_from_anywhere),
        WITH("max_sessions_per_user = 2\n", test_logins_on_hold_count_for_their_user),
        WITH("max_sessions_per_user_address = 2\n",
             test_a_user_has_so_many_sessions_from_one_address),
        WITH("max_sessions_per_address = 0\nmax_sessions_per_user = 0\n"
             "max_sessions_per_user_address = 0\n",
             test_limits_of_zero_are_none),
        WITH("max_logins = 2\n", test_so_many_logins_may_be_under_way),
        WITH("max_logins = 2\n", test_the_next_attempt_of_a_login_is_the_same_login),
        WITH("max_logins = 2\n", test_logins_on_hold_are_under_way_only_when_it_ends),
        WITH(TWO_PER_ADDRESS, test_a_session_counts_where_the_proxy_says_that_it_comes_from),
        WITH(TWO_PER_ADDRESS, test_a_session_that_moves_within_its_network_is_not_counted_twice),
        WITH("penalty_exempt = {\"192.0.2.1\"}\n",
             test_a_session_may_come_from_an_exempt_proxy_and_from_an_exempt_client),
        WITH("max_sessions_per_address = 2\nmax_sessions_per_user = 3\n",
             test_replayed_sessions_count_and_are_not_refused),
        WITH(TWO_PER_ADDRESS, test_connections_that_wait_for_the_replays_come_behind),
        TEST(test_refused_logins_are_told_with_their_counts),
        TEST(test_who_has_failed_thrice_waits_before_the_backend_is_asked),
        TEST(test_waits_end_in_the_order_of_their_ends),
        TEST(test_who_waits_and_ends_leaves_the_line),
        WITH(REFUSE_5, test_an_address_that_fails_too_often_is_refused_after_a_wait),
        WITH(REFUSE_5, test_who_tries_again_and_again_does_not_keep_the_address_shut),
        WITH(REFUSE_5, test_a_known_user_comes_in_where_others_are_refused),
        TEST(test_exempt_addresses_are_neither_counted_nor_punished),
        WITH(REFUSE_5, test_many_attempts_at_once_get_no_further_than_in_a_row),
        TEST(test_a_charge_is_over_with_a_good_login),
        TEST(test_a_login_without_a_verdict_is_not_charged),
        TEST(test_who_hangs_up_before_the_answer_is_charged),
        TEST(test_who_goes_before_the_password_is_sent_is_not_charged),
        TEST(test_a_charge_is_kept_once),
        WITH("max_sessions_per_user = 2\n",
             test_logins_that_wait_leave_room_for_the_user_elsewhere),
        TEST(test_behind_the_wait_comes_the_hold),
        WITH("max_sessions = 20000\nmax_sessions_per_address = 0\n"
             "max_sessions_per_user_address = 0\n",
             test_only_so_many_wait_at_one_time),
        WITH("penalty_refuse_address = 20\n", test_nothing_tells_whether_a_name_is_known),
        WITH(REFUSE_5, test_the_next_control_remembers_who_failed_and_who_is_known),
        TEST(test_replayed_logins_are_charged),
        TEST(test_a_refused_result_counts_before_the_replays_are_in),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
