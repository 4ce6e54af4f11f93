/* Regular expressions for those who replace: where they match, what groups hold, and bounds. What
 * those use who only ask whether they match is in test_facts_map.c. */
#include "base/regex.h"

#include "cm.h"

#include <string.h>

static struct regex_space *space;

static struct regex *new_regex(const char *pattern, unsigned how)
{
    struct regex *r = NULL;
    struct err err;

    if (regex_new_with(slice_str(pattern), how, &r, &err) < 0)
        fail_msg("%s: %s", pattern, err.text);
    return r;
}

static enum regex_result search(const char *pattern, unsigned how, const char *subject, size_t from)
{
    struct regex *r = new_regex(pattern, how);
    const enum regex_result result = regex_search(r, space, slice_str(subject), from, false);

    regex_free(&r);
    return result;
}

static void expect_group(size_t i, size_t from, size_t to)
{
    struct regex_span span = {99, 99};

    assert_true(regex_group(space, i, &span));
    assert_int_equal(span.from, from);
    assert_int_equal(span.to, to);
}

static void test_groups_tell_what_they_have_matched(void **state)
{
    struct regex *r = new_regex("(a)(x)?(b+)", 0);
    struct regex_span span;

    (void)state;
    assert_int_equal(regex_groups(r), 3);
    assert_int_equal(regex_search(r, space, SLICE("..abb."), 0, false), REGEX_YES);
    expect_group(0, 2, 5);
    expect_group(1, 2, 3);
    assert_false(regex_group(space, 2, &span));
    expect_group(3, 3, 5);
    assert_false(regex_group(space, 4, &span));
    assert_false(regex_group(space, REGEX_GROUPS + 1, &span));
    assert_int_equal(regex_search(r, space, SLICE("none"), 0, false), REGEX_NO);
    assert_false(regex_group(space, 0, &span));
    regex_free(&r);
}

static void test_more_groups_than_can_be_told_do_no_harm(void **state)
{
    char pattern[3 * (REGEX_GROUPS + 20) + 1] = "";
    struct regex_span span;
    struct regex *r;

    (void)state;
    for (size_t i = 0; i < REGEX_GROUPS + 20; i++)
        memcpy(pattern + 3 * i, "(.)", 4);
    r = new_regex(pattern, 0);
    assert_int_equal(regex_groups(r), REGEX_GROUPS + 20);
    assert_int_equal(regex_search(r, space, slice_str(pattern), 1, false), REGEX_YES);
    expect_group(REGEX_GROUPS, REGEX_GROUPS, REGEX_GROUPS + 1);
    assert_false(regex_group(space, REGEX_GROUPS + 1, &span));
    regex_free(&r);
}

static void test_a_search_goes_on_from_where_it_is_told(void **state)
{
    struct regex *r = new_regex("x*", 0);

    (void)state;
    assert_int_equal(search("^a", 0, "aa", 1), REGEX_NO);
    assert_int_equal(search("(?<=a)a", 0, "aa", 1), REGEX_YES);
    expect_group(0, 1, 2);
    assert_int_equal(regex_search(r, space, SLICE("ax"), 0, false), REGEX_YES);
    expect_group(0, 0, 0);
    assert_int_equal(regex_search(r, space, SLICE("ax"), 0, true), REGEX_YES);
    expect_group(0, 1, 2);
    assert_int_equal(regex_search(r, space, SLICE("ax"), 2, false), REGEX_YES);
    expect_group(0, 2, 2);
    assert_int_equal(regex_search(r, space, SLICE("ax"), 2, true), REGEX_NO);
    assert_int_equal(regex_search(r, space, (struct slice){0}, 0, false), REGEX_YES);
    regex_free(&r);
}

static void test_flags_are_those_of_perl(void **state)
{
    (void)state;
    assert_int_equal(search("A", 0, "a", 0), REGEX_NO);
    assert_int_equal(search("A", REGEX_NO_CASE, "a", 0), REGEX_YES);
    assert_int_equal(search("a b # c", 0, "ab", 0), REGEX_NO);
    assert_int_equal(search("a b # c", REGEX_EXTENDED, "ab", 0), REGEX_YES);
    assert_int_equal(search("^b$", 0, "a\nb\nc", 0), REGEX_NO);
    assert_int_equal(search("^b$", REGEX_LINES, "a\nb\nc", 0), REGEX_YES);
    assert_int_equal(search("a.b", 0, "a\nb", 0), REGEX_NO);
    assert_int_equal(search("a.b", REGEX_DOT_ALL, "a\nb", 0), REGEX_YES);
    assert_int_equal(search("^.$", 0, "\xc3\xa9", 0), REGEX_NO);
    assert_int_equal(search("^.$", REGEX_CHARACTERS, "\xc3\xa9", 0), REGEX_YES);
    assert_int_equal(search(".", REGEX_CHARACTERS, "\xc3", 0), REGEX_NO);
    assert_int_equal(search("\xc3\x89", REGEX_NO_CASE, "\xc3\xa9", 0), REGEX_YES);
}

static void test_what_is_wrong_is_told_with_its_byte(void **state)
{
    struct regex *r = NULL;
    struct err err;

    (void)state;
    assert_int_equal(regex_new_with(SLICE("a(b"), 0, &r, &err), -1);
    assert_non_null(strstr(err.text, "wrong at byte 4"));
    assert_int_equal(regex_new_with(SLICE("a\xff"), REGEX_CHARACTERS, &r, &err), -1);
    assert_non_null(strstr(err.text, "not UTF-8"));
    assert_null(r);
}

/* Each search is far from its bound; the subject's own is reached. */
static void test_all_searches_in_a_subject_have_one_bound_together(void **state)
{
    struct regex *r = new_regex("a", 0);
    enum regex_result result = REGEX_YES;
    char subject[8192];
    size_t n = 0;

    (void)state;
    memset(subject, 'a', sizeof subject);
    regex_space_begin(space);
    for (; n < sizeof subject && result == REGEX_YES; n++)
        result = regex_search(r, space, slice_of(subject, sizeof subject), n, false);
    assert_int_equal(result, REGEX_FAILED);
    assert_in_range(n, 500, 4000);
    regex_space_begin(space);
    assert_int_equal(regex_search(r, space, slice_of(subject, sizeof subject), n, false),
                     REGEX_YES);
    regex_free(&r);
}

static int begin(void **state)
{
    (void)state;
    space = regex_space_new();
    return space ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    regex_space_free(&space);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_groups_tell_what_they_have_matched, begin, end),
        cmocka_unit_test_setup_teardown(test_more_groups_than_can_be_told_do_no_harm, begin, end),
        cmocka_unit_test_setup_teardown(test_a_search_goes_on_from_where_it_is_told, begin, end),
        cmocka_unit_test_setup_teardown(test_flags_are_those_of_perl, begin, end),
        cmocka_unit_test_setup_teardown(test_what_is_wrong_is_told_with_its_byte, begin, end),
        cmocka_unit_test_setup_teardown(test_all_searches_in_a_subject_have_one_bound_together,
                                        begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
