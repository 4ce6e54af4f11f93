/* Admission's rules, one sentence each: what workers ask, and what they are told. */
#include "admission_world.h"

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
    assert_tells("refuse 0.100 MAX_SESSIONS: max_sessions");
    assert_int_equal(counted[METRIC_LIMITED], 1);
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
    placement("own", "\xc3\x84nn", "o3");
    admit(0, 2, OWN, "\xc3\xa4nn");
    assert_true(strcmp(title_of(&leases[0][2]), "o3") != 0);
}

static void test_letters_of_either_case_are_one_name(void **state)
{
    (void)state;
    placement("own", "Ann", "o3");
    pin("BOB", "o3");
    assert_string_equal(log_in(0, 1, OWN, "aNN"), "o3");
    assert_string_equal(log_in(0, 2, OWN, "bob"), "o3");
    assert_int_equal(tails_n[0][1], 3);
    assert_memory_equal(tails[0][1], "ann", 3);
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
    admission_share(admission, SHARED_AFFINITY, NULL);
    first = log_in(0, 2, SHARED, "ann");
    assert_string_not_equal(first, second);
    admission_share(admission, SHARED_AFFINITY, memories[SHARED_AFFINITY]);
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

static void test_a_new_user_is_not_placed_elsewhere_while_the_first_is_down(void **state)
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
    assert_non_null(admission_admit(admission, &workers[0], 1, &(struct msg_admit){0},
                                    slice_of("a\0b", 3), now_ms));
    assert_told("");
    must(try_admit(0, 1, "ann"));
    hush();
    lease = leases[0][1].lease;
    assert_non_null(try_admit(0, 1, "bob"));
    assert_non_null(try_open(0, 1, SHARED));
    assert_non_null(try_result(0, 1, lease, RESULT_WITHDRAWN + 1));
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
        TEST(test_letters_of_either_case_are_one_name),
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
        TEST(test_a_new_user_is_not_placed_elsewhere_while_the_first_is_down),
        TEST(test_a_drained_backend_keeps_those_who_are_there),
        TEST(test_sessions_on_a_backend_that_goes_down_are_not_split),
        TEST(test_a_state_that_is_no_word_counts_as_down),
        TEST(test_after_a_refused_login_another_user_may_come),
        TEST(test_each_lease_has_a_number_of_its_own),
        TEST(test_what_makes_no_sense_changes_nothing),
        TEST(test_a_worker_cannot_touch_anothers_sessions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
