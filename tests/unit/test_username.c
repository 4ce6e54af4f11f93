/* Names of users: case, the domain that is added, those that are cut off. */
#include "directory/username.h"

#include "cm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const strip_one[] = {"Example.org"};
static const char *const strip_two[] = {"example.org", "example.net"};
static const char *const strip_all[] = {"*"};

static const struct conf_global plain = {.username_domain = ""};
static const struct conf_global lower = {.username_domain = "", .username_case = USERNAME_LOWER};
static const struct conf_global added = {.username_domain = "Example.org",
                                         .username_case = USERNAME_LOWER};
static const struct conf_global one = {.username_domain = "",
                                       .username_strip_domains = {strip_one, 1}};
static const struct conf_global two = {.username_domain = "",
                                       .username_strip_domains = {strip_two, 2}};
static const struct conf_global all = {.username_domain = "",
                                       .username_strip_domains = {strip_all, 1}};
static const struct conf_global moved = {.username_domain = "example.com",
                                         .username_case = USERNAME_LOWER,
                                         .username_strip_domains = {strip_two, 2}};

/* NULL: there is no such name. Twice is the same as once. */
static void expect(const struct conf_global *conf, const char *name, const char *expected)
{
    char out[IPC_USER_MAX], again[IPC_USER_MAX];
    struct slice once, twice;

    if (!expected) {
        assert_false(username_normalize(conf, slice_str(name), out, &once));
        return;
    }
    assert_true(username_normalize(conf, slice_str(name), out, &once));
    if (!slice_eq(once, slice_str(expected)))
        fail_msg("%s became %.*s", name, SLICE_ARG(once));
    assert_true(username_normalize(conf, once, again, &twice));
    assert_true(slice_eq(once, twice));
}

static void test_only_the_letters_a_to_z_have_a_case(void **state)
{
    (void)state;
    expect(&plain, "Ann@Example.ORG", "Ann@Example.ORG");
    expect(&lower, "AZaz[@`{Example.ORG", "azaz[@`{example.org");
    expect(&lower, "\xc3\x84nn\xff", "\xc3\x84nn\xff");
    expect(&lower, "", NULL);
}

static void test_a_name_without_a_domain_is_given_one(void **state)
{
    (void)state;
    expect(&added, "Ann", "ann@example.org");
    expect(&added, "ann@", "ann@");
    expect(&added, "@", "@");
    expect(&added, "ann@b", "ann@b");
    expect(&added, "", NULL);
}

static void test_domains_are_cut_off_without_regard_to_case(void **state)
{
    (void)state;
    expect(&one, "Ann@eXAMPLE.org", "Ann");
    expect(&one, "ann@example.orgs", "ann@example.orgs");
    expect(&one, "ann@xexample.org", "ann@xexample.org");
    expect(&one, "ann@b@example.org", "ann@b");
    expect(&one, "@example.org", NULL);
    expect(&all, "ann@anything", "ann");
    expect(&all, "ann@", "ann");
    expect(&all, "@x", NULL);
}

static void test_all_domains_at_the_end_are_cut_off(void **state)
{
    (void)state;
    expect(&one, "ann@example.org@example.org", "ann");
    expect(&two, "ann@example.net@example.org", "ann");
    expect(&two, "ann@x@example.net@example.org", "ann@x");
    expect(&two, "ann@example.net@x", "ann@example.net@x");
    expect(&all, "ann@b@c", "ann");
}

static void test_a_name_whose_domain_was_cut_off_is_given_the_other(void **state)
{
    (void)state;
    expect(&moved, "Ann@EXAMPLE.org", "ann@example.com");
    expect(&moved, "ann@x@example.org", "ann@x");
    expect(&moved, "ann@example.com", "ann@example.com");
}

static void test_names_have_a_longest_length(void **state)
{
    char name[IPC_USER_MAX + 32], out[IPC_USER_MAX];
    struct slice got;
    const size_t room = IPC_USER_MAX - strlen("@example.org");

    (void)state;
    memset(name, 'a', sizeof name);
    assert_true(username_normalize(&plain, slice_of(name, IPC_USER_MAX), out, &got));
    assert_int_equal(got.n, IPC_USER_MAX);
    assert_false(username_normalize(&plain, slice_of(name, IPC_USER_MAX + 1), out, &got));
    assert_true(username_normalize(&added, slice_of(name, room), out, &got));
    assert_int_equal(got.n, IPC_USER_MAX);
    assert_false(username_normalize(&added, slice_of(name, room + 1), out, &got));
    /* One that is too long only before its domain is cut off will do. */
    memcpy(name + IPC_USER_MAX, "@example.org", strlen("@example.org"));
    assert_true(
        username_normalize(&one, slice_of(name, IPC_USER_MAX + strlen("@example.org")), out, &got));
    assert_int_equal(got.n, IPC_USER_MAX);
}

/* Names of a few characters, all of them, against every configuration above that conf_check() lets
 * pass. */
static void test_twice_is_once_for_all_short_names(void **state)
{
    static const struct conf_global *const confs[] = {&plain, &lower, &added, &one,
                                                      &two,   &all,   &moved};
    static const char *const parts[] = {"", "a", "B", "@", "example.org", "example.com", "@x"};
    const size_t n = sizeof parts / sizeof *parts;
    unsigned names = 0;

    (void)state;
    for (size_t c = 0; c < sizeof confs / sizeof *confs; c++) {
        for (size_t i = 0; i < n * n * n * n * n; i++) {
            char name[80], out[IPC_USER_MAX], again[IPC_USER_MAX];
            struct slice once, twice;

            snprintf(name, sizeof name, "%s%s%s%s%s", parts[i % n], parts[i / n % n],
                     parts[i / n / n % n], parts[i / n / n / n % n], parts[i / n / n / n / n]);
            if (!username_normalize(confs[c], slice_str(name), out, &once))
                continue;
            names++;
            assert_true(username_normalize(confs[c], once, again, &twice));
            if (!slice_eq(once, twice))
                fail_msg("%s: %.*s, then %.*s", name, SLICE_ARG(once), SLICE_ARG(twice));
        }
    }
    assert_in_range(names, 50000, 200000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_the_letters_a_to_z_have_a_case),
        cmocka_unit_test(test_a_name_without_a_domain_is_given_one),
        cmocka_unit_test(test_domains_are_cut_off_without_regard_to_case),
        cmocka_unit_test(test_all_domains_at_the_end_are_cut_off),
        cmocka_unit_test(test_a_name_whose_domain_was_cut_off_is_given_the_other),
        cmocka_unit_test(test_names_have_a_longest_length),
        cmocka_unit_test(test_twice_is_once_for_all_short_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
