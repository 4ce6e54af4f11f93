/* What is kept of a directory's answers, how long, and who makes room. Time is an argument. */
#include "cm.h"

#include "directory/cache.h"
#include "directory/facts.h"
#include "ipc/message.h"

#include <stdio.h>
#include <string.h>

static struct directory_cache *cache;

static void make(size_t size)
{
    const struct directory_cache_params params = {
        .size = size, .found_ms = 1000, .unknown_ms = 100, .stale_ms = 5000};

    cache = directory_cache_new(&params);
    assert_non_null(cache);
}

static int teardown(void **state)
{
    (void)state;
    directory_cache_free(&cache);
    assert_null(cache);
    directory_cache_free(&cache);
    return 0;
}

static void put(const char *user, const char *text, uint64_t now_ms)
{
    directory_cache_put(cache, slice_str(user), text != NULL, slice_str(text), now_ms);
}

static enum directory_kept how(const char *user, uint64_t now_ms)
{
    struct directory_cached answer;

    return directory_cache_find(cache, slice_str(user), now_ms, &answer);
}

static void assert_text(const char *user, uint64_t now_ms, const char *text)
{
    struct directory_cached answer = {0};

    assert_int_not_equal(directory_cache_find(cache, slice_str(user), now_ms, &answer), KEPT_NONE);
    assert_int_equal(answer.is_found, text != NULL);
    assert_true(slice_eq(answer.text, slice_str(text)));
}

static void test_an_answer_is_fresh_then_stale_then_gone(void **state)
{
    struct directory_cached answer;

    (void)state;
    make(9);
    assert_int_equal(how("ann", 10), KEPT_NONE);
    put("ann", "pool=main", 10);
    assert_int_equal(how("ann", 10), KEPT_FRESH);
    assert_int_equal(how("ann", 1009), KEPT_FRESH);
    assert_int_equal(how("ann", 1010), KEPT_STALE);
    assert_int_equal(directory_cache_find(cache, SLICE("ann"), 5009, &answer), KEPT_STALE);
    assert_int_equal(answer.age_ms, 4999);
    assert_text("ann", 5009, "pool=main");
    assert_int_equal(how("ann", 5010), KEPT_NONE);
    assert_int_equal(how("An", 10), KEPT_NONE);
    assert_int_equal(how("anna", 10), KEPT_NONE);
}

static void test_that_a_user_is_not_known_has_a_time_of_its_own(void **state)
{
    (void)state;
    make(9);
    put("ann", NULL, 10);
    assert_text("ann", 109, NULL);
    assert_int_equal(how("ann", 109), KEPT_FRESH);
    assert_int_equal(how("ann", 110), KEPT_STALE);
    assert_int_equal(how("ann", 5010), KEPT_NONE);
}

static void test_a_fresh_answer_is_used_though_none_may_be_stale(void **state)
{
    const struct directory_cache_params params = {.size = 9, .found_ms = 1000};

    (void)state;
    cache = directory_cache_new(&params);
    put("ann", "", 10);
    put("bob", NULL, 10);
    assert_int_equal(how("ann", 1009), KEPT_FRESH);
    assert_int_equal(how("ann", 1010), KEPT_NONE);
    assert_int_equal(how("bob", 10), KEPT_NONE);
}

static void test_a_newer_answer_takes_the_place_of_an_older(void **state)
{
    (void)state;
    make(9);
    put("ann", "pool=main", 10);
    put("ann", "pool=other", 900);
    assert_text("ann", 1800, "pool=other");
    assert_int_equal(how("ann", 1800), KEPT_FRESH);
    put("ann", NULL, 1850);
    assert_text("ann", 1860, NULL);
    assert_int_equal(directory_cache_count(cache), 1);
}

static void test_time_that_seems_to_go_back_makes_nothing_old(void **state)
{
    struct directory_cached answer;

    (void)state;
    make(9);
    put("ann", "pool=main", 500);
    assert_int_equal(directory_cache_find(cache, SLICE("ann"), 100, &answer), KEPT_FRESH);
    assert_int_equal(answer.age_ms, 0);
}

static void test_the_one_used_longest_ago_makes_room(void **state)
{
    (void)state;
    make(3);
    put("ann", "", 1);
    put("bob", "", 2);
    put("carol", "", 3);
    assert_int_equal(how("ann", 4), KEPT_FRESH);
    put("dave", "", 5);
    assert_int_equal(directory_cache_count(cache), 3);
    assert_int_equal(how("bob", 6), KEPT_NONE);
    assert_int_equal(how("ann", 6), KEPT_FRESH);
    put("carol", "", 7);
    put("eve", "", 8);
    assert_int_equal(how("dave", 9), KEPT_NONE);
    assert_int_equal(how("carol", 9), KEPT_FRESH);
}

static void test_a_cache_of_one_has_the_last(void **state)
{
    (void)state;
    make(1);
    put("ann", "", 1);
    put("bob", "", 2);
    assert_int_equal(how("ann", 3), KEPT_NONE);
    assert_int_equal(how("bob", 3), KEPT_FRESH);
    assert_int_equal(directory_cache_count(cache), 1);
}

/* Else what nobody asks for any more would stay, secrets and all, as long as there is room. */
static void test_what_is_too_old_goes_when_others_come(void **state)
{
    char name[16];

    (void)state;
    make(1000);
    for (unsigned i = 0; i < 10; i++) {
        snprintf(name, sizeof name, "old%u", i);
        put(name, "", 1);
    }
    for (unsigned i = 0; i < 5; i++) {
        snprintf(name, sizeof name, "new%u", i);
        put(name, "", 5001);
    }
    assert_int_equal(directory_cache_count(cache), 5);
    assert_int_equal(how("new0", 5001), KEPT_FRESH);
}

static void test_a_flush_forgets_one_user_or_all(void **state)
{
    (void)state;
    make(9);
    put("ann", "", 1);
    put("bob", NULL, 1);
    put("carol", "", 1);
    assert_int_equal(directory_cache_flush(cache, SLICE("nobody")), 0);
    assert_int_equal(directory_cache_flush(cache, SLICE("ann")), 1);
    assert_int_equal(how("ann", 1), KEPT_NONE);
    assert_int_equal(how("bob", 1), KEPT_FRESH);
    assert_int_equal(directory_cache_flush(cache, SLICE("")), 2);
    assert_int_equal(directory_cache_flush(cache, SLICE("")), 0);
    put("bob", "", 2);
    assert_int_equal(how("bob", 2), KEPT_FRESH);
}

static void test_names_and_texts_may_be_as_long_as_they_get(void **state)
{
    char user[IPC_USER_MAX], text[FACTS_MAX];
    struct directory_cached answer;

    (void)state;
    make(2);
    memset(user, 'u', sizeof user);
    memset(text, 't', sizeof text);
    user[7] = '\n';
    directory_cache_put(cache, slice_of(user, sizeof user), true, slice_of(text, sizeof text), 1);
    assert_int_equal(directory_cache_find(cache, slice_of(user, sizeof user), 1, &answer),
                     KEPT_FRESH);
    assert_true(slice_eq(answer.text, slice_of(text, sizeof text)));
}

static void test_many_are_found_each(void **state)
{
    char name[16];

    (void)state;
    make(20000);
    for (unsigned i = 0; i < 30000; i++) {
        snprintf(name, sizeof name, "user%u", i);
        put(name, name, 1);
    }
    assert_int_equal(directory_cache_count(cache), 20000);
    for (unsigned i = 0; i < 30000; i++) {
        snprintf(name, sizeof name, "user%u", i);
        if (i < 10000)
            assert_int_equal(how(name, 2), KEPT_NONE);
        else
            assert_text(name, 2, name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_an_answer_is_fresh_then_stale_then_gone, teardown),
        cmocka_unit_test_teardown(test_that_a_user_is_not_known_has_a_time_of_its_own, teardown),
        cmocka_unit_test_teardown(test_a_fresh_answer_is_used_though_none_may_be_stale, teardown),
        cmocka_unit_test_teardown(test_a_newer_answer_takes_the_place_of_an_older, teardown),
        cmocka_unit_test_teardown(test_time_that_seems_to_go_back_makes_nothing_old, teardown),
        cmocka_unit_test_teardown(test_the_one_used_longest_ago_makes_room, teardown),
        cmocka_unit_test_teardown(test_a_cache_of_one_has_the_last, teardown),
        cmocka_unit_test_teardown(test_what_is_too_old_goes_when_others_come, teardown),
        cmocka_unit_test_teardown(test_a_flush_forgets_one_user_or_all, teardown),
        cmocka_unit_test_teardown(test_names_and_texts_may_be_as_long_as_they_get, teardown),
        cmocka_unit_test_teardown(test_many_are_found_each, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
