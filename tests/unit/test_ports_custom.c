/* The ports that mail software uses by custom: the table is in order, and tells where it knows it
 * from. */
#include "ports/custom.h"
#include "ports/iana.h"

#include "cm.h"

#include <string.h>

/* Widths that fit a terminal beside what else stands in the line. */
enum { NAME_MAX_LENGTH = 20, WHAT_MAX_LENGTH = 95, WHO_MAX_LENGTH = 60 };

static const struct custom_port *rows;

static size_t count_rows(void)
{
    return custom_ports(&rows);
}

static void test_rows_are_sorted_by_port(void **state)
{
    size_t n = count_rows();

    (void)state;
    assert_true(n > 0);
    assert_true(rows[0].port > 0);
    for (size_t i = 1; i < n; i++) {
        if (rows[i].port < rows[i - 1].port)
            fail_msg("%s (%u) stands behind %s (%u)", rows[i].name, rows[i].port, rows[i - 1].name,
                     rows[i - 1].port);
    }
}

static void test_names_are_words_of_no_other_row(void **state)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
    size_t n = count_rows();

    (void)state;
    for (size_t i = 0; i < n; i++) {
        const char *name = rows[i].name;
        size_t length = strlen(name);

        if (length == 0 || length > NAME_MAX_LENGTH || strspn(name, letters) != length ||
            name[0] < 'a' || name[0] > 'z' || name[length - 1] == '-')
            fail_msg("\"%s\" is no name", name);
        for (size_t j = 0; j < i; j++) {
            if (strcmp(name, rows[j].name) == 0)
                fail_msg("%s is the name of %u and of %u", name, rows[j].port, rows[i].port);
        }
    }
}

static void test_names_are_none_of_ianas(void **state)
{
    size_t n = count_rows();

    (void)state;
    for (size_t i = 0; i < n; i++) {
        if (iana_next_named(slice_str(rows[i].name), 0) != iana_count())
            fail_msg("IANA has a service %s", rows[i].name);
    }
}

static void assert_line(const char *name, const char *text, size_t max)
{
    size_t n = strlen(text);

    if (n == 0 || n > max || strchr(text, '\n') || text[0] == ' ' || text[n - 1] == '.' ||
        text[n - 1] == ' ')
        fail_msg("%s: \"%s\" is no line of at most %zu", name, text, max);
}

static void test_rows_say_what_and_who_in_a_line(void **state)
{
    size_t n = count_rows();

    (void)state;
    for (size_t i = 0; i < n; i++) {
        assert_line(rows[i].name, rows[i].what, WHAT_MAX_LENGTH);
        assert_line(rows[i].name, rows[i].who, WHO_MAX_LENGTH);
    }
}

static void test_rows_say_where_that_is_said(void **state)
{
    static const char *const starts[] = {"https://", "Debian's package "};
    size_t n = count_rows();

    (void)state;
    for (size_t i = 0; i < n; i++) {
        bool is_source = false;

        for (size_t j = 0; j < sizeof starts / sizeof *starts; j++) {
            size_t length = strlen(starts[j]);

            is_source |= strncmp(rows[i].source, starts[j], length) == 0 &&
                         strlen(rows[i].source) > length + 5;
        }
        if (!is_source)
            fail_msg("%s: \"%s\" is no source", rows[i].name, rows[i].source);
    }
}

static void test_a_port_has_all_its_rows(void **state)
{
    const struct custom_port *found = NULL;

    (void)state;
    assert_int_equal(custom_find(10143, &found), 5);
    assert_string_equal(found[0].name, "imap-backend");
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(found[i].port, 10143);
    assert_int_equal(custom_find(7143, &found), 1);
    assert_string_equal(found[0].name, "zimbra-imap");
}

static void test_every_port_has_as_many_rows_as_the_table(void **state)
{
    size_t n = count_rows(), next = 0;

    (void)state;
    for (unsigned port = 0; port <= UINT16_MAX; port++) {
        const struct custom_port *found = NULL;
        size_t count = custom_find((uint16_t)port, &found);

        for (size_t i = 0; i < count; i++)
            assert_ptr_equal(&found[i], &rows[next++]);
        assert_true(next == n || rows[next].port != port);
    }
    assert_int_equal(next, n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_are_sorted_by_port),
        cmocka_unit_test(test_names_are_words_of_no_other_row),
        cmocka_unit_test(test_names_are_none_of_ianas),
        cmocka_unit_test(test_rows_say_what_and_who_in_a_line),
        cmocka_unit_test(test_rows_say_where_that_is_said),
        cmocka_unit_test(test_a_port_has_all_its_rows),
        cmocka_unit_test(test_every_port_has_as_many_rows_as_the_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
