/* Queues before backends: turns of users and the bucket of tokens, each also against a naive model
 * of the same rules. Seeded: a failure names its run. */
#include "control/queue.h"

#include "base/num.h"

#include "cm.h"
#include "no_memory.h"

#include <stdlib.h>
#include <string.h>

static uint64_t seed;

static uint32_t draw(uint32_t n)
{
    return (uint32_t)((num_mix(seed += 0x9e3779b97f4a7c15U) >> 32) % n);
}

/* --- turns --------------------------------------------------------------------------------- */

enum { USERS = 100, ENTRIES = 400 };

static const char users[USERS]; /* their addresses are the keys */

static struct queue queue;
static struct queued entries[ENTRIES];

static int set_up(void **state)
{
    (void)state;
    memory.is_on = false;
    queue_init(&queue);
    for (size_t i = 0; i < ENTRIES; i++)
        queued_init(&entries[i]);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    memory.is_on = false;
    for (size_t i = 0; i < ENTRIES; i++)
        queue_remove(&queue, &entries[i]);
    assert_int_equal(queue.n, 0);
    assert_null(queue_first(&queue));
    queue_done(&queue);
    return 0;
}

static void add(size_t entry, size_t user)
{
    assert_int_equal(queue_add(&queue, &entries[entry], &users[user]), 0);
}

/* Serves all; the entries in the order in which they were. */
static void assert_served(const size_t *want, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        assert_ptr_equal(queue_first(&queue), &entries[want[i]]);
        queue_take(&queue, &entries[want[i]]);
        assert_false(queued_waits(&entries[want[i]]));
    }
    assert_null(queue_first(&queue));
}

static void test_who_came_first_is_first(void **state)
{
    static const size_t want[] = {2, 0, 1};

    (void)state;
    assert_null(queue_first(&queue));
    add(2, 7);
    add(0, 5);
    add(1, 6);
    assert_int_equal(queue.n, 3);
    assert_served(want, 3);
}

static void test_users_take_turns_and_each_users_logins_keep_their_order(void **state)
{
    static const size_t want[] = {0, 3, 4, 1, 5, 2};

    (void)state;
    add(0, 0);
    add(1, 0);
    add(2, 0);
    add(3, 1);
    add(4, 2);
    add(5, 2);
    assert_served(want, 6);
}

static void test_one_who_comes_again_after_being_served_stands_behind_all(void **state)
{
    static const size_t want[] = {1, 0};

    (void)state;
    add(0, 0);
    add(1, 1);
    queue_take(&queue, &entries[0]);
    add(0, 0);
    assert_served(want, 2);
}

static void test_one_who_gives_up_costs_the_user_no_turn(void **state)
{
    static const size_t want[] = {2, 1, 4, 3};

    (void)state;
    add(0, 0);
    add(1, 1);
    add(2, 0);
    add(3, 1);
    add(4, 2);
    queue_remove(&queue, &entries[0]);
    assert_false(queued_waits(&entries[0]));
    queue_remove(&queue, &entries[0]);
    assert_int_equal(queue.n, 4);
    assert_served(want, 4);
}

static void test_others_are_served_while_the_first_cannot_be(void **state)
{
    static const size_t want[] = {0, 3, 2, 1};

    (void)state;
    add(0, 0);
    add(1, 0);
    add(2, 1);
    add(3, 2);
    assert_ptr_equal(queue_next(&queue, &entries[0]), &entries[2]);
    assert_ptr_equal(queue_next(&queue, &entries[2]), &entries[3]);
    assert_null(queue_next(&queue, &entries[3]));
    queue_take(&queue, &entries[2]);
    add(2, 1);
    assert_served(want, 4);
}

/* Half of the users have one login, the others fifty; logins come at any time. */
static void test_nobody_waits_for_more_than_one_login_of_each_other_user(void **state)
{
    enum { FEW = 14, RUNS = 50 };

    (void)state;
    for (seed = 1; seed <= RUNS; seed++) {
        size_t left[FEW], user_of[ENTRIES], passed[FEW][FEW] = {0}, used = 0, sum = 0;

        for (size_t u = 0; u < FEW; u++)
            sum += left[u] = u % 2 ? 50 : 1;
        while (sum > 0 || queue.n > 0) {
            size_t u = draw(FEW);

            if (left[u] > 0 && draw(3)) {
                sum--;
                left[u]--;
                user_of[used] = u;
                add(used++, u);
                continue;
            }
            if (!queue_first(&queue))
                continue;
            u = user_of[queue_first(&queue) - entries];
            queue_take(&queue, queue_first(&queue));
            memset(passed[u], 0, sizeof passed[u]);
            for (struct queued *e = queue_first(&queue); e; e = queue_next(&queue, e)) {
                if (user_of[e - entries] != u && ++passed[user_of[e - entries]][u] > 1)
                    fail_msg("run %u: user %zu waits for user %zu twice", (unsigned)seed,
                             user_of[e - entries], u);
            }
        }
    }
}

static void test_a_login_that_finds_no_memory_is_in_no_queue(void **state)
{
    static const size_t want[] = {0, 1};

    (void)state;
    for (size_t at = 1; at <= 2; at++) { /* the turn, the map's table */
        memory = (typeof(memory)){.is_on = true, .fails_at = at};
        assert_int_equal(queue_add(&queue, &entries[0], &users[0]), -1);
        assert_false(queued_waits(&entries[0]));
        assert_int_equal(queue.n, 0);
        assert_null(queue_first(&queue));
    }
    add(0, 0);
    memory = (typeof(memory)){.is_on = true, .fails_at = 1};
    assert_int_equal(queue_add(&queue, &entries[1], &users[1]), -1);
    assert_false(queued_waits(&entries[1]));
    assert_int_equal(queue.n, 1);
    memory.n = 0;
    assert_int_equal(queue_add(&queue, &entries[1], &users[0]), 0); /* asks for none */
    assert_int_equal(memory.n, 0);
    assert_served(want, 2);
}

static void test_many_users_wait_though_the_map_cannot_grow(void **state)
{
    size_t want[USERS];

    (void)state;
    for (size_t u = 0; u < USERS; u++) {
        memory = (typeof(memory)){.is_on = u > 0, .fails_at = 2};
        add(u, u);
        want[u] = u;
    }
    assert_served(want, USERS);
}

/* The rules by numbers instead of lists: who has the lowest is next. */
static struct {
    size_t number, came[ENTRIES], user[ENTRIES]; /* came 0: it does not wait */
    size_t turn[USERS];                          /* since when the user waits for a turn */
} model;

static bool waits(size_t user)
{
    for (size_t i = 0; i < ENTRIES; i++) {
        if (model.came[i] && model.user[i] == user)
            return true;
    }
    return false;
}

/* Of the user whose turn began after `after`, the first; ENTRIES: none. */
static size_t model_first(size_t after)
{
    size_t best = ENTRIES;

    for (size_t i = 0; i < ENTRIES; i++) {
        size_t turn = model.turn[model.user[i]];

        if (!model.came[i] || turn <= after)
            continue;
        if (best == ENTRIES || turn < model.turn[model.user[best]] ||
            (turn == model.turn[model.user[best]] && model.came[i] < model.came[best]))
            best = i;
    }
    return best;
}

static void assert_as_the_model(void)
{
    size_t want = model_first(0), n = 0;
    struct queued *e = queue_first(&queue);

    while (e && want < ENTRIES) {
        assert_ptr_equal(e, &entries[want]);
        want = model_first(model.turn[model.user[want]]);
        e = queue_next(&queue, e);
    }
    assert_null(e);
    assert_int_equal(want, ENTRIES);
    for (size_t i = 0; i < ENTRIES; i++) {
        assert_int_equal(queued_waits(&entries[i]), model.came[i] != 0);
        n += model.came[i] != 0;
    }
    assert_int_equal(queue.n, n);
}

static void add_or_fail(size_t entry, size_t user)
{
    bool is_known = waits(user);
    int result;

    memory = (typeof(memory)){.is_on = true, .fails_at = draw(4) ? 0 : 1};
    result = queue_add(&queue, &entries[entry], &users[user]);
    assert_int_equal(result, memory.fails_at && !is_known ? -1 : 0);
    memory.is_on = false;
    if (result < 0)
        return;
    model.came[entry] = ++model.number;
    model.user[entry] = user;
    if (!is_known)
        model.turn[user] = model.number;
}

static void take_somebody(void)
{
    struct queued *e = queue_first(&queue);
    size_t i;

    while (e && draw(3) == 0)
        e = queue_next(&queue, e);
    if (!e)
        return;
    queue_take(&queue, e);
    i = (size_t)(e - entries);
    model.came[i] = 0;
    model.turn[model.user[i]] = ++model.number;
}

static void test_random_queues_are_as_a_naive_model_says(void **state)
{
    enum { RUNS = 20, STEPS = 1000 };

    (void)state;
    for (unsigned run = 1; run <= RUNS; run++) {
        size_t range = 1 + draw(USERS), crowd = 1 + draw(ENTRIES);

        seed = run;
        for (unsigned step = 0; step < STEPS; step++) {
            size_t i = draw((uint32_t)crowd);

            if (draw(5) == 0) {
                take_somebody();
            } else if (!model.came[i]) {
                add_or_fail(i, draw((uint32_t)range));
            } else if (draw(4) == 0) {
                queue_remove(&queue, &entries[i]);
                model.came[i] = 0;
            }
            if (step % 8 == 0)
                assert_as_the_model();
        }
        assert_as_the_model();
    }
}

/* --- the rate ------------------------------------------------------------------------------ */

static const uint32_t rates[] = {1, 2, 3, 7, 9, 10, 11, 19, 100, 333, 1000, 99999, 100000};

enum { RATES = sizeof rates / sizeof *rates, SPAN_MS = 25000 };

static uint32_t begun[SPAN_MS]; /* in each millisecond */

static uint64_t most_in(size_t window_ms)
{
    uint64_t sum = 0, most = 0;

    for (size_t t = 0; t < SPAN_MS; t++) {
        sum += begun[t];
        sum -= t >= window_ms ? begun[t - window_ms] : 0;
        most = sum > most ? sum : most;
    }
    return most;
}

/* Crowds and pauses, in all of which the bounds hold; `is_greedy`: whoever may begin does, always.
 */
static void begin_logins(uint32_t rate, bool is_greedy)
{
    struct bucket b = {0};
    uint64_t start = draw(2) ? 0 : (uint64_t)draw(UINT32_MAX) << 10;
    bool is_crowd = true;

    memset(begun, 0, sizeof begun);
    for (size_t t = 0; t < SPAN_MS; t++) {
        if (draw(300) == 0)
            is_crowd = !is_crowd;
        for (uint32_t n = is_greedy ? UINT32_MAX : draw(is_crowd ? 500 : 2); n > 0; n--) {
            if (!bucket_take(&b, rate, start + t))
                break;
            begun[t]++;
        }
    }
}

static void test_no_second_has_more_than_the_rate_and_a_tenth(void **state)
{
    (void)state;
    for (size_t i = 0; i < RATES; i++) {
        for (seed = 1; seed <= 6; seed++) {
            begin_logins(rates[i], seed == 1);
            assert_true(10 * most_in(1000) <= 11 * (uint64_t)rates[i]);
            assert_true(10 * most_in(10000) <= 101 * (uint64_t)rates[i]);
        }
    }
}

static void test_whoever_always_waits_gets_the_whole_rate(void **state)
{
    (void)state;
    for (size_t i = 0; i < RATES; i++) {
        uint64_t sum = 0;

        seed = i;
        begin_logins(rates[i], true);
        for (size_t t = 2000; t < 2000 + 10000; t++)
            sum += begun[t];
        assert_true(sum + 1 >= 10 * (uint64_t)rates[i] && sum <= 10 * (uint64_t)rates[i] + 1);
    }
}

/* The same, millisecond by millisecond. */
static uint64_t naive_level(uint64_t level, uint32_t rate, uint64_t passed_ms)
{
    uint64_t room = rate > 10 ? (uint64_t)rate * 100 : 1000;

    for (uint64_t t = 0; t < passed_ms && level < room; t++)
        level += rate;
    return level < room ? level : room;
}

static void test_random_buckets_are_as_a_naive_model_says(void **state)
{
    enum { RUNS = 200, STEPS = 2000 };

    (void)state;
    for (unsigned run = 1; run <= RUNS; run++) {
        struct bucket b = {0};
        uint64_t now_ms = 0, level = 0, last_ms = 0, due_ms;
        uint32_t rate;

        seed = run;
        rate = 1 + draw(run % 2 ? 20 : 100000);
        for (unsigned step = 0; step < STEPS; step++) {
            now_ms += draw(4) ? draw(3) : draw(draw(20) ? 2000 : UINT32_MAX);
            level = naive_level(level, rate, now_ms - last_ms);
            last_ms = now_ms;
            due_ms = bucket_due_ms(&b, rate, now_ms);
            if (level >= 1000)
                assert_int_equal(due_ms, now_ms);
            else
                assert_true(naive_level(level, rate, due_ms - now_ms) >= 1000 &&
                            naive_level(level, rate, due_ms - now_ms - 1) < 1000);
            assert_int_equal(bucket_take(&b, rate, now_ms), level >= 1000);
            level -= level >= 1000 ? 1000 : 0;
            if (draw(10) == 0 && level + 1000 <= naive_level(0, rate, UINT64_MAX)) {
                bucket_give(&b, rate);
                level += 1000;
            }
        }
    }
}

static void test_a_pause_of_any_length_fills_the_bucket_and_no_more(void **state)
{
    static const uint64_t pauses[] = {1000, 3600 * 1000, (uint64_t)1 << 40, (uint64_t)1 << 62};

    (void)state;
    for (size_t i = 0; i < RATES; i++) {
        for (size_t k = 0; k < sizeof pauses / sizeof *pauses; k++) {
            struct bucket b = {0};
            uint32_t room = rates[i] >= 10 ? rates[i] / 10 : 1;

            for (uint64_t now_ms = pauses[k], round = 0; round < 2; round++, now_ms += pauses[k]) {
                for (uint32_t n = 0; n < room; n++)
                    assert_true(bucket_take(&b, rates[i], now_ms));
                assert_false(bucket_take(&b, rates[i], now_ms));
                assert_true(bucket_due_ms(&b, rates[i], now_ms) > now_ms);
            }
        }
    }
}

static void test_a_rate_of_zero_is_no_limit(void **state)
{
    struct bucket b = {0};

    (void)state;
    for (int i = 0; i < 1000; i++)
        assert_true(bucket_take(&b, 0, 5));
    assert_int_equal(bucket_due_ms(&b, 0, 5), 5);
    bucket_give(&b, 0);
    assert_false(bucket_take(&b, 100, 5)); /* zeroed: 5 ms at 100 a second are half of one */
}

static void test_a_token_given_back_is_there_again_but_fills_nothing_over(void **state)
{
    struct bucket b = {0};

    (void)state;
    assert_true(bucket_take(&b, 5, 1000));
    assert_false(bucket_take(&b, 5, 1000));
    bucket_give(&b, 5);
    bucket_give(&b, 5);
    assert_int_equal(bucket_due_ms(&b, 5, 1000), 1000);
    assert_true(bucket_take(&b, 5, 1000));
    assert_false(bucket_take(&b, 5, 1000));
    assert_int_equal(bucket_due_ms(&b, 5, 1000), 1200);
}

static void test_another_rate_gives_nothing_for_the_change(void **state)
{
    struct bucket b = {0};

    (void)state;
    for (int n = 0; n < 100; n++)
        assert_true(bucket_take(&b, 1000, 1000));
    for (int i = 0; i < 1000; i++) {
        assert_false(bucket_take(&b, i % 2 ? 100000 : 1, 1000));
        assert_false(bucket_take(&b, i % 2 ? 7 : 1000, 1000));
    }
    /* A second at the lowest rate is worth one, also when the rate is higher then. */
    assert_true(bucket_take(&b, 1, 2000));
    assert_false(bucket_take(&b, 100000, 2000));
    /* A hundred tokens do not fit when the rate has fallen. */
    assert_true(bucket_take(&b, 1000, 3000));
    assert_true(bucket_take(&b, 1, 3000));
    assert_false(bucket_take(&b, 1000, 3000));
    /* Nor are two kept that were given back to a bucket for one. */
    bucket_give(&b, 1);
    bucket_give(&b, 1);
    assert_true(bucket_take(&b, 1000, 3000));
    assert_false(bucket_take(&b, 1000, 3000));
}

static void test_a_clock_that_stands_or_goes_back_gives_nothing(void **state)
{
    struct bucket b = {0};

    (void)state;
    assert_true(bucket_take(&b, 1, 5000));
    assert_false(bucket_take(&b, 1, 5000));
    assert_false(bucket_take(&b, 1, 10));
    assert_false(bucket_take(&b, 1, 5999));
    assert_true(bucket_take(&b, 1, 6000));
    assert_true(bucket_take(&b, 100, 7000)); /* ten are there, nine are left */
    assert_true(bucket_take(&b, 100, 10));
    assert_int_equal(b.at_ms, 7000);
}

#define TURNS(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TURNS(test_who_came_first_is_first),
        TURNS(test_users_take_turns_and_each_users_logins_keep_their_order),
        TURNS(test_one_who_comes_again_after_being_served_stands_behind_all),
        TURNS(test_one_who_gives_up_costs_the_user_no_turn),
        TURNS(test_others_are_served_while_the_first_cannot_be),
        TURNS(test_nobody_waits_for_more_than_one_login_of_each_other_user),
        TURNS(test_a_login_that_finds_no_memory_is_in_no_queue),
        TURNS(test_many_users_wait_though_the_map_cannot_grow),
        TURNS(test_random_queues_are_as_a_naive_model_says),
        cmocka_unit_test(test_no_second_has_more_than_the_rate_and_a_tenth),
        cmocka_unit_test(test_whoever_always_waits_gets_the_whole_rate),
        cmocka_unit_test(test_random_buckets_are_as_a_naive_model_says),
        cmocka_unit_test(test_a_pause_of_any_length_fills_the_bucket_and_no_more),
        cmocka_unit_test(test_a_rate_of_zero_is_no_limit),
        cmocka_unit_test(test_a_token_given_back_is_there_again_but_fills_nothing_over),
        cmocka_unit_test(test_another_rate_gives_nothing_for_the_change),
        cmocka_unit_test(test_a_clock_that_stands_or_goes_back_gives_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
