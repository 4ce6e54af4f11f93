/* What workers' indices stand for, when their configuration is not control's. */
#include "control/names.h"

#include "names_said.h"

#include <stdio.h>
#include <stdlib.h>

static const char ours[] = "listener a { address = \"*:1\" }\n"
                           "listener b { address = \"*:2\" pool = two }\n"
                           "pool one { backend x { address = \"192.0.2.1:143\" }\n"
                           "  backend y { address = \"192.0.2.2:143\" } }\n"
                           "pool two { backend z { address = \"192.0.2.3:143\" } }\n";

/* In another order; y is another server, z has come from another pool, and some are gone. */
static const char theirs[] = "listener gone { address = \"*:4\" pool = void }\n"
                             "listener b { address = \"*:2\" pool = three }\n"
                             "listener old { address = \"*:3\" pool = two }\n"
                             "pool void { backend v { address = \"192.0.2.9:143\" } }\n"
                             "pool two { backend w { address = \"192.0.2.8:143\" } }\n"
                             "pool three { backend z { address = \"192.0.2.3:143\" } }\n"
                             "pool one { backend y { address = \"192.0.2.7:143\" }\n"
                             "  backend x { address = \"192.0.2.1:143\" max_sessions = 7 } }\n";

static struct conf *conf, *other;
static struct backends backends;
static struct names n;
static struct err err;

static int setup(void **state)
{
    (void)state;
    if (conf_load_text(ours, "ours", &conf, &err) < 0 ||
        conf_load_text(theirs, "theirs", &other, &err) < 0 ||
        backends_init(&backends, conf, &err) < 0)
        return -1;
    names_init(&n, &backends);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    names_done(&n);
    backends_done(&backends);
    conf_free(&conf);
    conf_free(&other);
    return 0;
}

static uint32_t number(const char *title)
{
    uint32_t found = backends_find(&backends, slice_str(title));

    assert_int_not_equal(found, BACKEND_NONE);
    return found;
}

static uint16_t door(uint32_t listener)
{
    uint16_t pool = 77;

    assert_true(names_door(&n, listener, &pool));
    return pool;
}

static struct whereabouts at(uint16_t pool, uint16_t backend)
{
    const struct msg_replay m = {.stage = REPLAY_RELAY, .pool = pool, .backend = backend};
    struct whereabouts found;

    assert_null(names_whereabouts(&n, &m, &found));
    return found;
}

static void assert_called(const char *title, int pool, int index)
{
    uint16_t in = 77, i = 77;

    assert_true(names_index(&n, number(title), &in, &i));
    assert_int_equal(in, pool);
    assert_int_equal(i, index);
}

static void assert_not_called(const char *title)
{
    uint16_t in, i;

    assert_false(names_index(&n, number(title), &in, &i));
}

static void test_a_worker_of_the_same_configuration_means_the_same(void **state)
{
    (void)state;
    say_names(conf, take_said, &n);
    assert_int_equal(door(0), 0);
    assert_int_equal(door(1), 1);
    assert_int_equal(at(0, 1).pool, 0);
    assert_int_equal(at(0, 1).backend, number("y"));
    assert_int_equal(at(1, 0).pool, 1);
    assert_int_equal(at(1, 0).backend, number("z"));
    assert_called("x", 0, 0);
    assert_called("y", 0, 1);
    assert_called("z", 1, 0);
    assert_int_equal(backends.titles_n, backends.n);
}

static void test_pools_and_backends_are_known_by_their_titles(void **state)
{
    (void)state;
    say_names(other, take_said, &n);
    assert_int_equal(at(3, 0).pool, 0);
    assert_int_equal(at(3, 0).backend, number("y"));
    assert_int_equal(at(3, 1).backend, number("x"));
    assert_int_equal(at(1, 0).pool, 1);
    assert_true(backends_is_stranger(&backends, at(1, 0).backend));
    assert_string_equal(backends_title(&backends, at(1, 0).backend), "w");
}

static void test_a_pool_that_is_gone_is_removed(void **state)
{
    (void)state;
    say_names(other, take_said, &n);
    assert_int_equal(at(0, 0).pool, conf->pools_n);
    assert_string_equal(conf->pools[at(0, 0).pool].title, "removed");
    assert_int_equal(at(2, 0).pool, conf->pools_n);
    assert_int_equal(at(2, 0).backend, number("z"));
    assert_false(backends_has(&backends, at(2, 0).backend, at(2, 0).pool));
}

static void test_only_what_means_the_same_can_be_leased(void **state)
{
    (void)state;
    say_names(other, take_said, &n);
    assert_called("x", 3, 1); /* how many sessions it may have is nothing to the worker */
    assert_not_called("y");
    assert_not_called("z");
    assert_not_called("w");
}

static void test_a_listener_stands_for_the_pool_that_it_has_now(void **state)
{
    (void)state;
    say_names(other, take_said, &n);
    assert_int_equal(door(1), 1); /* as control has b */
    assert_int_equal(door(2), 1); /* gone, its pool is not */
    assert_int_equal(door(0), 0); /* both are gone */
}

static void test_a_listener_may_be_named_before_its_pool(void **state)
{
    const struct msg_name pool = {.kind = NAME_POOL},
                          listener = {.kind = NAME_LISTENER, .index = 0, .pool = 0};

    (void)state;
    assert_null(names_take(&n, &listener, SLICE("old")));
    assert_int_equal(door(0), 0);
    assert_null(names_take(&n, &pool, SLICE("two")));
    assert_int_equal(door(0), 1);
}

static void test_what_was_not_named_is_not_known(void **state)
{
    const struct msg_replay open = {.stage = REPLAY_OPEN, .pool = 99, .backend = 99};
    struct msg_replay relay = {.stage = REPLAY_RELAY, .pool = 2};
    struct whereabouts found;
    uint16_t pool;

    (void)state;
    assert_false(names_door(&n, 0, &pool));
    assert_non_null(names_whereabouts(&n, &open, &found));
    assert_not_called("x");
    say_names(conf, take_said, &n);
    assert_false(names_door(&n, 2, &pool));
    assert_null(names_whereabouts(&n, &open, &found));
    assert_int_equal(found.backend, BACKEND_NONE);
    assert_non_null(names_whereabouts(&n, &relay, &found));
    relay.pool = 1;
    relay.backend = 1;
    assert_non_null(names_whereabouts(&n, &relay, &found));
    relay.backend = 0;
    relay.listener = 2;
    assert_non_null(names_whereabouts(&n, &relay, &found));
    assert_false(names_index(&n, BACKEND_NONE, &pool, &pool));
}

static const char *take(uint16_t kind, uint32_t pool, uint32_t index, const char *title)
{
    const struct msg_name m = {.kind = kind, .pool = (uint16_t)pool, .index = index};

    return names_take(&n, &m, slice_str(title));
}

static void test_each_index_is_named_once_and_in_order(void **state)
{
    (void)state;
    say_names(other, take_said, &n);
    assert_non_null(take(NAME_LISTENER, 0, 0, "a"));
    assert_non_null(take(NAME_LISTENER, 0, 4, "a"));
    assert_non_null(take(NAME_POOL, 0, 1, "one"));
    assert_non_null(take(NAME_POOL, 0, UINT32_MAX, "one"));
    assert_non_null(take(NAME_BACKEND, 1, 0, "x"));
    assert_non_null(take(NAME_BACKEND, 1, 2, "x"));
    assert_non_null(take(NAME_BACKEND, UINT16_MAX, 0, "x"));
    assert_non_null(take(NAME_LISTENER, UINT16_MAX, 3, "a"));
    assert_non_null(take(NAME_BACKEND + 1, 0, 0, "x"));
    assert_called("x", 3, 1);
    assert_int_equal(door(0), 0);
    assert_string_equal(backends_title(&backends, at(1, 0).backend), "w");
}

static void test_the_first_of_two_names_for_one_backend_counts(void **state)
{
    struct msg_name m = {.kind = NAME_BACKEND, .meaning = conf_meaning(conf, 0, 0)};

    (void)state;
    assert_null(names_take(&n, &m, SLICE("x")));
    m.index = 1;
    assert_null(names_take(&n, &m, SLICE("x")));
    assert_called("x", 0, 0);
}

static void test_what_is_no_title_is_not_taken(void **state)
{
    static const struct slice wrong[] = {
        SLICE(""),
        SLICE("a b"),
        SLICE("a\n"),
        SLICE("a\0b"),
        SLICE(".a"),
        SLICE("\xff"),
        SLICE("0123456789012345678901234567890123456789012345678901234567890123")};

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        for (uint16_t kind = NAME_LISTENER; kind <= NAME_BACKEND; kind++)
            assert_non_null(names_take(&n, &(struct msg_name){.kind = kind}, wrong[i]));
    }
    assert_null(take(NAME_BACKEND, 0, 0, "A.b_c-9"));
    assert_int_equal(backends.titles_n, backends.n + 1);
}

/* Thousands, by one worker and by one channel after the other. */
static void test_there_are_no_more_names_than_may_be(void **state)
{
    size_t taken = 0;

    (void)state;
    for (uint32_t i = 0; i < 2 * CONF_BACKENDS_MAX; i++) {
        char title[16];

        snprintf(title, sizeof title, "b%u", i);
        taken += !take(NAME_BACKEND, i % 2, i / 2, title);
        take(NAME_POOL, 0, i, title);
        take(NAME_LISTENER, 0, i, title);
    }
    assert_int_equal(taken, CONF_BACKENDS_MAX);
    assert_int_equal(n.pools_n, CONF_POOLS_MAX);
    assert_int_equal(n.listeners_n, CONF_LISTENERS_MAX);
    for (uint32_t i = 0; backends.titles_n < BACKENDS_TITLES_MAX; i++) {
        char title[16];

        if (i % CONF_BACKENDS_MAX == 0) {
            names_done(&n);
            names_init(&n, &backends);
        }
        snprintf(title, sizeof title, "c%u", i);
        assert_null(take(NAME_BACKEND, 0, i % CONF_BACKENDS_MAX, title));
    }
}

/* One worker has brought as many strangers as there may be: another is known by all its indices. */
static void test_further_strangers_are_one_stranger(void **state)
{
    struct whereabouts at, behind;
    uint32_t i = 0;

    (void)state;
    while (backends.titles_n < BACKENDS_TITLES_MAX) {
        char title[16];

        snprintf(title, sizeof title, "c%u", i++);
        assert_int_not_equal(backends_number(&backends, slice_str(title)), BACKEND_NONE);
    }
    assert_null(take(NAME_LISTENER, 0, 0, "one"));
    assert_null(take(NAME_POOL, 0, 0, "p"));
    assert_null(take(NAME_BACKEND, 0, 0, "gone"));
    assert_null(take(NAME_BACKEND, 0, 1, "gone-too"));
    assert_null(take(NAME_BACKEND, 0, 2, "c0"));
    assert_null(take(NAME_BACKEND, 0, 3, "x"));
    assert_null(names_whereabouts(&n, &(struct msg_replay){.stage = REPLAY_RELAY}, &at));
    assert_true(backends_is_stranger(&backends, at.backend));
    assert_null(
        names_whereabouts(&n, &(struct msg_replay){.stage = REPLAY_RELAY, .backend = 1}, &behind));
    assert_int_equal(at.backend, behind.backend);
    assert_null(
        names_whereabouts(&n, &(struct msg_replay){.stage = REPLAY_RELAY, .backend = 2}, &behind));
    assert_string_equal(backends_title(&backends, behind.backend), "c0");
    assert_null(
        names_whereabouts(&n, &(struct msg_replay){.stage = REPLAY_RELAY, .backend = 3}, &behind));
    assert_string_equal(backends_title(&backends, behind.backend), "x");
    assert_int_equal(backends.titles_n, BACKENDS_TITLES_MAX + 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_worker_of_the_same_configuration_means_the_same),
        TEST(test_pools_and_backends_are_known_by_their_titles),
        TEST(test_a_pool_that_is_gone_is_removed),
        TEST(test_only_what_means_the_same_can_be_leased),
        TEST(test_a_listener_stands_for_the_pool_that_it_has_now),
        TEST(test_a_listener_may_be_named_before_its_pool),
        TEST(test_what_was_not_named_is_not_known),
        TEST(test_each_index_is_named_once_and_in_order),
        TEST(test_the_first_of_two_names_for_one_backend_counts),
        TEST(test_what_is_no_title_is_not_taken),
        TEST(test_there_are_no_more_names_than_may_be),
        TEST(test_further_strangers_are_one_stranger),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
