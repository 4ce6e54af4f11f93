/* How many connections to the source a folder is worth. */
#include "sync/width.h"

#include "cm.h"

enum { MIB = 1 << 20 };

/* Half a second that the source has held up, with much to come. */
static struct width_pace pace_of(uint64_t mib_a_second)
{
    return (struct width_pace){
        .bytes = mib_a_second * MIB / 2, .ms = 500, .dry_ms = 400, .left = (uint64_t)1000 * MIB};
}

/* As many as are wanted are had. Returns how many there are then. */
static size_t after(struct width *w, const struct width_pace *pace)
{
    size_t wanted = width_next(w, pace);

    if (wanted != w->links)
        width_set(w, wanted);
    return w->links;
}

static void test_each_step_that_pays_is_followed_by_another(void **state)
{
    struct width w = width_begin();

    (void)state;
    for (size_t links = 1; links < 16; links *= 2) {
        const struct width_pace pace = pace_of(links);

        assert_int_equal(after(&w, &pace), 2 * links);
    }
}

static void test_a_step_that_brings_nothing_is_taken_back_for_good(void **state)
{
    struct width w = width_begin();
    const struct width_pace pace = pace_of(10);

    (void)state;
    assert_int_equal(after(&w, &pace), 2);
    assert_int_equal(after(&w, &pace), 2); /* it may take some time to get up speed */
    assert_int_equal(after(&w, &pace), 1);
    assert_int_equal(after(&w, &pace), 1);
}

static void test_a_step_that_pays_late_is_kept(void **state)
{
    struct width w = width_begin();
    const struct width_pace before = pace_of(10), then = pace_of(19);

    (void)state;
    assert_int_equal(after(&w, &before), 2);
    assert_int_equal(after(&w, &before), 2);
    assert_int_equal(after(&w, &then), 4);
}

static void test_a_target_that_holds_it_up_wants_no_more(void **state)
{
    struct width w = width_begin();
    struct width_pace pace = pace_of(10);

    (void)state;
    pace.dry_ms = 200;
    assert_int_equal(width_next(&w, &pace), 1);
}

static void test_for_a_short_rest_none_is_opened(void **state)
{
    struct width w = width_begin();
    struct width_pace pace = pace_of(10);

    (void)state;
    pace.left = 20 * MIB;
    assert_int_equal(width_next(&w, &pace), 1);
    pace.left = 40 * MIB;
    assert_int_equal(width_next(&w, &pace), 2);
}

static void test_a_silent_source_tells_nothing(void **state)
{
    struct width w = width_begin();
    const struct width_pace pace = {.bytes = 100, .ms = 500, .dry_ms = 500, .left = MIB};

    (void)state;
    assert_int_equal(width_next(&w, &pace), 1);
}

static void test_what_is_not_to_be_had_is_not_asked_for_again(void **state)
{
    struct width w = width_begin();
    const struct width_pace pace = pace_of(10);

    (void)state;
    assert_int_equal(width_next(&w, &pace), 2);
    width_set(&w, 1);
    assert_int_equal(width_next(&w, &pace), 1);
}

static void test_a_part_of_what_was_wanted_is_judged_by_itself(void **state)
{
    struct width w = width_begin();
    const struct width_pace four = pace_of(4), five = pace_of(5);

    (void)state;
    width_set(&w, 4);
    assert_int_equal(width_next(&w, &four), 8);
    width_set(&w, 5); /* more are not let in */
    assert_int_equal(width_next(&w, &five), 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_step_that_pays_is_followed_by_another),
        cmocka_unit_test(test_a_step_that_brings_nothing_is_taken_back_for_good),
        cmocka_unit_test(test_a_step_that_pays_late_is_kept),
        cmocka_unit_test(test_a_target_that_holds_it_up_wants_no_more),
        cmocka_unit_test(test_for_a_short_rest_none_is_opened),
        cmocka_unit_test(test_a_silent_source_tells_nothing),
        cmocka_unit_test(test_what_is_not_to_be_had_is_not_asked_for_again),
        cmocka_unit_test(test_a_part_of_what_was_wanted_is_judged_by_itself),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
