/* place = try: the backends of a pool are asked one after the other which of them knows a user. */
#include "admission_world.h"

#include "control/route.h"

enum { TRY = 5 };

static const char *title_at(const char *user, unsigned nth)
{
    uint32_t b = route_nth(admission_route(admission), TRY, slice_str(user), nth);

    return b == BACKEND_NONE ? "" : backends_title(&backends, b);
}

static void come(int w, uint32_t id, const char *user)
{
    char *end_of_told = told + strlen(told);

    must(try_open(w, id, TRY));
    *end_of_told = '\0';
    must(try_admit(w, id, user));
}

static void assert_leased(int w, uint32_t id, const char *title, unsigned attempt)
{
    char want[96];

    snprintf(want, sizeof want, "lease %d.%u %s attempt %u\n", w, id, title, attempt);
    assert_told(want);
}

static bool is_trial(int w, uint32_t id)
{
    return leases[w][id].flags & LEASE_IS_TRIAL;
}

/* --- the order ----------------------------------------------------------------------------- */

static void test_the_order_holds_each_backend_once_and_those_of_no_weight_last(void **state)
{
    unsigned firsts[4] = {0};

    (void)state;
    for (unsigned u = 0; u < 400; u++) {
        unsigned seen = 0;
        char user[16];

        snprintf(user, sizeof user, "u%u", u);
        for (unsigned nth = 0; nth < 4; nth++) {
            uint32_t b = route_nth(admission_route(admission), TRY, slice_str(user), nth);

            assert_in_range(b, backends.first[TRY], backends.first[TRY] + 3);
            seen |= 1U << (b - backends.first[TRY]);
            firsts[b - backends.first[TRY]] += nth == 0;
        }
        assert_int_equal(seen, 15);
        assert_string_equal(title_at(user, 3), "y4");
        assert_string_equal(title_at(user, 4), "");
    }
    /* y2 has twice the weight. */
    assert_in_range(firsts[0], 60, 140);
    assert_in_range(firsts[1], 150, 250);
    assert_in_range(firsts[2], 60, 140);
}

static void test_backends_of_no_weight_stand_in_the_order_of_the_file(void **state)
{
    const struct route *route = admission_route(admission);

    (void)state;
    for (unsigned nth = 0; nth < 3; nth++)
        assert_int_equal(route_nth(route, TRY + 1, SLICE("ann"), nth),
                         backends.first[TRY + 1] + nth);
    assert_int_equal(route_nth(route, TRY + 1, SLICE("ann"), 3), BACKEND_NONE);
}

static void test_each_backend_is_asked_in_the_order_of_the_hash(void **state)
{
    (void)state;
    come(0, 1, "ann");
    for (unsigned nth = 0; nth < 4; nth++) {
        assert_leased(0, 1, title_at("ann", nth), nth + 1);
        assert_true(is_trial(0, 1));
        result(0, 1, RESULT_REFUSED);
    }
    assert_told("refuse 0.1 CREDENTIALS: no backend of the pool takes this password\n");
}

static void test_the_one_that_takes_the_password_has_the_user_from_then_on(void **state)
{
    char want[128];

    (void)state;
    come(0, 1, "ann");
    result(0, 1, RESULT_REFUSED);
    hush();
    result(0, 1, RESULT_OK);
    snprintf(want, sizeof want, "placed ann try %s\ndone 0.1\n", title_at("ann", 1));
    assert_told(want);
    come(0, 2, "ann");
    assert_leased(0, 2, title_at("ann", 1), 1);
    assert_false(is_trial(0, 2));
    result(0, 2, RESULT_REFUSED);
    assert_told("");
}

/* --- what is told -------------------------------------------------------------------------- */

static void test_a_backend_that_is_down_is_never_a_wrong_password(void **state)
{
    (void)state;
    set_state(title_at("ann", 1), "down");
    come(0, 1, "ann");
    assert_leased(0, 1, title_at("ann", 0), 1);
    result(0, 1, RESULT_REFUSED);
    assert_leased(0, 1, title_at("ann", 2), 3);
    result(0, 1, RESULT_REFUSED);
    assert_leased(0, 1, title_at("ann", 3), 4);
    result(0, 1, RESULT_REFUSED);
    assert_told("refuse 0.1 UNAVAILABLE: a backend that may know the user could not be asked\n"
                "  saying Back at noon\n");
}

static void test_nor_is_one_that_is_down_by_its_health(void **state)
{
    (void)state;
    fall(title_at("ann", 0));
    hush();
    come(0, 1, "ann");
    assert_leased(0, 1, title_at("ann", 1), 2);
    result(0, 1, RESULT_REFUSED);
    result(0, 1, RESULT_REFUSED);
    hush();
    result(0, 1, RESULT_REFUSED);
    assert_tells("refuse 0.1 UNAVAILABLE: ");
    /* The next login finds it up. */
    rise(title_at("ann", 0));
    hush();
    must(try_admit(0, 1, "ann"));
    assert_leased(0, 1, title_at("ann", 0), 1);
    for (unsigned nth = 0; nth < 4; nth++)
        result(0, 1, RESULT_REFUSED);
    assert_non_null(strstr(told, "refuse 0.1 CREDENTIALS"));
}

static void test_nor_is_one_that_fails(void **state)
{
    for (unsigned bad = 0; bad < 4; bad++) {
        (void)state;
        come(0, 1, "ann");
        for (unsigned nth = 0; nth < 4; nth++) {
            assert_leased(0, 1, title_at("ann", nth), nth + 1);
            result(0, 1, nth == bad ? RESULT_FAILED : RESULT_REFUSED);
        }
        assert_tells("refuse 0.1 UNAVAILABLE: ");
        end(0, 1);
    }
}

static void test_nor_are_all_of_them(void **state)
{
    static const char *const titles[] = {"y1", "y2", "y3", "y4"};

    (void)state;
    for (size_t i = 0; i < 4; i++)
        set_state(titles[i], "down");
    come(0, 1, "ann");
    assert_tells("refuse 0.1 UNAVAILABLE: ");
}

static void test_a_backend_that_drains_is_asked_all_the_same(void **state)
{
    (void)state;
    set_state(title_at("ann", 0), "drain");
    come(0, 1, "ann");
    assert_leased(0, 1, title_at("ann", 0), 1);
}

static void test_one_that_goes_down_while_it_is_waited_for_is_passed_over(void **state)
{
    const char *second = title_at("ann", 1);

    (void)state;
    come(0, 1, "ann");
    backend_at(second)->sessions = 1000; /* of max_sessions */
    result(0, 1, RESULT_REFUSED);
    hush();
    backend_at(second)->sessions = 0;
    fall(second);
    assert_non_null(strstr(told, "lease 0.1 "));
    assert_string_equal(title_of(&leases[0][1]), title_at("ann", 2));
    result(0, 1, RESULT_REFUSED);
    hush();
    result(0, 1, RESULT_REFUSED);
    assert_tells("refuse 0.1 UNAVAILABLE: ");
}

static void test_one_that_has_no_room_in_time_is_no_wrong_password(void **state)
{
    const char *second = title_at("ann", 1);

    (void)state;
    client = "192.0.2.77";
    come(0, 1, "ann");
    backend_at(second)->sessions = 1000;
    result(0, 1, RESULT_REFUSED);
    hush();
    elapse(30000);
    assert_tells("refuse 0.1 UNAVAILABLE: backend ");
    backend_at(second)->sessions = 0;
}

/* --- restart ------------------------------------------------------------------------------- */

/* What became of the backends before it nobody knows any more. */
static void test_a_trial_that_is_replayed_is_never_told_a_wrong_password(void **state)
{
    struct msg_replay m;

    (void)state;
    restart();
    m = at(title_at("ann", 2), REPLAY_LEASED);
    m.listener = TRY;
    m.attempt = 3;
    m.flags = LEASE_IS_TRIAL;
    must(replay(0, 1, m, "ann"));
    must(try_result(0, 1, m.lease, RESULT_REFUSED));
    assert_told("");
    must(admission_replayed(admission, &workers[0], now_ms));
    must(admission_replayed(admission, &workers[1], now_ms));
    assert_non_null(strstr(told, "lease 0.1 "));
    assert_string_equal(title_of(&leases[0][1]), title_at("ann", 3));
    hush();
    result(0, 1, RESULT_REFUSED);
    assert_tells("refuse 0.1 UNAVAILABLE: ");
}

static void test_a_password_that_was_verified_before_it_is_no_guess_behind_it(void **state)
{
    struct msg_replay m;

    (void)state;
    client = "192.0.2.77";
    restart();
    m = at("y1", REPLAY_LEASED);
    m.flags = LEASE_VERIFY;
    must(replay(0, 1, m, "ann"));
    must(try_result(0, 1, m.lease, RESULT_REFUSED));
    m.flags = 0;
    must(replay(0, 2, m, "ann"));
    assert_told("");
    must(try_result(0, 2, m.lease, RESULT_REFUSED));
    assert_told("failed 192.0.2.77 ann 1 1\n");
}

static void test_one_that_is_replayed_at_its_first_backend_has_missed_nothing(void **state)
{
    struct msg_replay m;

    (void)state;
    restart();
    m = at(title_at("ann", 0), REPLAY_LEASED);
    m.listener = TRY;
    m.flags = LEASE_IS_TRIAL;
    must(replay(0, 1, m, "ann"));
    must(admission_replayed(admission, &workers[0], now_ms));
    must(admission_replayed(admission, &workers[1], now_ms));
    hush();
    for (unsigned nth = 0; nth < 4; nth++)
        result(0, 1, RESULT_REFUSED);
    assert_non_null(strstr(told, "refuse 0.1 CREDENTIALS"));
}

/* What was tried in another pool, before the directories were asked again, counts for nothing here.
 */
static void test_one_that_is_replayed_from_another_pool_asks_all(void **state)
{
    struct msg_replay m;

    (void)state;
    restart();
    m = at("s1", REPLAY_LEASED);
    m.attempt = 2;
    must(replay(0, 1, m, "ann"));
    must(admission_replayed(admission, &workers[0], now_ms));
    must(admission_replayed(admission, &workers[1], now_ms));
    hush();
    result(0, 1, RESULT_FAILED);
    assert_told("ask ann\n");
    found("pool=try");
    for (unsigned nth = 0; nth < 4; nth++) {
        assert_leased(0, 1, title_at("ann", nth), nth + 1);
        result(0, 1, RESULT_REFUSED);
    }
    assert_tells("refuse 0.1 CREDENTIALS");
}

/* --- others of the same user --------------------------------------------------------------- */

static void test_a_placement_that_another_login_made_meanwhile_is_gone_to(void **state)
{
    (void)state;
    come(0, 1, "ann");
    come(0, 2, "ann");
    hush();
    result(0, 1, RESULT_REFUSED);
    hush();
    result(0, 1, RESULT_OK);
    hush();
    assert_string_equal(title_of(&leases[0][1]), title_at("ann", 1));
    result(0, 2, RESULT_REFUSED);
    assert_leased(0, 2, title_at("ann", 1), 1);
    assert_false(is_trial(0, 2));
    result(0, 2, RESULT_REFUSED); /* which stands: nobody is asked again */
    assert_told("");
}

/* Also where it is the backend that has refused it as a trial. */
static void test_two_passwords_on_two_backends_are_not_both_let_in(void **state)
{
    (void)state;
    come(0, 1, "ann");
    come(0, 2, "ann");
    result(0, 1, RESULT_REFUSED);
    hush();
    result(0, 2, RESULT_OK);
    hush();
    result(0, 1, RESULT_OK);
    assert_tells("refuse 0.1 UNAVAILABLE: the user's other sessions are on ");
    come(0, 3, "ann");
    assert_leased(0, 3, title_at("ann", 0), 1);
}

static void test_a_pin_that_is_made_meanwhile_is_gone_to(void **state)
{
    (void)state;
    come(0, 1, "ann");
    pin("ann", title_at("ann", 2));
    hush();
    result(0, 1, RESULT_REFUSED);
    assert_leased(0, 1, title_at("ann", 2), 1);
    assert_false(is_trial(0, 1));
}

static void test_a_hold_that_comes_meanwhile_is_waited_for(void **state)
{
    (void)state;
    come(0, 1, "ann");
    hold("ann");
    hush();
    result(0, 1, RESULT_REFUSED);
    assert_told("held ann 1\n");
    admission_release(admission, SLICE("ann"), now_ms);
    assert_leased(0, 1, title_at("ann", 1), 2);
    /* Behind the last one, too. */
    hold("ann");
    result(0, 1, RESULT_REFUSED);
    admission_release(admission, SLICE("ann"), now_ms);
    result(0, 1, RESULT_REFUSED);
    hold("ann");
    hush();
    result(0, 1, RESULT_REFUSED);
    assert_told("held ann 1\n");
    admission_release(admission, SLICE("ann"), now_ms);
    assert_told("refuse 0.1 CREDENTIALS: no backend of the pool takes this password\n");
}

static void test_a_move_that_comes_while_it_waits_does_not_lose_its_place(void **state)
{
    const char *second = title_at("ann", 1);
    struct user *u;

    (void)state;
    come(0, 1, "ann");
    backend_at(second)->sessions = 1000;
    result(0, 1, RESULT_REFUSED);
    backend_at(second)->sessions = 0;
    hush();
    u = registry_user(admission_registry(admission), TRY, SLICE("ann"));
    registry_keep(u);
    admission_move_begin(admission, u, now_ms);
    assert_told("held ann 1\n");
    admission_move_end(admission, u, now_ms);
    registry_let_go(admission_registry(admission), u);
    assert_leased(0, 1, second, 2);
}

/* --- what it costs ------------------------------------------------------------------------- */

static void test_a_password_that_all_refuse_counts_as_one_failure(void **state)
{
    (void)state;
    client = "192.0.2.77";
    come(0, 1, "ann");
    for (unsigned nth = 0; nth < 3; nth++)
        result(0, 1, RESULT_REFUSED);
    assert_null(strstr(told, "failed"));
    hush();
    result(0, 1, RESULT_REFUSED);
    assert_told("failed 192.0.2.77 ann 1 1\n"
                "refuse 0.1 CREDENTIALS: no backend of the pool takes this password\n");
    must(try_admit(0, 1, "ann"));
    for (unsigned nth = 0; nth < 4; nth++)
        result(0, 1, RESULT_REFUSED);
    assert_non_null(strstr(told, "failed 192.0.2.77 ann 2 2\n"));
}

static void test_who_is_found_or_could_not_be_asked_for_is_not_charged(void **state)
{
    (void)state;
    client = "192.0.2.77";
    come(0, 1, "ann");
    result(0, 1, RESULT_REFUSED);
    result(0, 1, RESULT_FAILED);
    result(0, 1, RESULT_REFUSED);
    result(0, 1, RESULT_REFUSED);
    come(0, 2, "bob");
    result(0, 2, RESULT_REFUSED);
    result(0, 2, RESULT_OK);
    assert_null(strstr(told, "failed"));
    hush();
    come(0, 3, "cid");
    for (unsigned nth = 0; nth < 4; nth++)
        result(0, 3, RESULT_REFUSED);
    assert_non_null(strstr(told, "failed 192.0.2.77 cid 1 1\n"));
}

static void test_who_hangs_up_between_two_backends_has_failed(void **state)
{
    (void)state;
    client = "192.0.2.77";
    come(0, 1, "ann");
    backend_at(title_at("ann", 1))->sessions = 1000;
    result(0, 1, RESULT_REFUSED);
    end(0, 1);
    backend_at(title_at("ann", 1))->sessions = 0;
    hush();
    come(0, 2, "bob");
    for (unsigned nth = 0; nth < 4; nth++)
        result(0, 2, RESULT_REFUSED);
    assert_non_null(strstr(told, "failed 192.0.2.77 bob 2 1\n"));
}

static void test_a_placed_users_no_after_a_trial_is_one_failure(void **state)
{
    (void)state;
    come(0, 2, "ann");
    client = "192.0.2.77";
    come(0, 1, "ann");
    hush();
    result(0, 1, RESULT_REFUSED);
    result(0, 2, RESULT_OK);
    hush();
    result(0, 1, RESULT_REFUSED);
    assert_leased(0, 1, title_at("ann", 0), 1);
    result(0, 1, RESULT_REFUSED);
    assert_told("failed 192.0.2.77 ann 1 1\n");
}

/* --- the rate ------------------------------------------------------------------------------ */

static size_t leased(void)
{
    size_t n = 0;

    for (const char *at = told; (at = strstr(at, "lease ")) != NULL; at++)
        n++;
    return n;
}

/* Over all backends of the pool together. */
static void test_no_more_trials_are_begun_than_try_rate(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 40; i++) {
        char user[8];

        snprintf(user, sizeof user, "u%u", i);
        come((int)(i % 2), i, user);
    }
    assert_int_equal(leased(), 1); /* a tenth of a second's */
    hush();
    for (int i = 0; i < 3; i++) {
        elapse(1000);
        assert_int_equal(leased(), 10);
        hush();
    }
}

/* The backends of the pool share the rate, none keeps it to itself. */
static void test_each_backends_trials_come_to_their_turn(void **state)
{
    unsigned counts[4] = {0};

    (void)state;
    for (uint32_t i = 0; i < 45; i++) {
        char user[8];

        snprintf(user, sizeof user, "u%u", i);
        come((int)(i % 2), i, user);
    }
    hush();
    elapse(1800);
    for (const char *at = told; (at = strstr(at, " y")) != NULL; at++)
        counts[at[2] - '1']++;
    assert_int_equal(counts[0] + counts[1] + counts[2], 18);
    for (unsigned i = 0; i < 3; i++)
        assert_in_range(counts[i], 4, 8);
}

/* Strangers who are tried keep nobody out whose place is known. */
static void test_trials_that_wait_hold_nobody_up_who_has_a_place(void **state)
{
    (void)state;
    placement("try", "bob", "y2");
    placement("try", "cid", "y2");
    for (uint32_t i = 0; i < 48; i++) {
        char user[8];

        snprintf(user, sizeof user, "u%u", i);
        come((int)(i % 2), i, user);
    }
    hush();
    come(0, 50, "bob");
    elapse(0);
    assert_told("lease 0.50 y2 attempt 1\n");
    backend_at("y2")->sessions += 1000;
    come(0, 51, "cid");
    hush();
    backend_at("y2")->sessions -= 1000;
    end(0, 50);
    assert_told("lease 0.51 y2 attempt 1\n");
}

static void test_a_trial_that_waits_takes_no_login_rate(void **state)
{
    uint32_t id = 1;

    (void)state;
    placement("try", "bob", "y1");
    for (unsigned i = 0; id <= 2; i++) {
        char user[16];

        snprintf(user, sizeof user, "u%u", i);
        if (strcmp(title_at(user, 0), "y1") != 0)
            continue;
        come(0, id, user);
        if (id++ == 1)
            elapse(150); /* a token of login_rate, none of try_rate */
    }
    hush();
    come(0, 9, "bob");
    assert_told("lease 0.9 y1 attempt 1\n");
}

static void test_where_both_could_begin_trials_and_others_take_turns(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 6; i++) {
        char user[8];

        snprintf(user, sizeof user, "p%u", i);
        placement("try", user, "y1");
        come(0, i, user);
    }
    hush();
    for (uint32_t i = 0, n = 0; n < 3; i++) {
        char user[8];

        snprintf(user, sizeof user, "u%u", i);
        if (strcmp(title_at(user, 0), "y1") == 0) {
            come(1, i % IDS, user);
            n++;
        }
    }
    hush();
    elapse(4000); /* one a second */
    assert_int_equal(leased(), 4);
    assert_non_null(strstr(told, "lease 0."));
    assert_non_null(strstr(told, "lease 1."));
}

/* --- passwords that usher verifies --------------------------------------------------------- */

static void test_a_password_that_lookup_calls_wrong_is_one_failure_and_no_next_backend(void **state)
{
    (void)state;
    client = "192.0.2.77";
    come(0, 1, "ann");
    found("verify=yes");
    assert_int_equal(leases[0][1].flags, LEASE_IS_TRIAL | LEASE_VERIFY);
    hush();
    result(0, 1, RESULT_DENIED);
    assert_told("failed 192.0.2.77 ann 1 1\n");
    must(try_admit(0, 1, "ann"));
    found("verify=yes");
    hush();
    result(0, 1, RESULT_WITHDRAWN);
    assert_told("");
    must(try_admit(0, 1, "ann"));
    found("");
    result(0, 1, RESULT_DENIED);
    assert_non_null(strstr(told, "failed 192.0.2.77 ann 2 2\n"));
}

/* What the backends refuse then is a right password, or another that the directory has for them. */
static void test_a_password_that_lookup_calls_right_is_no_guess_whatever_backends_say(void **state)
{
    (void)state;
    client = "192.0.2.77";
    come(0, 1, "ann");
    found("verify=yes");
    for (unsigned nth = 0; nth < 4; nth++)
        result(0, 1, RESULT_REFUSED);
    assert_null(strstr(told, "failed"));
    assert_non_null(strstr(told, "refuse 0.1 CREDENTIALS"));
    hush();
    come(0, 2, "bob");
    found("verify=yes backend=y1");
    assert_int_equal(leases[0][2].flags, LEASE_VERIFY);
    hush();
    result(0, 2, RESULT_REFUSED);
    assert_told("");
    must(try_admit(0, 2, "bob"));
    found("backend=y1");
    hush();
    result(0, 2, RESULT_REFUSED);
    assert_told("failed 192.0.2.77 bob 1 1\n");
}

#define POOL(settings, of_y1)                                                                   \
    "listener try { address = \"*:6\" pool = try }\n"                                           \
    "pool try { place = try unavailable_text = \"Back at noon\" queue_timeout = 30s\n" settings \
    "\n"                                                                                        \
    "  backend y1 { address = \"192.0.2.61:10143\" max_sessions = 900 " of_y1 " }\n"            \
    "  backend y2 { address = \"192.0.2.62:10143\" max_sessions = 900 weight = 2 }\n"           \
    "  backend y3 { address = \"192.0.2.63:10143\" max_sessions = 900 }\n"                      \
    "  backend y4 { address = \"192.0.2.64:10143\" max_sessions = 900 weight = 0 } }\n"
#define MANY POOL("try_rate = 10000", "")
#define TEN  "max_sessions = 100\n" POOL("try_rate = 10", "")
#define SLOW POOL("try_rate = 10000", "login_rate = 1")
#define NONE                                                                         \
    "pool none { place = try backend z1 { address = \"192.0.2.71:1\" weight = 0 }\n" \
    "  backend z2 { address = \"192.0.2.72:1\" weight = 0 }\n"                       \
    "  backend z3 { address = \"192.0.2.73:1\" weight = 0 } }\n"
#define BOTH   POOL("try_rate = 1", "login_rate = 10")
#define PEOPLE MANY "directory people { driver = static rules = { \"x disabled=yes\" } }\n"

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(MANY, test_the_order_holds_each_backend_once_and_those_of_no_weight_last),
        WITH(MANY NONE, test_backends_of_no_weight_stand_in_the_order_of_the_file),
        WITH(MANY, test_each_backend_is_asked_in_the_order_of_the_hash),
        WITH(MANY, test_the_one_that_takes_the_password_has_the_user_from_then_on),
        WITH(MANY, test_a_backend_that_is_down_is_never_a_wrong_password),
        WITH(MANY, test_nor_is_one_that_is_down_by_its_health),
        WITH(MANY, test_nor_is_one_that_fails),
        WITH(MANY, test_nor_are_all_of_them),
        WITH(MANY, test_a_backend_that_drains_is_asked_all_the_same),
        WITH(MANY, test_one_that_goes_down_while_it_is_waited_for_is_passed_over),
        WITH(MANY, test_one_that_has_no_room_in_time_is_no_wrong_password),
        WITH(MANY, test_a_trial_that_is_replayed_is_never_told_a_wrong_password),
        WITH(MANY, test_a_password_that_was_verified_before_it_is_no_guess_behind_it),
        WITH(MANY, test_one_that_is_replayed_at_its_first_backend_has_missed_nothing),
        WITH(PEOPLE, test_one_that_is_replayed_from_another_pool_asks_all),
        WITH(MANY, test_a_placement_that_another_login_made_meanwhile_is_gone_to),
        WITH(MANY, test_two_passwords_on_two_backends_are_not_both_let_in),
        WITH(MANY, test_a_pin_that_is_made_meanwhile_is_gone_to),
        WITH(MANY, test_a_hold_that_comes_meanwhile_is_waited_for),
        WITH(MANY, test_a_move_that_comes_while_it_waits_does_not_lose_its_place),
        WITH(MANY, test_a_password_that_all_refuse_counts_as_one_failure),
        WITH(MANY, test_who_is_found_or_could_not_be_asked_for_is_not_charged),
        WITH(MANY, test_who_hangs_up_between_two_backends_has_failed),
        WITH(MANY, test_a_placed_users_no_after_a_trial_is_one_failure),
        WITH(TEN, test_no_more_trials_are_begun_than_try_rate),
        WITH(TEN, test_each_backends_trials_come_to_their_turn),
        WITH(TEN, test_trials_that_wait_hold_nobody_up_who_has_a_place),
        WITH(BOTH, test_a_trial_that_waits_takes_no_login_rate),
        WITH(SLOW, test_where_both_could_begin_trials_and_others_take_turns),
        WITH(PEOPLE, test_a_password_that_lookup_calls_wrong_is_one_failure_and_no_next_backend),
        WITH(PEOPLE, test_a_password_that_lookup_calls_right_is_no_guess_whatever_backends_say),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
