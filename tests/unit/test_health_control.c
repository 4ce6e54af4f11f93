/* What comes of the health of backends: who is sent where, who is ended, who returns
 * (control/wellness.h, the rules of control/route.h, control/operate.h's returning). */
#include "operate_world.h"

#include "control/route.h"

/* --- falling ------------------------------------------------------------------------------- */

static void test_own_storage_refuses_whose_backend_is_down_and_places_nobody_elsewhere(void **state)
{
    (void)state;
    placement("own", "ann", "o1");
    fall("o1");
    assert_told("health o1 failing, was up: connect: refused\n"
                "health o1 down, was failing: connect: refused\n");
    admit(0, 1, OWN, "ann");
    assert_told(
        "refuse 0.1 UNAVAILABLE: backend o1 is down, as its probes or the logins there say\n");
    for (uint32_t i = 2; i < 22; i++) {
        char user[16];

        snprintf(user, sizeof user, "u%u", i);
        admit(0, i, OWN, user);
        assert_true(strstr(told, "lease")
                        ? strcmp(title_of(&leases[0][i]), "o2") == 0
                        : strstr(told, "UNAVAILABLE: backend o1 is down") != NULL);
        end(0, i);
        hush();
    }
    rise("o1");
    hush();
    must(try_admit(0, 1, "ann"));
    assert_told("lease 0.1 o1 attempt 1\n");
}

static void test_shared_storage_sends_users_elsewhere(void **state)
{
    const char *first = log_in(0, 1, SHARED, "ann");

    (void)state;
    end(0, 1);
    fall(first);
    hush();
    assert_string_not_equal(log_in(0, 2, SHARED, "ann"), first);
}

static void test_a_failing_backend_still_serves(void **state)
{
    (void)state;
    probed("t1", false);
    assert_told("health t1 failing, was up: connect: refused\n");
    log_in(0, 1, TINY, "ann");
    probed("t1", true);
    assert_told("health t1 up, was failing: \n");
}

static void test_sessions_on_a_backend_that_went_down_are_ended_once(void **state)
{
    const char *there;
    uint32_t other = 0;

    (void)state;
    there = log_in(0, 1, SHARED, "ann");
    log_in(0, 2, SHARED, "ann");
    for (uint32_t i = 3; !other; i++) {
        char user[16];

        snprintf(user, sizeof user, "u%u", i);
        if (strcmp(log_in(1, i, SHARED, user), there) != 0)
            other = i;
    }
    placement("own", "bob", "o1");
    log_in(1, 60, OWN, "bob");
    hush();
    fall(there);
    assert_non_null(strstr(told, "kick 0.1 down\n"));
    assert_non_null(strstr(told, "kick 0.2 down\n"));
    {
        char not_kicked[32];

        snprintf(not_kicked, sizeof not_kicked, "kick 1.%u ", other);
        assert_null(strstr(told, not_kicked));
    }
    hush();
    probed(there, false);
    assert_told("");
    /* Until they have ended their user is there. */
    admit(0, 61, SHARED, "ann");
    assert_tells("refuse 0.61 UNAVAILABLE: backend ");
    end(0, 1);
    end(0, 2);
    must(try_admit(0, 61, "ann"));
    assert_tells("lease 0.61 ");
    assert_string_not_equal(title_of(&leases[0][61]), there);
}

static void test_own_storage_ends_no_session(void **state)
{
    (void)state;
    placement("own", "ann", "o1");
    log_in(0, 1, OWN, "ann");
    fall("o1");
    assert_null(strstr(told, "kick"));
}

static void test_with_keep_no_session_is_ended(void **state)
{
    (void)state;
    log_in(0, 1, 5, "ann");
    fall("k1");
    assert_null(strstr(told, "kick"));
}

/* It would keep its user there, while other sessions were ended so that users may go elsewhere. */
static void test_a_login_under_way_there_becomes_no_session(void **state)
{
    (void)state;
    admit(0, 1, TINY, "ann");
    fall("t1");
    hush();
    result(0, 1, RESULT_OK);
    assert_told("refuse 0.1 UNAVAILABLE: the backend has gone down meanwhile\n");
}

static void test_a_login_under_way_becomes_one_where_sessions_stay(void **state)
{
    (void)state;
    admit(0, 1, 5, "ann");
    placement("own", "bob", "o1");
    admit(0, 2, OWN, "bob");
    fall("k1");
    fall("o1");
    hush();
    result(0, 1, RESULT_OK);
    result(0, 2, RESULT_OK);
    assert_told("done 0.1\ndone 0.2\n");
}

/* --- logins -------------------------------------------------------------------------------- */

static void fail_logins(uint32_t n, bool is_ours)
{
    for (uint32_t i = 0; i < n; i++) {
        char user[16], address[32];

        snprintf(user, sizeof user, "f%u", i);
        snprintf(address, sizeof address, "198.51.%u.1", i);
        client = address;
        admit(1, i, TINY, user);
        if (!strstr(told, "lease"))
            return;
        hush();
        if (is_ours) {
            fail_here(1, i);
            assert_null(strstr(told, "health"));
        } else {
            result(1, i, RESULT_FAILED);
        }
        if (!strstr(told, "health"))
            hush();
        end(1, i);
    }
    client = NULL;
}

static void test_real_logins_that_fail_bring_a_backend_down(void **state)
{
    (void)state;
    fail_logins(conf->pools[TINY].passive_fall, false);
    assert_non_null(strstr(told, "health t1 down, was failing: logins there have failed\n"));
    client = NULL;
}

static void test_what_is_our_own_fault_does_not(void **state)
{
    (void)state;
    fail_logins(3 * conf->pools[TINY].passive_fall, true);
    assert_null(strstr(told, "health"));
}

static void test_a_wrong_password_is_a_sign_of_life(void **state)
{
    (void)state;
    for (int round = 0; round < 5; round++) {
        fail_logins(conf->pools[TINY].passive_fall - 1, false);
        admit(0, 1, TINY, "ann");
        result(0, 1, RESULT_REFUSED);
        end(0, 1);
    }
    assert_null(strstr(told, "health t1 down"));
    client = NULL;
}

static void test_neither_a_client_nor_a_user_alone_brings_a_backend_down(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 40; i++) {
        char user[16], address[32];

        snprintf(user, sizeof user, "f%u", i);
        snprintf(address, sizeof address, "198.51.%u.1", i);
        client = i < 20 ? "198.51.100.1" : address;
        admit(0, i, TINY, i < 20 ? user : "mal");
        result(0, i, RESULT_FAILED);
        end(0, i);
        if (i == 19) {
            client = NULL;
            log_in(0, 50, TINY, "ann");
        }
    }
    assert_null(strstr(told, "health t1 down"));
    client = NULL;
}

/* --- coming back --------------------------------------------------------------------------- */

static void test_a_backend_comes_back_slowly(void **state)
{
    uint32_t b = backend("s1");

    (void)state;
    fall("s1");
    probed("s1", true);
    assert_non_null(strstr(told, "health s1 recovering, was down"));
    hush();
    assert_false(backends_serves(&backends, b));
    probed("s1", true);
    assert_told("health s1 up, was recovering: \n");
    elapse(0);
    assert_int_equal(backends.nodes[b].weight, HEALTH_SHARE_LEAST);
    elapse(15000);
    assert_in_range(backends.nodes[b].weight, 110, 150);
    assert_told("");
    elapse(16000);
    assert_int_equal(backends.nodes[b].weight, HEALTH_SHARE_WHOLE);
    assert_told("back s1\n");
    elapse(60000);
    assert_told("");
    assert_int_equal(admission_due_ms(admission), 0);
}

static void test_who_falls_again_while_warming_begins_anew(void **state)
{
    uint32_t b = backend("s1");

    (void)state;
    fall("s1");
    rise("s1");
    elapse(20000);
    fall("s1");
    hush();
    elapse(60000);
    assert_told("");
    assert_int_equal(admission_due_ms(admission), 0);
    rise("s1");
    hush();
    elapse(1000);
    assert_in_range(backends.nodes[b].weight, HEALTH_SHARE_LEAST, 2 * HEALTH_SHARE_LEAST + 4);
    elapse(30000);
    assert_told("back s1\n");
}

static void test_each_return_is_told_once(void **state)
{
    (void)state;
    fall("s1");
    rise("s1");
    elapse(31000);
    fall("s2");
    rise("s2");
    hush();
    elapse(31000);
    assert_told("back s2\n");
}

static void test_own_storage_changes_no_weight(void **state)
{
    uint32_t b = backend("o1");

    (void)state;
    fall("o1");
    rise("o1");
    elapse(0);
    assert_int_equal(backends.nodes[b].weight, HEALTH_SHARE_WHOLE);
}

static void test_without_slow_start_it_is_back_at_once(void **state)
{
    (void)state;
    fall("k1");
    rise("k1");
    hush();
    elapse(0);
    assert_told("back k1\n");
}

/* --- backups ------------------------------------------------------------------------------- */

static void test_backups_serve_only_while_no_other_can(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 30; i++) {
        char user[16];

        snprintf(user, sizeof user, "u%u", i);
        assert_string_not_equal(log_in(0, i, 5, user), "k3");
        end(0, i);
    }
    fall("k1");
    hush();
    assert_string_equal(log_in(0, 31, 5, "ann"), "k2");
    set_state("k2", "drain");
    assert_string_equal(log_in(0, 32, 5, "bob"), "k3");
    assert_string_equal(log_in(0, 33, 5, "ann"), "k2");
    set_state("k2", "down");
    fall("k3");
    hush();
    admit(0, 34, 5, "cid");
    assert_told("refuse 0.34 UNAVAILABLE: no backend of pool kept may be used\n");
}

static void test_who_went_to_a_backup_stays_until_forgotten(void **state)
{
    (void)state;
    fall("k1");
    fall("k2");
    hush();
    assert_string_equal(log_in(0, 1, 5, "ann"), "k3");
    end(0, 1);
    rise("k1");
    rise("k2");
    elapse(1000);
    hush();
    assert_string_equal(log_in(0, 2, 5, "ann"), "k3");
    end(0, 2);
    elapse(1000 * 1000);
    hush();
    assert_string_not_equal(log_in(0, 3, 5, "ann"), "k3");
}

/* --- returning ----------------------------------------------------------------------------- */

/* Users of the hash's on `home`, logged in elsewhere as that was down. Returns how many. */
static uint32_t displace(const char *home, uint32_t want)
{
    uint32_t n = 0;

    fall(home);
    for (uint32_t i = 0; n < want; i++) {
        char user[16];
        uint32_t first;

        assert_true(i < 1000);
        snprintf(user, sizeof user, "r%u", i);
        backends.all[backend(home)].health.state = HEALTH_UP;
        first = route_home(admission_route(admission), 6, slice_str(user));
        backends.all[backend(home)].health.state = HEALTH_DOWN;
        if (first != backend(home))
            continue;
        log_in(0, n, 6, user);
        n++;
    }
    hush();
    return n;
}

static size_t kicks(void)
{
    size_t n = 0;

    for (const char *at = told; (at = strstr(at, "kick ")) != NULL; at++)
        n++;
    return n;
}

static void come_back(const char *title)
{
    rise(title);
    hush();
    elapse(0);
    hush();
}

static void test_users_return_at_the_pace_of_the_pool(void **state)
{
    (void)state;
    displace("g1", 20);
    come_back("g1");
    assert_int_equal(operate_return(operate, backend("g1"), now_ms), 20);
    pass(0);
    assert_in_range(kicks(), 1, 2);
    pass(5000);
    /* Three a second, however many backends they are on. */
    assert_in_range(kicks(), 14, 17);
    pass(5000);
    assert_int_equal(kicks(), 20);
    for (uint32_t i = 0; i < 20; i++)
        end(0, i);
    pass(10000);
    hush();
    for (uint32_t i = 0; i < 3; i++) {
        char user[16];

        snprintf(user, sizeof user, "r%u", i);
        if (route_home(admission_route(admission), 6, slice_str(user)) == backend("g1"))
            assert_string_equal(log_in(0, 40 + i, 6, user), "g1");
    }
}

static void test_who_is_pinned_or_belongs_elsewhere_does_not_return(void **state)
{
    (void)state;
    displace("g1", 4);
    come_back("g1");
    works(operate_pin(operate,
                      user_name(registry_find(admission_registry(admission), &workers[0], 0)->user),
                      registry_find(admission_registry(admission), &workers[0], 0)->backend, &err));
    assert_int_equal(operate_return(operate, backend("g1"), now_ms), 3);
    assert_int_equal(operate_return(operate, backend("g1"), now_ms), 0); /* they do already */
    assert_int_equal(operate_return(operate, backend("g2"), now_ms), 0);
}

static void test_nobody_returns_to_a_backend_that_falls_again(void **state)
{
    struct operate_status status;
    size_t before;

    (void)state;
    displace("g1", 20);
    come_back("g1");
    assert_int_equal(operate_return(operate, backend("g1"), now_ms), 20);
    pass(1000);
    fall("g1");
    before = kicks();
    assert_in_range(before, 2, 6);
    pass(20000);
    assert_int_equal(kicks(), before);
    operate_status(operate, &status);
    assert_true(status.moves <= before);
    assert_int_equal(status.given_up, 0);
    /* And when it is back, all but those who have left. */
    come_back("g1");
    assert_in_range(operate_return(operate, backend("g1"), now_ms), 14, 18);
}

static void test_nor_to_one_that_drains(void **state)
{
    size_t before;

    (void)state;
    displace("g1", 20);
    come_back("g1");
    assert_int_equal(operate_return(operate, backend("g1"), now_ms), 20);
    works(operate_backend(operate, backend("g1"), BACKEND_DRAIN, &err));
    before = kicks();
    pass(20000);
    assert_int_equal(kicks(), before);
}

static void test_many_who_are_moved_wait_while_the_new_backend_is_down(void **state)
{
    uint32_t n = 0;
    size_t moved, all;

    (void)state;
    for (uint32_t i = 0; i < 20; i++) {
        char user[16];

        snprintf(user, sizeof user, "m%u", i);
        n += strcmp(log_in(0, i, SHARED, user), "s1") == 0;
    }
    assert_true(n >= 3);
    works(operate_move_all(operate, backend("s1"), backend("s2"), 1, now_ms, &all, &err));
    assert_int_equal(all, n);
    fall("s2");
    hush();
    pass(20000);
    moved = kicks();
    assert_int_equal(moved, 0);
    rise("s2");
    hush();
    pass(20000);
    assert_int_equal(kicks() + 1, n);
}

static void test_nobody_is_moved_to_what_is_down_by_its_health(void **state)
{
    (void)state;
    fall("s2");
    assert_int_equal(operate_move(operate, SLICE("ann"), backend("s2"), now_ms, &err), -1);
    assert_string_equal(err.text, "s2 is down, as its probes or the logins there say: nobody would "
                                  "be served there");
}

static void test_without_a_rate_nobody_returns(void **state)
{
    (void)state;
    assert_int_equal(operate_return(operate, backend("s1"), now_ms), 0);
    assert_int_equal(operate_return(operate, backend("o1"), now_ms), 0);
}

/* --- restart ------------------------------------------------------------------------------- */

static void test_after_a_restart_all_are_up_until_probes_say_otherwise(void **state)
{
    (void)state;
    fall("t1");
    set_state("s1", "down");
    end_operating();
    restart();
    must(admission_replayed(admission, &workers[0], now_ms));
    must(admission_replayed(admission, &workers[1], now_ms));
    begin_operating();
    hush();
    assert_int_equal(backend_at("t1")->health.state, HEALTH_UP);
    assert_true(backend_at("t1")->health.due_ms <= now_ms + conf->pools[TINY].check_interval);
    log_in(0, 1, TINY, "ann");
    fall("t1");
    assert_non_null(strstr(told, "kick 0.1 down\n"));
}

/* Probes go on while workers still replay; what they say counts. */
static void test_a_fall_before_the_replays_are_in_ends_what_was_replayed(void **state)
{
    (void)state;
    end_operating();
    restart();
    must(replay(0, 1, at("t1", REPLAY_RELAY), "ann"));
    fall("t1");
    assert_non_null(strstr(told, "kick 0.1 down\n"));
    must(admission_replayed(admission, &workers[0], now_ms));
    must(admission_replayed(admission, &workers[1], now_ms));
    begin_operating();
    hush();
    admit(1, 1, TINY, "bob");
    assert_told("refuse 1.1 UNAVAILABLE: no backend of pool tiny may be used\n");
}

#define MORE                                                                         \
    "listener kept { address = \"*:6\" pool = kept }\n"                              \
    "pool kept { storage = shared on_down = keep slow_start = 0s\n"                  \
    "  backend k1 { address = \"192.0.2.81:10143\" }\n"                              \
    "  backend k2 { address = \"192.0.2.82:10143\" }\n"                              \
    "  backend k3 { address = \"192.0.2.83:10143\" backup = yes } }\n"               \
    "listener going { address = \"*:7\" pool = going }\n"                            \
    "pool going { storage = shared return_rate = 3 slow_start = 0s on_down = keep\n" \
    "  backend g1 { address = \"192.0.2.91:10143\" }\n"                              \
    "  backend g2 { address = \"192.0.2.92:10143\" }\n"                              \
    "  backend g3 { address = \"192.0.2.93:10143\" }\n"                              \
    "  backend g4 { address = \"192.0.2.94:10143\" }\n"                              \
    "  backend g5 { address = \"192.0.2.95:10143\" } }\n"
#define T(name)                                                                         \
    cmocka_unit_test_prestate_setup_teardown(name, setup_operating, teardown_operating, \
                                             (void *)(uintptr_t)MORE)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_own_storage_refuses_whose_backend_is_down_and_places_nobody_elsewhere),
        T(test_shared_storage_sends_users_elsewhere),
        T(test_a_failing_backend_still_serves),
        T(test_sessions_on_a_backend_that_went_down_are_ended_once),
        T(test_own_storage_ends_no_session),
        T(test_with_keep_no_session_is_ended),
        T(test_a_login_under_way_there_becomes_no_session),
        T(test_a_login_under_way_becomes_one_where_sessions_stay),
        T(test_real_logins_that_fail_bring_a_backend_down),
        T(test_what_is_our_own_fault_does_not),
        T(test_a_wrong_password_is_a_sign_of_life),
        T(test_neither_a_client_nor_a_user_alone_brings_a_backend_down),
        T(test_a_backend_comes_back_slowly),
        T(test_who_falls_again_while_warming_begins_anew),
        T(test_each_return_is_told_once),
        T(test_own_storage_changes_no_weight),
        T(test_without_slow_start_it_is_back_at_once),
        T(test_backups_serve_only_while_no_other_can),
        T(test_who_went_to_a_backup_stays_until_forgotten),
        T(test_users_return_at_the_pace_of_the_pool),
        T(test_who_is_pinned_or_belongs_elsewhere_does_not_return),
        T(test_nobody_returns_to_a_backend_that_falls_again),
        T(test_nor_to_one_that_drains),
        T(test_many_who_are_moved_wait_while_the_new_backend_is_down),
        T(test_nobody_is_moved_to_what_is_down_by_its_health),
        T(test_without_a_rate_nobody_returns),
        T(test_after_a_restart_all_are_up_until_probes_say_otherwise),
        T(test_a_fall_before_the_replays_are_in_ends_what_was_replayed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
