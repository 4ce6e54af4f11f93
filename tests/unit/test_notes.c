/* The form of notes between controls: what is written is read as it was, and what is not of that
 * form is passed over. */
#include "control/notes.h"

#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct buf text;
static struct notes_writer w;
static struct notes_reader r;

static int setup(void **state)
{
    (void)state;
    buf_init(&text, NOTES_MAX, false);
    return notes_write(&w, &text);
}

static int teardown(void **state)
{
    (void)state;
    buf_release(&text);
    return 0;
}

static void assert_text(const char *want)
{
    struct slice is = buf_slice(&text);

    if (!slice_eq(is, slice_str(want)))
        fail_msg("\"%.*s\", not \"%s\"", SLICE_ARG(is), want);
}

static void reads(const char *lines)
{
    char *copy = NULL;

    /* Memory of its very size, so that a step beside it is seen. */
    buf_release(&text);
    assert_int_equal(buf_printf(&text, "usher notes 1\n%s", lines), 0);
    copy = malloc(buf_len(&text));
    assert_non_null(copy);
    memcpy(copy, buf_slice(&text).p, buf_len(&text));
    assert_true(notes_read(&r, slice_of(copy, buf_len(&text))));
    while (notes_next(&r) != NOTES_OVER)
        continue;
    free(copy);
    assert_true(notes_read(&r, buf_slice(&text)));
}

static void assert_value(const char *key, const char *want)
{
    struct slice is = notes_value(&r, key);

    if (!slice_eq(is, slice_str(want)))
        fail_msg("%s is \"%.*s\", not \"%s\"", key, SLICE_ARG(is), want);
}

static void test_a_line_is_a_kind_and_keys_with_values(void **state)
{
    (void)state;
    notes_begin(&w, "move");
    notes_slice(&w, "user", SLICE("ann"));
    notes_str(&w, "to", "mail2");
    notes_uint(&w, "age", UINT64_MAX);
    assert_int_equal(notes_end(&w), 0);
    assert_text("usher notes 1\nmove user=ann to=mail2 age=18446744073709551615\n");
    assert_true(notes_read(&r, buf_slice(&text)));
    assert_int_equal(notes_next(&r), NOTES_READ);
    assert_true(slice_eq(r.kind, SLICE("move")));
    assert_value("user", "ann");
    assert_value("to", "mail2");
    assert_true(notes_number(&r, "age", UINT64_MAX, 0) == UINT64_MAX);
    assert_int_equal(notes_next(&r), NOTES_OVER);
}

static void test_every_byte_of_a_value_comes_back(void **state)
{
    char all[256];

    (void)state;
    for (int i = 0; i < 256; i++)
        all[i] = (char)i;
    notes_begin(&w, "user");
    notes_slice(&w, "name", slice_of(all, sizeof all));
    notes_slice(&w, "pool", SLICE(""));
    assert_int_equal(notes_end(&w), 0);
    assert_true(notes_read(&r, buf_slice(&text)));
    assert_int_equal(notes_next(&r), NOTES_READ);
    assert_true(slice_eq(notes_value(&r, "name"), slice_of(all, sizeof all)));
    assert_value("pool", "");
    assert_int_equal(notes_next(&r), NOTES_OVER);
}

static void test_a_line_that_is_too_long_is_not_written(void **state)
{
    static char long_one[NOTES_LINE];

    (void)state;
    memset(long_one, 'x', sizeof long_one);
    for (size_t n = NOTES_LINE - 20; n <= NOTES_LINE; n++) {
        size_t before = buf_len(&text), line = strlen("user name=\n") + n;

        notes_begin(&w, "user");
        notes_slice(&w, "name", slice_of(long_one, n));
        assert_int_equal(notes_end(&w), line <= NOTES_LINE ? 0 : -1);
        assert_int_equal(buf_len(&text) - before, line <= NOTES_LINE ? line : 0);
    }
    assert_true(notes_read(&r, buf_slice(&text)));
    assert_int_equal(notes_next(&r), NOTES_READ);
    assert_int_equal(notes_value(&r, "name").n, NOTES_LINE - 20);
    notes_begin(&w, "user");
    assert_int_equal(notes_end(&w), 0);
}

static void test_above_the_ceiling_whole_lines_are_left_out(void **state)
{
    struct buf small;
    struct notes_writer tight;

    (void)state;
    buf_init(&small, 25, false);
    assert_int_equal(notes_write(&tight, &small), 0);
    notes_begin(&tight, "user");
    notes_str(&tight, "name", "ann");
    assert_int_equal(notes_end(&tight), -1);
    notes_begin(&tight, "user");
    assert_int_equal(notes_end(&tight), 0);
    assert_true(slice_eq(buf_slice(&small), SLICE("usher notes 1\nuser\n")));
    buf_release(&small);
    buf_init(&small, 5, false);
    assert_int_equal(notes_write(&tight, &small), -1);
    buf_release(&small);
}

static void test_what_are_no_notes_is_not_read(void **state)
{
    static const char *const none[] = {"",
                                       "usher",
                                       "usher notes 1",
                                       "notes 1\n",
                                       "usher notes 2\n",
                                       "usher notes 11\n",
                                       "\nusher notes 1\n"};

    (void)state;
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_false(notes_read(&r, slice_str(none[i])));
}

static void test_a_line_that_is_none_is_passed_over_alone(void **state)
{
    static const char *const none[] = {
        "",           " ",           "Move",      "move user",  "move  user=a", "move =a",
        "move u1=a",  "move a=%",    "move a=%4", "move a=%4G", "move a=%g4",   "move a=%4A",
        "move a=b=c", "move a=\x80", "move a=\t", "move a=b\r", " move",        "9"};

    (void)state;
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        char lines[128];

        snprintf(lines, sizeof lines, "%s\nmove a=%%41\n", none[i]);
        reads(lines);
        assert_int_equal(notes_next(&r), NOTES_BAD);
        assert_value("a", "");
        assert_int_equal(notes_next(&r), NOTES_READ);
        assert_value("a", "A");
        assert_int_equal(notes_next(&r), NOTES_OVER);
    }
}

static void test_a_line_that_is_too_long_is_passed_over(void **state)
{
    char lines[2 * NOTES_LINE + 16] = "user name=";

    (void)state;
    memset(lines + strlen(lines), 'x', NOTES_LINE);
    strcat(lines, "\nuser name=ann\n");
    reads(lines);
    assert_int_equal(notes_next(&r), NOTES_BAD);
    assert_value("name", "");
    assert_int_equal(notes_next(&r), NOTES_READ);
    assert_value("name", "ann");
}

static void test_more_keys_than_count_do_no_harm(void **state)
{
    char lines[512] = "move";

    (void)state;
    for (int i = 0; i < NOTES_PAIRS; i++)
        strcat(lines, " a=b");
    strcat(lines, " c=d\nmove c=d\n");
    reads(lines);
    assert_int_equal(notes_next(&r), NOTES_READ);
    assert_value("a", "b");
    assert_value("c", "");
    assert_int_equal(notes_next(&r), NOTES_READ);
    assert_value("c", "d");
}

static void test_a_number_that_is_none_or_too_large_counts_as_missing(void **state)
{
    (void)state;
    reads("move a=7 b=x c= d=-1 e=18446744073709551616 f=%37\n");
    assert_int_equal(notes_next(&r), NOTES_READ);
    assert_int_equal(notes_number(&r, "a", 7, 1), 7);
    assert_int_equal(notes_number(&r, "a", 6, 1), 1);
    assert_int_equal(notes_number(&r, "b", 99, 1), 1);
    assert_int_equal(notes_number(&r, "c", 99, 1), 1);
    assert_int_equal(notes_number(&r, "d", 99, 1), 1);
    assert_int_equal(notes_number(&r, "e", UINT64_MAX, 1), 1);
    assert_int_equal(notes_number(&r, "f", 99, 1), 7);
    assert_int_equal(notes_number(&r, "g", 99, 1), 1);
}

static void test_the_last_line_may_lack_its_end(void **state)
{
    (void)state;
    reads("move a=b");
    assert_int_equal(notes_next(&r), NOTES_READ);
    assert_value("a", "b");
    assert_int_equal(notes_next(&r), NOTES_OVER);
    assert_int_equal(notes_next(&r), NOTES_OVER);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_line_is_a_kind_and_keys_with_values),
        TEST(test_every_byte_of_a_value_comes_back),
        TEST(test_a_line_that_is_too_long_is_not_written),
        TEST(test_above_the_ceiling_whole_lines_are_left_out),
        TEST(test_what_are_no_notes_is_not_read),
        TEST(test_a_line_that_is_none_is_passed_over_alone),
        TEST(test_a_line_that_is_too_long_is_passed_over),
        TEST(test_more_keys_than_count_do_no_harm),
        TEST(test_a_number_that_is_none_or_too_large_counts_as_missing),
        TEST(test_the_last_line_may_lack_its_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
