/* Weighted rendezvous hashing: shares, minimal movement, and agreement between machines. */
#include "backend/rendezvous.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

enum { USERS = 100000, NODES_MAX = 64 };

static struct rendezvous_node nodes[NODES_MAX];

static void make_nodes(size_t n, const uint32_t *weights)
{
    for (size_t i = 0; i < n; i++) {
        char name[32];

        snprintf(name, sizeof name, "mail%zu", i + 1);
        nodes[i] =
            (struct rendezvous_node){rendezvous_node_hash("main", name), weights ? weights[i] : 1};
    }
}

static struct hash128 user(unsigned i)
{
    char name[32];
    int n = snprintf(name, sizeof name, "user%u@example.org", i);

    return hash_stable(slice_of(name, (size_t)n));
}

/* |count - n p| <= 3 sqrt(n p (1 - p)), without a square root. */
static void assert_within_3_sigma(size_t count, size_t n, double p)
{
    double off = (double)count - (double)n * p;
    double variance = (double)n * p * (1 - p);

    if (off * off > 9 * variance)
        fail_msg("%zu of %zu, expected %.0f", count, n, (double)n * p);
}

static void test_users_are_shared_out_by_weight(void **state)
{
    static const uint32_t weights[] = {1, 2, 1, 4, 0, 1000, 250};
    enum { N = sizeof weights / sizeof weights[0] };
    size_t counts[N] = {0};
    double sum = 0;

    (void)state;
    make_nodes(N, weights);
    for (unsigned i = 0; i < USERS; i++)
        counts[rendezvous_best(nodes, N, user(i), NULL, NULL)]++;
    for (size_t i = 0; i < N; i++)
        sum += weights[i];
    for (size_t i = 0; i < N; i++)
        assert_within_3_sigma(counts[i], USERS, weights[i] / sum);
    assert_int_equal(counts[4], 0);
}

static void test_many_equal_nodes_get_equal_shares(void **state)
{
    size_t counts[NODES_MAX] = {0};
    double chi2 = 0;

    (void)state;
    make_nodes(NODES_MAX, NULL);
    for (unsigned i = 0; i < USERS; i++)
        counts[rendezvous_best(nodes, NODES_MAX, user(i), NULL, NULL)]++;
    for (size_t i = 0; i < NODES_MAX; i++) {
        double want = (double)USERS / NODES_MAX;

        chi2 += ((double)counts[i] - want) * ((double)counts[i] - want) / want;
    }
    /* 63 degrees of freedom: mean 63, sigma 11.2. */
    assert_true(chi2 > 63 - 3 * 11.2 && chi2 < 63 + 3 * 11.2);
}

static void test_a_node_that_comes_takes_only_its_share(void **state)
{
    size_t moved = 0;

    (void)state;
    make_nodes(9, NULL);
    for (unsigned i = 0; i < USERS; i++) {
        long before = rendezvous_best(nodes, 8, user(i), NULL, NULL);
        long after = rendezvous_best(nodes, 9, user(i), NULL, NULL);

        if (before != after) {
            assert_int_equal(after, 8);
            moved++;
        }
    }
    assert_within_3_sigma(moved, USERS, 1.0 / 9);
}

static bool is_not(size_t index, const void *arg)
{
    return index != *(const size_t *)arg;
}

static void test_a_node_that_goes_moves_only_its_own_users(void **state)
{
    static const size_t gone = 3;
    size_t heirs[8] = {0};
    size_t moved = 0;

    (void)state;
    make_nodes(8, NULL);
    for (unsigned i = 0; i < USERS; i++) {
        long before = rendezvous_best(nodes, 8, user(i), NULL, NULL);
        long after = rendezvous_best(nodes, 8, user(i), is_not, &gone);

        assert_int_not_equal(after, gone);
        if (before != (long)gone) {
            assert_int_equal(before, after);
            continue;
        }
        moved++;
        heirs[after]++;
    }
    for (size_t i = 0; i < 8; i++)
        assert_within_3_sigma(heirs[i], moved, i == gone ? 0 : 1.0 / 7);
}

static void test_more_weight_only_draws_users_towards_it(void **state)
{
    static const uint32_t light[] = {1, 1, 1}, heavy[] = {1, 3, 1};

    (void)state;
    for (unsigned i = 0; i < 10000; i++) {
        long before, after;

        make_nodes(3, light);
        before = rendezvous_best(nodes, 3, user(i), NULL, NULL);
        make_nodes(3, heavy);
        after = rendezvous_best(nodes, 3, user(i), NULL, NULL);
        assert_true(after == before || after == 1);
    }
}

static void test_the_order_of_the_nodes_does_not_matter(void **state)
{
    struct rendezvous_node turned[8];

    (void)state;
    make_nodes(8, NULL);
    nodes[5] = nodes[2]; /* two that draw the same tie */
    for (size_t i = 0; i < 8; i++)
        turned[i] = nodes[7 - i];
    for (unsigned i = 0; i < 10000; i++) {
        struct hash128 a = nodes[rendezvous_best(nodes, 8, user(i), NULL, NULL)].hash;
        struct hash128 b = turned[rendezvous_best(turned, 8, user(i), NULL, NULL)].hash;

        assert_true(a.high == b.high && a.low == b.low);
    }
}

static void test_nobody_is_chosen_where_nobody_may_be(void **state)
{
    static const uint32_t zero[] = {0, 0}, one[] = {0, 1};
    static const size_t second = 1;

    (void)state;
    make_nodes(2, zero);
    assert_int_equal(rendezvous_best(nodes, 0, user(1), NULL, NULL), RENDEZVOUS_NONE);
    assert_int_equal(rendezvous_best(nodes, 2, user(1), NULL, NULL), RENDEZVOUS_NONE);
    make_nodes(2, one);
    assert_int_equal(rendezvous_best(nodes, 2, user(1), NULL, NULL), 1);
    assert_int_equal(rendezvous_best(nodes, 2, user(1), is_not, &second), RENDEZVOUS_NONE);
}

static void test_the_logarithm_is_exact_where_it_can_be(void **state)
{
    const uint64_t one = (uint64_t)1 << 48;

    (void)state;
    for (unsigned k = 0; k < 64; k++)
        assert_int_equal(rendezvous_log((uint64_t)1 << k), (64 - k) * one);
    /* log2(3) = 1.584962500721156181453738943947816508759814407692481... */
    assert_int_equal(64 * one - rendezvous_log(3),
                     (uint64_t)(1.584962500721156181453738943947816508759L * (long double)one));
    assert_true(rendezvous_log(UINT64_MAX) <= 1);
}

static void test_the_logarithm_never_rises(void **state)
{
    uint64_t before = rendezvous_log(1);

    (void)state;
    for (uint64_t h = 1; h < UINT64_MAX - h / 64 - 1; h += h / 64 + 1) {
        uint64_t now = rendezvous_log(h);

        assert_true(now <= before);
        before = now;
    }
}

/* Another answer here means that users move when this release is installed. */
static void test_choices_stay_as_they_were_in_the_first_release(void **state)
{
    static const uint32_t weights[] = {1, 2, 3, 4, 5};
    static const char want[] = "4102221331132322342334314444212123444244";
    char got[sizeof want];

    (void)state;
    make_nodes(5, weights);
    for (unsigned i = 0; i < sizeof want - 1; i++)
        got[i] = (char)('0' + rendezvous_best(nodes, 5, user(i), NULL, NULL));
    got[sizeof want - 1] = '\0';
    assert_string_equal(got, want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_users_are_shared_out_by_weight),
        cmocka_unit_test(test_many_equal_nodes_get_equal_shares),
        cmocka_unit_test(test_a_node_that_comes_takes_only_its_share),
        cmocka_unit_test(test_a_node_that_goes_moves_only_its_own_users),
        cmocka_unit_test(test_more_weight_only_draws_users_towards_it),
        cmocka_unit_test(test_the_order_of_the_nodes_does_not_matter),
        cmocka_unit_test(test_nobody_is_chosen_where_nobody_may_be),
        cmocka_unit_test(test_the_logarithm_is_exact_where_it_can_be),
        cmocka_unit_test(test_the_logarithm_never_rises),
        cmocka_unit_test(test_choices_stay_as_they_were_in_the_first_release),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
