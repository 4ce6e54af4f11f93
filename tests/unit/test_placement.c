/* Where a million users go: shares by weight, backends that come, go, fail and start slowly, by the
 * hash alone, as a pool of ten backends goes through it. Names are fixed, so that the outcome is
 * the same everywhere.
 *
 * Each comparison with theory is of a count of N independent draws of probability p, which lies
 * within sigma = sqrt(N p (1 - p)) of N p; they print how many sigmas the worst of them is off. Of
 * as many fair comparisons as here, 150 or so, one in three such programs would find one beyond 3;
 * these names happen to have none, and so a change that finds one has changed the hash. */
#include "backend/health.h"
#include "backend/rendezvous.h"

#include "cm.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The sanitizers' build is run again and again: a tenth has to do there. */
#ifdef __SANITIZE_ADDRESS__
#define IS_SLOW 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define IS_SLOW 1
#endif
#endif

#ifdef IS_SLOW
enum { USERS = 100000, SOME = 20000 };
#else
enum { USERS = 1000000, SOME = 100000 };
#endif

enum { TEN = 10, ELEVEN = 11, NEW = 10 };

typedef uint8_t choice; /* the index of a backend */

static struct hash128 *users;
static choice *before;
static struct rendezvous_node nodes[ELEVEN];
static const uint32_t equal[ELEVEN] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
                      mixed[ELEVEN] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11},
                      steep[ELEVEN] = {1, 1000, 10, 500, 3, 100, 250, 7, 1, 50, 400};

static int set_up_all(void **state)
{
    (void)state;
    users = calloc(USERS, sizeof *users);
    before = calloc(USERS, sizeof *before);
    if (!users || !before)
        return -1;
    for (unsigned i = 0; i < USERS; i++) {
        char name[32];
        int n = snprintf(name, sizeof name, "u%u@example.org", i);

        users[i] = hash_stable(slice_of(name, (size_t)n));
    }
    return 0;
}

static int tear_down_all(void **state)
{
    (void)state;
    free(users);
    free(before);
    return 0;
}

static void make_nodes(const uint32_t weights[ELEVEN])
{
    for (size_t i = 0; i < ELEVEN; i++) {
        char name[16];

        snprintf(name, sizeof name, "mail%zu", i + 1);
        nodes[i] = (struct rendezvous_node){rendezvous_node_hash("main", name), weights[i]};
    }
}

/* Which backends may be chosen, as bits. */
static bool may_use(size_t index, const void *arg)
{
    return *(const unsigned *)arg >> index & 1;
}

enum { ALL_TEN = (1 << TEN) - 1, ALL_ELEVEN = (1 << ELEVEN) - 1 };

static long choose(size_t user, unsigned usable)
{
    return rendezvous_best(nodes, ELEVEN, users[user], may_use, &usable);
}

static void place(size_t n, unsigned usable)
{
    for (size_t i = 0; i < n; i++)
        before[i] = (choice)choose(i, usable);
}

/* --- what theory says ---------------------------------------------------------------------- */

static struct {
    double worst; /* sigmas */
    unsigned n;
} compared;

static void assert_share(size_t count, size_t n, double p)
{
    double sigmas = ((double)count - (double)n * p) / sqrt((double)n * p * (1 - p));

    if (fabs(sigmas) > 3)
        fail_msg("%zu of %zu, expected %.0f: %.2f sigmas", count, n, (double)n * p, sigmas);
    if (fabs(sigmas) > compared.worst)
        compared.worst = fabs(sigmas);
    compared.n++;
}

static int begin_comparing(void **state)
{
    (void)state;
    compared.worst = 0;
    compared.n = 0;
    return 0;
}

static int tell_compared(void **state)
{
    (void)state;
    if (compared.n > 0)
        print_message("%u comparisons, at most %.2f sigmas off\n", compared.n, compared.worst);
    return 0;
}

static double weight_of(unsigned usable)
{
    double sum = 0;

    for (size_t i = 0; i < ELEVEN; i++)
        sum += usable >> i & 1 ? nodes[i].weight : 0;
    return sum;
}

/* The first `n` of `where`, over the backends that were usable. */
static void assert_shares(const choice *where, size_t n, unsigned usable)
{
    size_t counts[ELEVEN] = {0};

    for (size_t i = 0; i < n; i++)
        counts[where[i]]++;
    for (size_t i = 0; i < ELEVEN; i++) {
        if (usable >> i & 1)
            assert_share(counts[i], n, nodes[i].weight / weight_of(usable));
        else
            assert_int_equal(counts[i], 0);
    }
}

/* By the scores, which are rounded and made one by one: an own way to the same answer. */
static bool is_best(size_t user, long index, unsigned usable)
{
    double score = rendezvous_score(&nodes[index], users[user]);

    for (size_t i = 0; i < ELEVEN; i++) {
        if (usable >> i & 1 && rendezvous_score(&nodes[i], users[user]) > score * (1 + 1e-12))
            return false;
    }
    return true;
}

/* --- ten, eleven, ten ---------------------------------------------------------------------- */

static void assert_ten_eleven_ten(const uint32_t weights[ELEVEN])
{
    size_t moved = 0;

    make_nodes(weights);
    place(USERS, ALL_TEN);
    assert_shares(before, USERS, ALL_TEN);
    for (size_t i = 0; i < USERS; i++) {
        long now = choose(i, ALL_ELEVEN);

        if (now != before[i] && now != NEW)
            fail_msg("user %zu moved from %d to %ld, both old", i, before[i], now);
        if (i % 64 == 0)
            assert_true(is_best(i, now, ALL_ELEVEN) && is_best(i, before[i], ALL_TEN));
        moved += now == NEW;
    }
    assert_share(moved, USERS, nodes[NEW].weight / weight_of(ALL_ELEVEN));
    /* The new one has gone: taken out of the list, and then only put to weight 0. */
    for (size_t i = 0; i < USERS; i++)
        assert_int_equal(rendezvous_best(nodes, TEN, users[i], NULL, NULL), before[i]);
    nodes[NEW].weight = 0;
    for (size_t i = 0; i < SOME; i++)
        assert_int_equal(rendezvous_best(nodes, ELEVEN, users[i], NULL, NULL), before[i]);
}

static void test_an_eleventh_of_equal_weight_takes_its_share_and_gives_it_back(void **state)
{
    (void)state;
    assert_ten_eleven_ten(equal);
}

static void test_an_eleventh_of_mixed_weights_takes_its_share_and_gives_it_back(void **state)
{
    (void)state;
    assert_ten_eleven_ten(mixed);
}

static void test_weights_of_one_to_a_thousand_are_shares_too(void **state)
{
    (void)state;
    make_nodes(steep);
    place(SOME, ALL_ELEVEN);
    assert_shares(before, SOME, ALL_ELEVEN);
}

/* --- one that fails ------------------------------------------------------------------------ */

static void test_users_of_one_that_is_down_are_shared_out_by_weight_and_come_back(void **state)
{
    choice *heirs = calloc(SOME, sizeof *heirs);

    (void)state;
    assert_non_null(heirs);
    make_nodes(mixed);
    for (unsigned down = 0; down < TEN; down += 3) {
        unsigned usable = ALL_TEN & ~(1U << down);
        size_t n = 0;

        place(SOME, ALL_TEN);
        for (size_t i = 0; i < SOME; i++) {
            long now = choose(i, usable);

            if (before[i] == down)
                heirs[n++] = (choice)now;
            else
                assert_int_equal(now, before[i]);
            assert_int_not_equal(now, down);
        }
        assert_true(n > 0);
        assert_shares(heirs, n, usable);
    }
    for (size_t i = 0; i < SOME; i++)
        assert_int_equal(choose(i, ALL_TEN), before[i]);
    free(heirs);
}

/* --- one that starts slowly ---------------------------------------------------------------- */

static const struct health_params params = {.is_checked = true,
                                            .interval_ms = 10000,
                                            .fast_interval_ms = 2000,
                                            .rise = 1,
                                            .fall = 1,
                                            .slow_start_ms = 30000};

/* As if all weights were 256 times as large, and `index` has only so many 256ths. */
static void scale(size_t index, uint32_t share)
{
    make_nodes(mixed);
    for (size_t i = 0; i < ELEVEN; i++)
        nodes[i].weight *= i == index ? share : HEALTH_SHARE_WHOLE;
}

static void test_one_that_starts_slowly_takes_ever_more_of_its_own_users(void **state)
{
    enum { SLOW = 6 };
    const unsigned others = ALL_TEN & ~(1U << SLOW);
    choice *now = calloc(SOME, sizeof *now);
    struct health health;
    uint32_t last = 0;

    (void)state;
    assert_non_null(now);
    health_init(&health, &params, 1, 1);
    health_probed(&health, &params, false, 1);
    health_probed(&health, &params, true, 1);
    make_nodes(mixed);
    place(SOME, others);
    for (uint64_t ms = 1; ms <= 1 + params.slow_start_ms; ms += params.slow_start_ms / 15) {
        size_t n = 0;

        scale(SLOW, health_share(&health, &params, ms));
        assert_true(nodes[SLOW].weight > last);
        last = nodes[SLOW].weight;
        for (size_t i = 0; i < SOME; i++) {
            now[i] = (choice)choose(i, ALL_TEN);
            /* To the one that starts, or nowhere; and who is there stays. */
            assert_true(now[i] == SLOW || (now[i] == before[i] && before[i] != SLOW));
            before[i] = now[i];
            n += now[i] == SLOW;
        }
        assert_share(n, SOME, last / weight_of(ALL_TEN));
    }
    assert_int_equal(last, mixed[SLOW] * HEALTH_SHARE_WHOLE);
    make_nodes(mixed);
    for (size_t i = 0; i < SOME; i++)
        assert_int_equal(choose(i, ALL_TEN), now[i]);
    free(now);
}

static void test_the_first_step_of_a_slow_start_is_as_small_as_it_says(void **state)
{
    size_t n = 0;

    (void)state;
    scale(4, HEALTH_SHARE_LEAST);
    for (size_t i = 0; i < SOME; i++)
        n += choose(i, ALL_TEN) == 4;
    assert_share(n, SOME, nodes[4].weight / weight_of(ALL_TEN));
}

/* --- backup -------------------------------------------------------------------------------- */

enum { BACKUPS = 1 << 8 | 1 << 9, OTHERS = ALL_TEN & ~BACKUPS };

/* Those that serve and are no backup; while there is none of these, the backups that serve. */
static unsigned candidates(unsigned serving)
{
    return serving & OTHERS ? serving & OTHERS : serving & BACKUPS;
}

static void test_backups_get_users_only_while_no_other_serves(void **state)
{
    choice *now = calloc(SOME, sizeof *now);

    (void)state;
    assert_non_null(now);
    make_nodes(mixed);
    place(SOME, candidates(ALL_TEN));
    assert_shares(before, SOME, OTHERS);
    /* One after the other goes down. */
    for (unsigned serving = ALL_TEN; serving & OTHERS; serving &= serving - 1) {
        for (size_t i = 0; i < SOME; i++) {
            now[i] = (choice)choose(i, candidates(serving));
            assert_true(serving >> before[i] & 1 ? now[i] == before[i] : now[i] < 8);
        }
        assert_shares(now, SOME, serving & OTHERS);
    }
    for (size_t i = 0; i < SOME; i++)
        now[i] = (choice)choose(i, candidates(BACKUPS));
    assert_shares(now, SOME, BACKUPS);
    assert_int_equal(choose(1, candidates(0)), RENDEZVOUS_NONE);
    for (size_t i = 0; i < SOME; i++)
        assert_int_equal(choose(i, candidates(ALL_TEN)), before[i]);
    free(now);
}

#define COMPARING(f) cmocka_unit_test_setup_teardown(f, begin_comparing, tell_compared)

int main(void)
{
    const struct CMUnitTest tests[] = {
        COMPARING(test_an_eleventh_of_equal_weight_takes_its_share_and_gives_it_back),
        COMPARING(test_an_eleventh_of_mixed_weights_takes_its_share_and_gives_it_back),
        COMPARING(test_weights_of_one_to_a_thousand_are_shares_too),
        COMPARING(test_users_of_one_that_is_down_are_shared_out_by_weight_and_come_back),
        COMPARING(test_one_that_starts_slowly_takes_ever_more_of_its_own_users),
        COMPARING(test_the_first_step_of_a_slow_start_is_as_small_as_it_says),
        COMPARING(test_backups_get_users_only_while_no_other_serves),
    };

    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
