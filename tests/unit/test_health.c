/* The health of a backend: each rule by itself. test_health_model.c has all together. */
#include "backend/health.h"

#include "cm.h"

enum { SECOND = 1000 };

static const struct health_params usual = {.is_checked = true,
                                           .interval_ms = 10 * SECOND,
                                           .fast_interval_ms = 2 * SECOND,
                                           .rise = 2,
                                           .fall = 3,
                                           .passive_fall = 10,
                                           .slow_start_ms = 30 * SECOND};

static struct health h;
static uint64_t now_ms;

static int set_up(void **state)
{
    (void)state;
    now_ms = 1000000;
    health_init(&h, &usual, 7, now_ms);
    return 0;
}

/* --- probes -------------------------------------------------------------------------------- */

/* Each letter of `outcomes` is a probe, + good, - bad; of `want` the state behind it, by its
 * letter. */
static void assert_probes(const char *outcomes, const char *want)
{
    for (; *outcomes; outcomes++, want++) {
        enum health_state was = h.state;
        bool has_changed;

        now_ms += SECOND;
        health_probing(&h);
        has_changed = health_probed(&h, &usual, *outcomes == '+', now_ms);
        assert_int_equal(health_name(h.state)[0], *want);
        assert_int_equal(has_changed, was != h.state);
        if (has_changed)
            assert_int_equal(h.since_ms, now_ms);
    }
}

static void test_a_backend_is_up_until_probes_say_otherwise(void **state)
{
    (void)state;
    assert_int_equal(h.state, HEALTH_UP);
    assert_true(health_serves(&h));
    assert_int_equal(h.since_ms, now_ms);
    assert_probes("+++", "uuu");
}

static void test_so_many_bad_probes_in_a_row_bring_it_down(void **state)
{
    (void)state;
    assert_probes("--", "ff");
    assert_true(health_serves(&h));
    assert_probes("-", "d");
    assert_false(health_serves(&h));
    assert_probes("----", "dddd");
}

static void test_a_good_probe_between_begins_the_row_anew(void **state)
{
    (void)state;
    assert_probes("--+--+-+---", "ffuffufuffd");
}

static void test_so_many_good_probes_in_a_row_bring_it_up(void **state)
{
    (void)state;
    assert_probes("---", "ffd");
    assert_probes("+", "r");
    assert_false(health_serves(&h));
    assert_probes("-+-++", "drdru");
    assert_true(health_serves(&h));
}

static void test_one_probe_is_enough_when_rise_and_fall_say_so(void **state)
{
    struct health_params p = usual;

    (void)state;
    p.rise = p.fall = 1;
    assert_true(health_probed(&h, &p, false, now_ms));
    assert_int_equal(h.state, HEALTH_DOWN);
    assert_true(health_probed(&h, &p, true, now_ms));
    assert_int_equal(h.state, HEALTH_UP);
}

static void test_a_row_without_end_stays_a_row(void **state)
{
    struct health_params p = usual;

    (void)state;
    p.fall = UINT32_MAX;
    health_probed(&h, &p, false, now_ms);
    h.row = UINT32_MAX - 2;
    health_probed(&h, &p, false, now_ms);
    assert_int_equal(h.state, HEALTH_FAILING);
    health_probed(&h, &p, false, now_ms);
    assert_int_equal(h.state, HEALTH_DOWN);

    p.rise = 3;
    health_probed(&h, &p, true, now_ms);
    h.rest_until_ms = UINT64_MAX;
    h.row = UINT32_MAX;
    health_probed(&h, &p, true, now_ms);
    assert_int_equal(h.row, UINT32_MAX);
    h.rest_until_ms = 0;
    health_probed(&h, &p, true, now_ms);
    assert_int_equal(h.state, HEALTH_UP);
}

/* --- when to probe ------------------------------------------------------------------------- */

static void assert_due_after(uint64_t ms)
{
    assert_in_range(h.due_ms, now_ms + ms - ms / 10, now_ms + ms + ms / 10);
}

static void test_probes_come_at_the_interval_of_the_state(void **state)
{
    (void)state;
    assert_probes("+", "u");
    assert_due_after(usual.interval_ms);
    assert_probes("-", "f");
    assert_due_after(usual.fast_interval_ms);
    assert_probes("--", "fd");
    assert_due_after(usual.fast_interval_ms);
    assert_probes("+", "r");
    assert_due_after(usual.fast_interval_ms);
    assert_probes("+", "u");
    assert_due_after(usual.interval_ms);
}

static void test_no_probe_is_due_while_one_is_under_way(void **state)
{
    (void)state;
    health_probing(&h);
    assert_int_equal(h.due_ms, 0);
    for (uint32_t i = 0; i < 3; i++)
        health_login(&h, &usual, false, i, i, now_ms);
    assert_int_equal(h.state, HEALTH_FAILING);
    assert_int_equal(h.due_ms, 0);
}

static void test_a_probe_that_said_nothing_is_due_again_soon_and_changes_nothing(void **state)
{
    struct health before;

    (void)state;
    assert_probes("--", "ff");
    before = h;
    health_probing(&h);
    health_unprobed(&h, &usual, now_ms);
    assert_due_after(usual.fast_interval_ms);
    assert_int_equal(h.row, before.row);
    assert_probes("-", "d");
}

/* Backends whose seeds are counted up are probed at all times, not in one go; and over many
 * intervals the tenth is used up, both ways, and evenly. */
static void test_chance_spreads_probes_of_many_backends(void **state)
{
    enum { BACKENDS = 1000, TENTHS = 10 };
    unsigned first[TENTHS] = {0}, then[TENTHS] = {0};
    uint64_t least = UINT64_MAX, most = 0;

    (void)state;
    for (uint32_t seed = 0; seed < BACKENDS; seed++) {
        uint64_t after;

        health_init(&h, &usual, seed, now_ms);
        assert_in_range(h.due_ms, now_ms + 1, now_ms + usual.interval_ms);
        first[(h.due_ms - now_ms - 1) * TENTHS / usual.interval_ms]++;
        health_probed(&h, &usual, true, now_ms);
        after = h.due_ms - now_ms;
        then[(after - 9000) * TENTHS / 2001]++;
        least = after < least ? after : least;
        most = after > most ? after : most;
    }
    for (int i = 0; i < TENTHS; i++) {
        assert_in_range(first[i], 70, 130); /* 3 sigma are 28 */
        assert_in_range(then[i], 70, 130);
    }
    assert_in_range(least, 9000, 9020);
    assert_in_range(most, 10980, 11000);
}

static void test_the_same_seed_gives_the_same_times(void **state)
{
    uint64_t due[20];

    (void)state;
    for (int round = 0; round < 2; round++) {
        health_init(&h, &usual, 99, now_ms);
        for (int i = 0; i < 20; i++) {
            health_probed(&h, &usual, true, now_ms);
            if (round == 1)
                assert_int_equal(h.due_ms, due[i]);
            due[i] = h.due_ms;
            assert_true(i == 0 || due[i] != due[i - 1]);
        }
    }
}

/* --- logins -------------------------------------------------------------------------------- */

/* Bad logins of so many users from so many addresses, in turn. Says whether any was a change. */
static bool fail_logins(unsigned n, uint32_t users, uint32_t addresses)
{
    bool has_changed = false;

    for (unsigned i = 0; i < n; i++)
        has_changed |= health_login(&h, &usual, false, i % users, i % addresses, now_ms);
    return has_changed;
}

static void test_three_bad_logins_in_a_row_hasten_a_probe(void **state)
{
    (void)state;
    assert_probes("+", "u");
    assert_false(fail_logins(2, 1, 1));
    assert_due_after(usual.interval_ms);
    assert_true(fail_logins(1, 1, 1));
    assert_int_equal(h.state, HEALTH_FAILING);
    assert_due_after(usual.fast_interval_ms);
    assert_false(fail_logins(1, 1, 1));
    assert_probes("+", "u");
    assert_false(fail_logins(1, 1, 1));
    assert_true(fail_logins(1, 1, 1)); /* the sixth */
    assert_int_equal(h.state, HEALTH_FAILING);
}

static void test_bad_logins_do_not_put_a_probe_off(void **state)
{
    uint64_t due;

    (void)state;
    assert_probes("+", "u");
    due = h.due_ms;
    now_ms = due - 1;
    fail_logins(3, 1, 1);
    assert_int_equal(h.due_ms, due);
}

static void test_bad_logins_count_for_none_of_the_bad_probes(void **state)
{
    (void)state;
    fail_logins(9, 3, 3);
    assert_int_equal(h.state, HEALTH_FAILING);
    assert_probes("---", "ffd");
}

static void test_bad_logins_of_many_bring_it_down(void **state)
{
    (void)state;
    assert_true(fail_logins(9, 5, 5));
    assert_true(health_serves(&h));
    assert_true(fail_logins(1, 5, 5));
    assert_int_equal(h.state, HEALTH_DOWN);
    assert_int_equal(h.since_ms, now_ms);
    assert_due_after(usual.fast_interval_ms);
}

static void test_two_users_or_two_addresses_alone_never_bring_it_down(void **state)
{
    (void)state;
    fail_logins(1000, 2, 100);
    assert_int_equal(h.state, HEALTH_FAILING);
    set_up(state);
    fail_logins(1000, 100, 2);
    assert_int_equal(h.state, HEALTH_FAILING);
    /* The third is enough, at once. */
    assert_true(health_login(&h, &usual, false, 0, 2, now_ms));
    assert_int_equal(h.state, HEALTH_DOWN);
}

static void test_a_good_login_clears_all_blame(void **state)
{
    (void)state;
    fail_logins(9, 3, 3);
    assert_false(health_login(&h, &usual, true, 77, 77, now_ms));
    fail_logins(9, 3, 3);
    assert_true(health_serves(&h));
    health_login(&h, &usual, true, 0, 0, now_ms);
    fail_logins(1000, 2, 2); /* a third of before is no third now */
    assert_true(health_serves(&h));
}

static void test_few_are_no_less_than_three_parties(void **state)
{
    struct health_params p = usual;

    (void)state;
    p.passive_fall = 1;
    assert_false(health_login(&h, &p, false, 1, 1, now_ms));
    assert_false(health_login(&h, &p, false, 2, 2, now_ms));
    assert_true(health_login(&h, &p, false, 3, 3, now_ms));
    assert_int_equal(h.state, HEALTH_DOWN);
}

static void test_logins_bring_none_down_when_passive_fall_is_zero(void **state)
{
    struct health_params p = usual;

    (void)state;
    p.passive_fall = 0;
    for (uint32_t i = 0; i < 1000; i++)
        health_login(&h, &p, false, i, i, now_ms);
    assert_int_equal(h.state, HEALTH_FAILING);
}

static void test_logins_that_end_late_say_nothing(void **state)
{
    struct health before;

    (void)state;
    assert_probes("---", "ffd");
    before = h;
    assert_false(fail_logins(100, 10, 10));
    assert_false(health_login(&h, &usual, true, 1, 1, now_ms));
    assert_memory_equal(&h, &before, sizeof h);
    assert_probes("+", "r");
    before = h;
    assert_false(fail_logins(100, 10, 10));
    assert_memory_equal(&h, &before, sizeof h);
    assert_probes("+", "u");
    assert_false(fail_logins(2, 10, 10));
    assert_int_equal(h.state, HEALTH_UP);
}

static void test_a_count_of_logins_never_wraps(void **state)
{
    (void)state;
    fail_logins(3, 1, 1);
    h.failed_logins = UINT32_MAX - 1;
    fail_logins(5, 2, 2);
    assert_int_equal(h.failed_logins, UINT32_MAX);
    assert_true(health_login(&h, &usual, false, 3, 3, now_ms));
    assert_int_equal(h.state, HEALTH_DOWN);
}

/* --- rest ---------------------------------------------------------------------------------- */

/* Brings it down by logins, then probes well each second until it is up; how long that took. */
static uint64_t rest(void)
{
    uint64_t start = now_ms;

    fail_logins(10, 3, 3);
    assert_int_equal(h.state, HEALTH_DOWN);
    while (h.state != HEALTH_UP) {
        now_ms += SECOND;
        health_probed(&h, &usual, true, now_ms);
        assert_true(now_ms - start <= 2 * HEALTH_REST_MAX_MS);
    }
    return now_ms - start;
}

static void test_a_rest_doubles_each_time_in_a_row_up_to_a_limit(void **state)
{
    static const uint64_t want[] = {30, 60, 120, 240, 480, 600, 600};

    (void)state;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        assert_int_equal(rest(), want[i] * SECOND);
        now_ms += HEALTH_ROW_MS; /* just within */
    }
    now_ms += 1;
    assert_int_equal(rest(), HEALTH_REST_MS);
    now_ms += 5 * SECOND;
    assert_int_equal(rest(), 2 * HEALTH_REST_MS);
    h.rests = UINT32_MAX;
    assert_int_equal(rest(), HEALTH_REST_MAX_MS);
    assert_int_equal(h.rests, UINT32_MAX);
}

static void test_probes_count_while_it_rests(void **state)
{
    (void)state;
    fail_logins(10, 3, 3);
    assert_probes("++++", "rrrr");
    now_ms += HEALTH_REST_MS;
    assert_probes("-+", "dr"); /* one more is wanted */
    assert_probes("+", "u");
}

static void test_a_rest_that_is_over_does_not_bring_it_up_by_itself(void **state)
{
    (void)state;
    fail_logins(10, 3, 3);
    assert_probes("++", "rr");
    now_ms += 10 * HEALTH_REST_MS;
    assert_false(health_serves(&h));
    assert_probes("+", "u");
}

static void test_a_row_of_rests_is_counted_from_when_it_served_again(void **state)
{
    (void)state;
    fail_logins(10, 3, 3);
    for (int i = 0; i < 5 * 3600; i++) /* longer than the hour, by bad probes */
        assert_probes("-", "d");
    assert_probes("++", "ru");
    now_ms += HEALTH_ROW_MS;
    assert_int_equal(rest(), 2 * HEALTH_REST_MS);
}

static void test_going_down_by_probes_needs_no_rest(void **state)
{
    (void)state;
    rest();
    assert_probes("---++", "ffdru");
}

/* --- not checked --------------------------------------------------------------------------- */

static void test_a_backend_that_is_not_checked_is_up_whatever_happens(void **state)
{
    struct health_params p = usual;

    (void)state;
    p.is_checked = false;
    health_init(&h, &p, 1, now_ms);
    for (uint32_t i = 0; i < 1000; i++) {
        assert_false(health_login(&h, &p, false, i, i, now_ms));
        assert_false(health_probed(&h, &p, false, now_ms));
        health_unprobed(&h, &p, now_ms);
        assert_int_equal(h.state, HEALTH_UP);
        assert_int_equal(h.due_ms, 0);
        assert_int_equal(health_share(&h, &p, now_ms), HEALTH_SHARE_WHOLE);
    }
}

/* --- slow start ---------------------------------------------------------------------------- */

static void test_one_that_was_never_down_has_its_whole_share(void **state)
{
    (void)state;
    assert_int_equal(health_share(&h, &usual, now_ms), HEALTH_SHARE_WHOLE);
    assert_probes("--+", "ffu");
    assert_int_equal(health_share(&h, &usual, now_ms), HEALTH_SHARE_WHOLE);
}

static void test_a_share_grows_evenly_from_least_to_whole(void **state)
{
    uint32_t before = HEALTH_SHARE_LEAST;
    uint64_t up_ms;

    (void)state;
    assert_probes("---", "ffd");
    assert_int_equal(health_share(&h, &usual, now_ms), HEALTH_SHARE_LEAST);
    assert_probes("+", "r");
    assert_int_equal(health_share(&h, &usual, now_ms), HEALTH_SHARE_LEAST);
    assert_probes("+", "u");
    up_ms = now_ms;
    assert_int_equal(health_share(&h, &usual, now_ms - 1), HEALTH_SHARE_LEAST);
    for (; now_ms <= up_ms + usual.slow_start_ms; now_ms++) {
        uint32_t share = health_share(&h, &usual, now_ms);

        assert_in_range(share, before, before + 1);
        before = share;
    }
    assert_int_equal(before, HEALTH_SHARE_WHOLE);
    assert_int_equal(health_share(&h, &usual, up_ms + usual.slow_start_ms / 2),
                     (HEALTH_SHARE_LEAST + HEALTH_SHARE_WHOLE) / 2);
    assert_int_equal(health_share(&h, &usual, up_ms + usual.slow_start_ms - 1),
                     HEALTH_SHARE_WHOLE - 1);
    assert_int_equal(health_share(&h, &usual, UINT64_MAX), HEALTH_SHARE_WHOLE);
}

static void test_failing_does_not_begin_a_slow_start_anew(void **state)
{
    uint32_t share;

    (void)state;
    assert_probes("---++", "ffdru");
    now_ms += 10 * SECOND;
    share = health_share(&h, &usual, now_ms);
    assert_probes("--+", "ffu");
    assert_true(health_share(&h, &usual, now_ms) > share);
    assert_probes("---++", "ffdru");
    assert_int_equal(health_share(&h, &usual, now_ms), HEALTH_SHARE_LEAST);
}

static void test_without_slow_start_the_share_is_whole_at_once(void **state)
{
    struct health_params p = usual;

    (void)state;
    p.slow_start_ms = 0;
    assert_probes("---++", "ffdru");
    assert_int_equal(health_share(&h, &p, now_ms), HEALTH_SHARE_WHOLE);
}

static void test_coming_up_at_time_zero_is_a_slow_start_too(void **state)
{
    (void)state;
    health_init(&h, &usual, 1, 0);
    for (int i = 0; i < 5; i++)
        health_probed(&h, &usual, i >= 3, 0);
    assert_int_equal(h.state, HEALTH_UP);
    assert_int_equal(health_share(&h, &usual, 0), HEALTH_SHARE_LEAST);
}

/* --- going on with it ---------------------------------------------------------------------- */

/* As somebody else would have it whose clock began elsewhere. */
static void hand_over(const struct health *from, struct health *to, uint64_t to_now_ms)
{
    struct health_record r;

    health_record(from, now_ms, &r);
    health_resume(to, &usual, 1, &r, to_now_ms);
}

/* A probe, or logins instead; the same for both. */
static bool step_both(struct health *a, struct health *b, uint64_t b_now_ms, uint32_t chance)
{
    bool is_ok = chance % 8 >= 3, changes = false, changes_too = false;

    if (chance % 5 > 0) {
        changes = health_probed(a, &usual, is_ok, now_ms);
        changes_too = health_probed(b, &usual, is_ok, b_now_ms);
    } else {
        /* All that it takes, as a row that is not complete is not handed over. */
        for (uint32_t i = 0; i < usual.passive_fall; i++) {
            changes |= health_login(a, &usual, false, i % 3, i % 3, now_ms);
            changes_too |= health_login(b, &usual, false, i % 3, i % 3, b_now_ms);
        }
        health_login(a, &usual, true, 0, 0, now_ms);
        health_login(b, &usual, true, 0, 0, b_now_ms);
    }
    assert_int_equal(changes, changes_too);
    return changes;
}

static void test_who_goes_on_with_it_goes_on_alike(void **state)
{
    const uint64_t away_ms = 7654321; /* between the two clocks */
    unsigned changes = 0;
    uint32_t chance = 1;
    struct health other;

    (void)state;
    health_init(&other, &usual, 3, now_ms + away_ms);
    for (unsigned i = 0; i < 20000; i++) {
        chance = chance * 1664525 + 1013904223;
        now_ms += (chance >> 8) % (chance % 64 == 0 ? 2 * HEALTH_ROW_MS : 20 * SECOND);
        changes += step_both(&h, &other, now_ms + away_ms, chance >> 16);
        if (chance >> 29 == 0)
            hand_over(&h, &other, now_ms + away_ms);
        assert_int_equal(h.state, other.state);
        assert_int_equal(h.row, other.row);
        assert_true(h.since_ms + away_ms == other.since_ms);
        assert_int_equal(h.rest_until_ms > 0, other.rest_until_ms > 0);
        if (h.rest_until_ms > now_ms)
            assert_true(h.rest_until_ms + away_ms == other.rest_until_ms);
        assert_int_equal(health_share(&h, &usual, now_ms),
                         health_share(&other, &usual, now_ms + away_ms));
    }
    assert_true(changes > 1000);
}

static void test_a_clock_that_has_just_begun_is_no_trouble(void **state)
{
    struct health other;

    (void)state;
    assert_probes("---++", "ffdru");
    hand_over(&h, &other, 0);
    assert_int_equal(other.state, HEALTH_UP);
    assert_int_equal(health_share(&other, &usual, 0), HEALTH_SHARE_LEAST);
    now_ms += 10 * SECOND;
    hand_over(&h, &other, 3 * SECOND);
    assert_int_equal(other.since_ms, 0);
    assert_true(health_share(&other, &usual, 4 * SECOND) > HEALTH_SHARE_LEAST);
}

static void test_the_first_probe_comes_within_the_interval_of_its_state(void **state)
{
    struct health other;

    (void)state;
    assert_probes("-", "f");
    hand_over(&h, &other, now_ms);
    assert_in_range(other.due_ms, now_ms + 1, now_ms + usual.fast_interval_ms);
    assert_probes("+", "u");
    health_probing(&h);
    hand_over(&h, &other, now_ms);
    assert_in_range(other.due_ms, now_ms + 1, now_ms + usual.interval_ms);
}

static void test_one_that_is_not_checked_any_more_is_up(void **state)
{
    const struct health_params unchecked = {.fall = 1};
    struct health_record r;
    struct health other;

    (void)state;
    now_ms += 5 * SECOND;
    health_record(&h, now_ms, &r);
    health_resume(&other, &unchecked, 1, &r, now_ms);
    assert_int_equal(other.since_ms, now_ms - 5 * SECOND);
    assert_int_equal(other.due_ms, 0);
    assert_probes("---", "ffd");
    now_ms += 5 * SECOND;
    health_record(&h, now_ms, &r);
    health_resume(&other, &unchecked, 1, &r, now_ms);
    assert_int_equal(other.state, HEALTH_UP);
    assert_int_equal(other.since_ms, now_ms);
    assert_int_equal(other.due_ms, 0);
}

/* From other hands than health_record()'s. */
static void test_a_record_that_does_not_go_together_does_no_harm(void **state)
{
    struct health_record r = {.state = HEALTH_DOWN,
                              .row = UINT32_MAX,
                              .is_resting = true,
                              .rest_ms = UINT64_MAX,
                              .age_ms = UINT64_MAX};

    (void)state;
    health_resume(&h, &usual, 1, &r, now_ms);
    assert_true(h.rest_until_ms == now_ms + HEALTH_REST_MAX_MS);
    assert_probes("+-", "rd");
    r.state = HEALTH_UP;
    health_resume(&h, &usual, 1, &r, now_ms);
    assert_int_equal(h.rest_until_ms, 0);
    assert_probes("--", "ff");
}

#define HEALTH(f) cmocka_unit_test_setup(f, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEALTH(test_a_backend_is_up_until_probes_say_otherwise),
        HEALTH(test_so_many_bad_probes_in_a_row_bring_it_down),
        HEALTH(test_a_good_probe_between_begins_the_row_anew),
        HEALTH(test_so_many_good_probes_in_a_row_bring_it_up),
        HEALTH(test_one_probe_is_enough_when_rise_and_fall_say_so),
        HEALTH(test_a_row_without_end_stays_a_row),
        HEALTH(test_probes_come_at_the_interval_of_the_state),
        HEALTH(test_no_probe_is_due_while_one_is_under_way),
        HEALTH(test_a_probe_that_said_nothing_is_due_again_soon_and_changes_nothing),
        HEALTH(test_chance_spreads_probes_of_many_backends),
        HEALTH(test_the_same_seed_gives_the_same_times),
        HEALTH(test_three_bad_logins_in_a_row_hasten_a_probe),
        HEALTH(test_bad_logins_do_not_put_a_probe_off),
        HEALTH(test_bad_logins_count_for_none_of_the_bad_probes),
        HEALTH(test_bad_logins_of_many_bring_it_down),
        HEALTH(test_two_users_or_two_addresses_alone_never_bring_it_down),
        HEALTH(test_a_good_login_clears_all_blame),
        HEALTH(test_few_are_no_less_than_three_parties),
        HEALTH(test_logins_bring_none_down_when_passive_fall_is_zero),
        HEALTH(test_logins_that_end_late_say_nothing),
        HEALTH(test_a_count_of_logins_never_wraps),
        HEALTH(test_a_rest_doubles_each_time_in_a_row_up_to_a_limit),
        HEALTH(test_probes_count_while_it_rests),
        HEALTH(test_a_rest_that_is_over_does_not_bring_it_up_by_itself),
        HEALTH(test_a_row_of_rests_is_counted_from_when_it_served_again),
        HEALTH(test_going_down_by_probes_needs_no_rest),
        HEALTH(test_a_backend_that_is_not_checked_is_up_whatever_happens),
        HEALTH(test_one_that_was_never_down_has_its_whole_share),
        HEALTH(test_a_share_grows_evenly_from_least_to_whole),
        HEALTH(test_failing_does_not_begin_a_slow_start_anew),
        HEALTH(test_without_slow_start_the_share_is_whole_at_once),
        HEALTH(test_coming_up_at_time_zero_is_a_slow_start_too),
        HEALTH(test_who_goes_on_with_it_goes_on_alike),
        HEALTH(test_a_clock_that_has_just_begun_is_no_trouble),
        HEALTH(test_the_first_probe_comes_within_the_interval_of_its_state),
        HEALTH(test_one_that_is_not_checked_any_more_is_up),
        HEALTH(test_a_record_that_does_not_go_together_does_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
