/* The hash map: finding, growing step by step, removing. */
#include "base/list.h"
#include "base/map.h"
#include "base/num.h"

#include "cm.h"

#include <stdlib.h>

struct thing {
    struct map_node node;
    uint64_t key;
};

static bool is_key(const struct map_node *node, const void *key)
{
    return CONTAINER(node, struct thing, node)->key == *(const uint64_t *)key;
}

static struct thing *find(const struct map *m, uint64_t key, uint64_t hash)
{
    struct map_node *n = map_find(m, hash, is_key, &key);

    return n ? CONTAINER(n, struct thing, node) : NULL;
}

static void test_empty_map_finds_nothing(void **state)
{
    struct map m;

    (void)state;
    map_init(&m);
    assert_null(find(&m, 1, 1));
    map_done(&m);
}

static void test_everything_is_found_at_every_size_while_growing(void **state)
{
    enum { N = 5000 };
    struct thing *things = calloc(N, sizeof *things);
    struct map m;

    (void)state;
    map_init(&m);
    for (uint64_t i = 0; i < N; i++) {
        things[i].key = i;
        assert_int_equal(map_insert(&m, &things[i].node, num_mix(i)), 0);
        assert_int_equal(m.used, i + 1);
        for (uint64_t k = i > 200 ? i - 200 : 0; k <= i; k++)
            assert_ptr_equal(find(&m, k, num_mix(k)), &things[k]);
        assert_null(find(&m, i + 1, num_mix(i + 1)));
    }
    for (uint64_t i = 0; i < N; i += 2)
        map_remove(&m, &things[i].node);
    for (uint64_t i = 0; i < N; i++)
        assert_ptr_equal(find(&m, i, num_mix(i)), i % 2 ? &things[i] : NULL);
    assert_int_equal(m.used, N / 2);
    map_done(&m);
    free(things);
}

static void test_equal_hashes_are_told_apart_by_key(void **state)
{
    struct thing a = {.key = 1}, b = {.key = 2};
    struct map m;

    (void)state;
    map_init(&m);
    assert_int_equal(map_insert(&m, &a.node, 7), 0);
    assert_int_equal(map_insert(&m, &b.node, 7), 0);
    assert_ptr_equal(find(&m, 1, 7), &a);
    assert_ptr_equal(find(&m, 2, 7), &b);
    assert_null(find(&m, 3, 7));
    map_remove(&m, &a.node);
    assert_null(find(&m, 1, 7));
    assert_ptr_equal(find(&m, 2, 7), &b);
    map_done(&m);
}

static void remove_it(struct map_node *node, void *arg)
{
    map_remove(arg, node);
    free(CONTAINER(node, struct thing, node));
}

static void test_each_visits_all_and_may_remove_in_mid_growth(void **state)
{
    struct map m;

    (void)state;
    map_init(&m);
    for (uint64_t i = 0; i < 97; i++) {
        struct thing *t = calloc(1, sizeof *t);

        t->key = i;
        assert_int_equal(map_insert(&m, &t->node, num_mix(i)), 0);
    }
    assert_true(m.split > 0);
    map_each(&m, remove_it, &m);
    assert_int_equal(m.used, 0);
    map_done(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty_map_finds_nothing),
        cmocka_unit_test(test_everything_is_found_at_every_size_while_growing),
        cmocka_unit_test(test_equal_hashes_are_told_apart_by_key),
        cmocka_unit_test(test_each_visits_all_and_may_remove_in_mid_growth),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
