/* The port registry: every row of the data is told, nothing else is, and neighbours and names are
 * found. IANA_PORTS names the data. */
#include "ports/iana.h"

#include "base/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cm.h"

/* ---- Helpers ---- */

struct list {
    char **rows;
    size_t n, cap;
};

static void list_add(struct list *list, char *row)
{
    assert_non_null(row);
    if (list->n == list->cap) {
        list->cap = list->cap ? list->cap * 2 : 1024;
        list->rows = reallocarray(list->rows, list->cap, sizeof *list->rows);
        assert_non_null(list->rows);
    }
    list->rows[list->n++] = row;
}

static void list_done(struct list *list)
{
    for (size_t i = 0; i < list->n; i++)
        free(list->rows[i]);
    free(list->rows);
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The data's rows, without tabs where columns at the end are empty. */
static struct list read_data(void)
{
    FILE *file = fopen(IANA_PORTS, "re");
    struct list list = {0};
    char *line = NULL;
    size_t cap = 0;

    assert_non_null(file);
    while (getline(&line, &cap, file) > 0) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] != '#')
            list_add(&list, strdup(line));
    }
    free(line);
    fclose(file);
    return list;
}

/* All that the registry tells, in the same form. */
static struct list tell_all(void)
{
    struct list list = {0};

    for (size_t i = 0; i < iana_count(); i++) {
        struct iana_entry entry = iana_entry(i);

        for (unsigned protocol = 0; protocol < PORT_PROTOCOLS; protocol++) {
            char *row;
            size_t n;

            if (!(entry.protocols & 1U << protocol))
                continue;
            assert_true(asprintf(&row, "%u\t%s\t%s\t%s", entry.port, port_protocol_name(protocol),
                                 entry.service, entry.description) > 0);
            for (n = strlen(row); row[n - 1] == '\t'; n--)
                row[n - 1] = '\0';
            list_add(&list, row);
        }
    }
    return list;
}

/* The service that the port's only entry for the protocol has. */
static const char *service(uint16_t port, enum port_protocol protocol)
{
    const char *found = NULL;
    size_t first, n = iana_find(port, &first);

    for (size_t i = first; i < first + n; i++) {
        struct iana_entry entry = iana_entry(i);

        assert_int_equal(entry.port, port);
        if (entry.protocols & 1U << protocol) {
            assert_null(found);
            found = entry.service;
        }
    }
    assert_non_null(found);
    return found;
}

/* ---- Tests ---- */

static void test_every_row_of_the_data_is_told_once_and_nothing_else(void **state)
{
    struct list data = read_data(), told = tell_all();

    (void)state;
    assert_true(data.n > 12000);
    assert_int_equal(data.n, told.n);
    qsort(data.rows, data.n, sizeof *data.rows, compare);
    qsort(told.rows, told.n, sizeof *told.rows, compare);
    for (size_t i = 0; i < data.n; i++)
        assert_string_equal(data.rows[i], told.rows[i]);
    list_done(&data);
    list_done(&told);
}

static void test_every_port_finds_its_own_entries(void **state)
{
    size_t next = 0;

    (void)state;
    for (unsigned port = 0; port <= 65535; port++) {
        size_t first, n = iana_find((uint16_t)port, &first);

        /* One after the other, these are all entries. */
        assert_int_equal(first, next);
        for (next = first; next < first + n; next++)
            assert_int_equal(iana_entry(next).port, port);
    }
    assert_int_equal(next, iana_count());
}

static void test_entries_of_a_port_begin_with_tcp(void **state)
{
    (void)state;
    for (size_t i = 1; i < iana_count(); i++) {
        struct iana_entry last = iana_entry(i - 1), entry = iana_entry(i);

        assert_true(entry.protocols > 0 && entry.protocols < 1U << PORT_PROTOCOLS);
        if (last.port == entry.port) {
            assert_true((last.protocols & -last.protocols) <= (entry.protocols & -entry.protocols));
            assert_true(strcmp(last.service, entry.service) != 0 ||
                        strcmp(last.description, entry.description) != 0);
        }
    }
}

static void test_texts_can_be_shown(void **state)
{
    (void)state;
    for (size_t i = 0; i < iana_count(); i++) {
        struct iana_entry entry = iana_entry(i);
        struct slice left = slice_str(entry.description);

        for (const char *p = entry.service; *p; p++)
            assert_true(*p > ' ' && *p <= '~');
        while (left.n > 0) {
            size_t n = utf8_char(left);

            assert_true(n > 1 || (n == 1 && left.p[0] >= ' ' && left.p[0] <= '~'));
            left = slice_sub(left, n, left.n);
        }
    }
}

static void test_mails_ports_have_their_services(void **state)
{
    (void)state;
    assert_string_equal(service(25, PORT_TCP), "smtp");
    assert_string_equal(service(110, PORT_TCP), "pop3");
    assert_string_equal(service(143, PORT_TCP), "imap");
    assert_string_equal(service(143, PORT_UDP), "");
    assert_string_equal(service(220, PORT_TCP), "imap3");
    assert_string_equal(service(465, PORT_TCP), "submissions");
    assert_string_equal(service(465, PORT_UDP), "igmpv3lite");
    assert_string_equal(service(587, PORT_TCP), "submission");
    assert_string_equal(service(993, PORT_TCP), "imaps");
    assert_string_equal(service(995, PORT_TCP), "pop3s");
    assert_string_equal(service(4190, PORT_TCP), "sieve");
}

static void test_a_port_without_entries_has_none(void **state)
{
    size_t first;

    (void)state;
    assert_int_equal(iana_find(65535, &first), 0);
    assert_int_equal(first, iana_count());
    /* 225 to 241 are reserved without a protocol, so without a row. */
    assert_int_equal(iana_find(230, &first), 0);
    assert_true(iana_entry(first).port > 230 && iana_entry(first - 1).port < 230);
}

static void test_reserved_and_unassigned_ports_are_not_assigned(void **state)
{
    struct iana_entry entry;
    size_t first;

    (void)state;
    assert_true(iana_find(0, &first) > 0);
    entry = iana_entry(first);
    assert_false(iana_is_assigned(&entry));
    assert_string_equal(entry.description, "Reserved");
    assert_true(iana_find(26, &first) > 0);
    entry = iana_entry(first);
    assert_false(iana_is_assigned(&entry));
    assert_string_equal(entry.description, "Unassigned");
}

/* By walking over all entries. */
static size_t nearest_below(unsigned port)
{
    size_t found = iana_count();

    for (size_t i = 0; i < iana_count() && iana_entry(i).port < port; i++) {
        struct iana_entry entry = iana_entry(i);

        if (iana_is_assigned(&entry) &&
            (found == iana_count() || iana_entry(found).port != entry.port))
            found = i;
    }
    return found;
}

static size_t nearest_above(unsigned port)
{
    for (size_t i = 0; i < iana_count(); i++) {
        struct iana_entry entry = iana_entry(i);

        if (entry.port > port && iana_is_assigned(&entry))
            return i;
    }
    return iana_count();
}

static void check_neighbour(bool is_there, const struct iana_entry *entry, size_t expected)
{
    struct iana_entry wanted;

    assert_int_equal(is_there, expected < iana_count());
    if (!is_there)
        return;
    wanted = iana_entry(expected);
    assert_int_equal(entry->port, wanted.port);
    assert_int_equal(entry->protocols, wanted.protocols);
    assert_string_equal(entry->service, wanted.service);
}

static void test_neighbours_are_the_nearest_assigned_ports(void **state)
{
    (void)state;
    for (unsigned port = 0; port <= 65535; port += port < 1100 || port > 65000 ? 1 : 611) {
        struct iana_entry entry;
        bool is_there = iana_below((uint16_t)port, &entry);

        check_neighbour(is_there, &entry, nearest_below(port));
        is_there = iana_above((uint16_t)port, &entry);
        check_neighbour(is_there, &entry, nearest_above(port));
    }
}

static void test_the_ends_have_no_neighbour_beyond(void **state)
{
    struct iana_entry entry = {.port = 7};

    (void)state;
    assert_false(iana_below(0, &entry));
    assert_false(iana_below(1, &entry)); /* below it is only 0, which is reserved */
    assert_false(iana_above(65535, &entry));
    assert_int_equal(entry.port, 7);
    assert_true(iana_above(0, &entry));
    assert_string_equal(entry.service, "tcpmux");
}

static void test_names_are_found_whatever_their_case(void **state)
{
    static const char *const ways[] = {"imaps", "IMAPS", "Imaps"};

    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        size_t found = iana_next_named(slice_str(ways[i]), 0);

        assert_int_equal(iana_entry(found).port, 993);
        assert_string_equal(iana_entry(found).service, "imaps");
        assert_int_equal(iana_next_named(slice_str(ways[i]), found + 1), iana_count());
    }
    assert_int_equal(iana_next_named(SLICE("no-such-service"), 0), iana_count());
    assert_int_equal(iana_next_named(SLICE("ima"), 0), iana_count());
    assert_int_equal(iana_next_named(SLICE(""), 0), iana_count());
    assert_int_equal(iana_next_named(SLICE("imap"), iana_count()), iana_count());
}

static void test_every_service_finds_all_its_entries(void **state)
{
    (void)state;
    for (size_t i = 0; i < iana_count(); i += 13) {
        struct iana_entry entry = iana_entry(i);
        struct slice name = slice_str(entry.service);
        bool has_found_it = false;
        size_t at = iana_next_named(name, 0);

        for (; at < iana_count(); at = iana_next_named(name, at + 1)) {
            assert_true(slice_ieq(slice_str(iana_entry(at).service), name));
            has_found_it |= at == i;
        }
        assert_int_equal(has_found_it, name.n > 0);
    }
}

static void test_the_table_is_small(void **state)
{
    (void)state;
    assert_true(iana_size() > iana_count() * 8);
    assert_true(iana_size() < 250 * 1024);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row_of_the_data_is_told_once_and_nothing_else),
        cmocka_unit_test(test_every_port_finds_its_own_entries),
        cmocka_unit_test(test_entries_of_a_port_begin_with_tcp),
        cmocka_unit_test(test_texts_can_be_shown),
        cmocka_unit_test(test_mails_ports_have_their_services),
        cmocka_unit_test(test_a_port_without_entries_has_none),
        cmocka_unit_test(test_reserved_and_unassigned_ports_are_not_assigned),
        cmocka_unit_test(test_neighbours_are_the_nearest_assigned_ports),
        cmocka_unit_test(test_the_ends_have_no_neighbour_beyond),
        cmocka_unit_test(test_names_are_found_whatever_their_case),
        cmocka_unit_test(test_every_service_finds_all_its_entries),
        cmocka_unit_test(test_the_table_is_small),
    };

    return cmocka_run_group_tests_name("ports_registry", tests, NULL, NULL);
}
