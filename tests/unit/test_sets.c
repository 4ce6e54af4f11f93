/* Sequence sets: read and written range by range. */
#include "pieces.h"

#include "imap/set.h"

/* The ranges, and " !" with what could not be read. */
static char *ranges(struct slice set, uint32_t star)
{
    struct set_range range;
    struct buf told;

    told_init(&told);
    while (set_next(&set, star, &range))
        tell(&told, "%u-%u ", range.first, range.last);
    if (set.n > 0)
        tell(&told, "!%.*s", SLICE_ARG(set));
    return told_done(&told);
}

static void test_sets_are_read(void **state)
{
    static const struct {
        const char *set;
        uint32_t star;
        const char *ranges;
        uint32_t count; /* without "*" */
    } rows[] = {
        {"", 0, "", 0},
        {"1", 0, "1-1 ", 1},
        {"1:3", 0, "1-3 ", 3},
        {"7:3", 0, "3-7 ", 5},
        {"2,4:7,9", 0, "2-2 4-7 9-9 ", 6},
        {"5,5,5:5", 0, "5-5 5-5 5-5 ", 3},
        {"0000000000000007", 0, "7-7 ", 1},
        {"4294967295", 0, "4294967295-4294967295 ", 1},
        {"1:4294967295", 0, "1-4294967295 ", 4294967295},
        {"1:4294967295,1", 0, "1-4294967295 1-1 ", 0},
        {"12:*", 20, "12-20 ", 0},
        {"*:12", 20, "12-20 ", 0},
        {"*:12", 3, "3-12 ", 0},
        {"1,*", 20, "1-1 20-20 ", 0},
        {"*:*", 20, "20-20 ", 0},
        {"*", 0, "!*", 0},
        {"3,1:*", 0, "3-3 !1:*", 0},
        {"0", 0, "!0", 0},
        {"1,0:5", 0, "1-1 !0:5", 0},
        {"1:0", 0, "!1:0", 0},
        {"4294967296", 0, "!4294967296", 0},
        {"99999999999999999999999", 0, "!99999999999999999999999", 0},
        {"1,", 0, "1-1 !,", 0},
        {",1", 0, "!,1", 0},
        {"1,,2", 0, "1-1 !,2", 0},
        {",", 0, "!,", 0},
        {"1:", 0, "!1:", 0},
        {":1", 0, "!:1", 0},
        {"1:2:3", 0, "!1:2:3", 0},
        {"1-3", 0, "!1-3", 0},
        {"1 2", 0, "!1 2", 0},
        {"2,x", 0, "2-2 !x", 0},
        {"-1", 0, "!-1", 0},
        {"+1", 0, "!+1", 0},
        {"**", 5, "!**", 0},
        {"1*", 5, "!1*", 0},
        {"$", 5, "!$", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *told = ranges(slice_str(rows[i].set), rows[i].star);

        assert_string_equal(told, rows[i].ranges);
        free(told);
        assert_int_equal(set_count(slice_str(rows[i].set)), rows[i].count);
    }
}

static void test_numbers_are_written_as_ranges(void **state)
{
    static const struct {
        uint32_t numbers[8];
        const char *set;
    } rows[] = {
        {{0}, ""},
        {{1}, "1"},
        {{1, 2}, "1:2"},
        {{1, 2, 3, 5}, "1:3,5"},
        {{1, 3, 4, 6, 7, 8}, "1,3:4,6:8"},
        {{9, 8, 7}, "9,8,7"},
        {{5, 5, 6, 5, 6, 7}, "5:7"},
        {{UINT32_MAX - 1, UINT32_MAX, 1}, "4294967294:4294967295,1"},
        {{UINT32_MAX, UINT32_MAX, 1}, "4294967295,1"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct buf out;
        struct set_writer w = set_writer(&out);
        char *told;

        told_init(&out);
        for (size_t k = 0; rows[i].numbers[k] > 0; k++)
            assert_int_equal(set_put(&w, rows[i].numbers[k]), 0);
        assert_int_equal(set_length(&w), strlen(rows[i].set));
        assert_int_equal(set_end(&w), 0);
        assert_int_equal(set_length(&w), strlen(rows[i].set));
        told = told_done(&out);
        assert_string_equal(told, rows[i].set);
        free(told);
    }
}

static void test_a_set_is_written_behind_other_bytes_and_goes_on_behind_its_end(void **state)
{
    struct buf out;
    struct set_writer w = set_writer(&out);
    char *told;

    (void)state;
    told_init(&out);
    assert_int_equal(buf_puts(&out, "UID FETCH "), 0);
    assert_int_equal(set_put(&w, 1), 0);
    assert_int_equal(set_end(&w), 0);
    assert_int_equal(set_end(&w), 0);
    assert_int_equal(set_put(&w, 2), 0);
    assert_int_equal(set_length(&w), 3);
    assert_int_equal(set_end(&w), 0);
    told = told_done(&out);
    assert_string_equal(told, "UID FETCH 1,2");
    free(told);
}

static void test_a_range_that_does_not_fit_changes_nothing(void **state)
{
    struct buf out;
    struct set_writer w = set_writer(&out);

    (void)state;
    buf_init(&out, 8, false);
    assert_int_equal(set_put(&w, 10), 0);
    assert_int_equal(set_put(&w, 11), 0);
    assert_int_equal(set_put(&w, 20), 0);
    assert_int_equal(set_put(&w, 30), 0);
    assert_int_equal(set_put(&w, 40), -1);
    assert_int_equal(set_put(&w, 40), -1);
    assert_int_equal(set_length(&w), 11);
    assert_true(slice_eq(buf_slice(&out), SLICE("10:11,20")));
    assert_int_equal(set_end(&w), -1);
    buf_take(&out, 8);
    assert_int_equal(set_end(&w), 0);
    assert_true(slice_eq(buf_slice(&out), SLICE(",30")));
    buf_release(&out);
}

static uint32_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)(*seed >> 33);
}

/* Any numbers, as they come back; no longer than promised. */
static void test_what_is_written_is_read_again(void **state)
{
    uint64_t seed = 1;

    (void)state;
    for (int round = 0; round < 300; round++) {
        uint32_t numbers[500], n = next_random(&seed) % 500, at = 1 + next_random(&seed) % 1000;
        struct buf out;
        struct set_writer w = set_writer(&out);
        struct set_range range;
        struct slice set;
        uint32_t k = 0;

        told_init(&out);
        for (uint32_t i = 0; i < n; i++) {
            size_t before = set_length(&w);

            at += 1 + (next_random(&seed) % 3 ? 0 : next_random(&seed) % 9000000);
            numbers[i] = at;
            assert_int_equal(set_put(&w, at), 0);
            assert_in_range(set_length(&w), before, before + SET_NUMBER);
        }
        assert_int_equal(set_end(&w), 0);
        set = buf_slice(&out);
        assert_int_equal(set_count(set), n);
        while (set_next(&set, 0, &range)) {
            for (uint32_t i = range.first; i <= range.last; i++)
                assert_int_equal(numbers[k++], i);
        }
        assert_int_equal(k, n);
        assert_int_equal(set.n, 0);
        buf_release(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sets_are_read),
        cmocka_unit_test(test_numbers_are_written_as_ranges),
        cmocka_unit_test(test_a_set_is_written_behind_other_bytes_and_goes_on_behind_its_end),
        cmocka_unit_test(test_a_range_that_does_not_fit_changes_nothing),
        cmocka_unit_test(test_what_is_written_is_read_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
