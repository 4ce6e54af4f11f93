/* Tables for people, and what terminals are taken for. */
#include "base/table.h"

#include "cm.h"
#include "no_memory.h"

#include <fcntl.h>
#include <pty.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const struct table_column columns[] = {
    {"PORT", true, false}, {"PROCESS", false, true}, {"STATE", false, false}};

enum { COLUMNS = sizeof columns / sizeof *columns };

static char *printed;
static size_t printed_n;

/* What table_print() writes; -1 as it says. */
static int print(const struct table *t, size_t width, bool is_coloured)
{
    FILE *out;
    int result;

    free(printed);
    printed = NULL;
    out = open_memstream(&printed, &printed_n);
    assert_non_null(out);
    result = table_print(t, out, width, is_coloured);
    fclose(out);
    return result;
}

static void assert_prints(const struct table *t, size_t width, bool is_coloured, const char *want)
{
    assert_int_equal(print(t, width, is_coloured), 0);
    assert_string_equal(printed, want);
}

static void add(struct table *t, unsigned port, const char *process, const char *state)
{
    table_row(t);
    table_cell(t, TERM_BOLD, "%u", port);
    table_cell(t, TERM_PLAIN, "%s", process);
    table_cell(t, TERM_GOOD, "%s", state);
}

/* --- tables -------------------------------------------------------------------------------- */

static void test_columns_are_aligned_and_the_last_is_not_padded(void **state)
{
    struct table t;

    (void)state;
    table_init(&t, columns, COLUMNS);
    add(&t, 143, "dovecot", "listens");
    add(&t, 10143, "imap-login", "shared by four");
    assert_prints(&t, 0, false,
                  " PORT  PROCESS     STATE\n"
                  "  143  dovecot     listens\n"
                  "10143  imap-login  shared by four\n");
    table_done(&t);
}

static void test_an_empty_table_prints_nothing(void **state)
{
    struct table t;

    (void)state;
    table_init(&t, columns, COLUMNS);
    assert_prints(&t, 0, true, "");
    table_done(&t);
}

static void test_no_line_ends_in_blanks(void **state)
{
    struct table t;

    (void)state;
    table_init(&t, columns, COLUMNS);
    add(&t, 1, "a long name", "");
    table_row(&t);
    table_cell(&t, TERM_PLAIN, "%u", 2U);
    table_row(&t);
    add(&t, 3, "", "up");
    assert_prints(&t, 0, false,
                  "PORT  PROCESS      STATE\n   1  a long name\n   2\n\n   3               up\n");
    table_done(&t);
}

static void test_a_column_in_which_nothing_stands_is_left_out(void **state)
{
    struct table t;

    (void)state;
    table_init(&t, columns, COLUMNS);
    add(&t, 1, "", "free");
    add(&t, 2, "", "taken");
    assert_prints(&t, 0, false, "PORT  STATE\n   1  free\n   2  taken\n");
    assert_prints(&t, 9, false, "PORT  STATE\n   1  free\n   2  taken\n");
    table_done(&t);
}

static void test_a_table_without_titles_has_no_line_of_them(void **state)
{
    static const struct table_column plain[] = {{NULL, false, false}, {NULL, false, false}};
    struct table t;

    (void)state;
    table_init(&t, plain, 2);
    t.indent = 4;
    table_row(&t);
    table_cell(&t, TERM_PLAIN, "%s", "port");
    table_cell(&t, TERM_PLAIN, "%d", 143);
    assert_prints(&t, 0, false, "    port  143\n");
    table_done(&t);
}

static void test_styles_hold_the_text_and_not_the_blanks(void **state)
{
    struct table t;

    (void)state;
    table_init(&t, columns, COLUMNS);
    add(&t, 143, "dovecot", "ok");
    assert_prints(&t, 0, true,
                  "\033[1mPORT\033[0m  \033[1mPROCESS\033[0m  \033[1mSTATE\033[0m\n"
                  " \033[1m143\033[0m  dovecot  \033[32mok\033[0m\n");
    table_done(&t);
}

static void test_control_characters_are_shown_and_never_passed_on(void **state)
{
    struct table t;

    (void)state;
    table_init(&t, columns, COLUMNS);
    add(&t, 1, "\033]0;title\a\r\n\x7f",
        "\xc2\x9b"
        "31m\xff\xe2\x80\xae");
    assert_prints(&t, 0, true,
                  "\033[1mPORT\033[0m  \033[1mPROCESS\033[0m                       "
                  "\033[1mSTATE\033[0m\n"
                  "   \033[1m1\033[0m  \\x1b]0;title\\x07\\x0d\\x0a\\x7f  "
                  "\033[32m\\u009b31m\\xff\\u202e\033[0m\n");
    table_done(&t);
}

static void test_width_is_counted_in_columns_of_the_terminal(void **state)
{
    struct table t;

    (void)state;
    table_init(&t, columns, COLUMNS);
    add(&t, 1, "Z\xc3\xbcrich", "a");            /* two bytes, one column */
    add(&t, 2, "Zu\xcc\x88rich", "b");           /* an accent of its own */
    add(&t, 3, "\xe6\x9d\xb1\xe4\xba\xac", "c"); /* two columns each */
    add(&t, 4, "\xf0\x9f\x93\xac", "d");
    assert_prints(&t, 0, false,
                  "PORT  PROCESS  STATE\n"
                  "   1  Z\xc3\xbcrich   a\n"
                  "   2  Zu\xcc\x88rich   b\n"
                  "   3  \xe6\x9d\xb1\xe4\xba\xac     c\n"
                  "   4  \xf0\x9f\x93\xac       d\n");
    table_done(&t);
}

static void test_what_may_lose_its_end_does_when_the_terminal_is_narrow(void **state)
{
    struct table t;

    (void)state;
    table_init(&t, columns, COLUMNS);
    add(&t, 10143, "/usr/lib/dovecot/imap-login", "listens");
    add(&t, 143, "short", "listens");
    assert_prints(&t, 30, false,
                  " PORT  PROCESS         STATE\n"
                  "10143  /usr/lib/dove\xe2\x80\xa6  listens\n"
                  "  143  short           listens\n");
    assert_prints(&t, 43, false,
                  " PORT  PROCESS                      STATE\n"
                  "10143  /usr/lib/dovecot/imap-login  listens\n"
                  "  143  short                        listens\n");
    table_done(&t);
}

static void test_a_column_keeps_a_few_letters_however_narrow_the_terminal_is(void **state)
{
    struct table t;

    (void)state;
    table_init(&t, columns, COLUMNS);
    add(&t, 10143, "/usr/lib/dovecot/imap-login", "listens");
    assert_prints(&t, 1, false,
                  " PORT  PROCESS   STATE\n"
                  "10143  /usr/li\xe2\x80\xa6  listens\n");
    table_done(&t);
}

static void test_nothing_is_cut_in_a_pipe(void **state)
{
    struct table t;
    char name[5000];

    (void)state;
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    table_init(&t, columns, COLUMNS);
    add(&t, 1, name, "");
    assert_int_equal(print(&t, 0, false), 0);
    assert_non_null(strstr(printed, name));
    table_done(&t);
}

static void test_a_wide_character_is_never_cut_in_two(void **state)
{
    struct table t;

    (void)state;
    table_init(&t, columns, COLUMNS);
    /* Ten columns; eight are left, seven of them beside the ellipsis: three characters. */
    add(&t, 1, "\xe6\x9d\xb1\xe6\x9d\xb1\xe6\x9d\xb1\xe6\x9d\xb1\xe6\x9d\xb1", "x");
    assert_prints(&t, 1, false,
                  "PORT  PROCESS   STATE\n"
                  "   1  \xe6\x9d\xb1\xe6\x9d\xb1\xe6\x9d\xb1\xe2\x80\xa6   x\n");
    table_done(&t);
}

static void test_long_columns_are_cut_to_the_same_length(void **state)
{
    static const struct table_column two[] = {{NULL, false, true}, {NULL, false, true}};
    struct table t;

    (void)state;
    table_init(&t, two, 2);
    table_row(&t);
    table_cell(&t, TERM_PLAIN, "%s", "aaaaaaaaaaaaaaaaaaaa");
    table_cell(&t, TERM_PLAIN, "%s", "bbbbbbbbbbbbbbb");
    assert_prints(&t, 24, false, "aaaaaaaaaa\xe2\x80\xa6  bbbbbbbbbb\xe2\x80\xa6\n");
    table_done(&t);
}

static void test_many_rows_are_kept(void **state)
{
    struct table t;
    unsigned lines = 0;

    (void)state;
    table_init(&t, columns, COLUMNS);
    for (unsigned i = 0; i < 5000; i++)
        add(&t, i, "dovecot", "listens");
    assert_int_equal(print(&t, 0, false), 0);
    for (const char *p = printed; (p = strchr(p, '\n')); p++)
        lines++;
    assert_int_equal(lines, 5001);
    assert_non_null(strstr(printed, "\n4999  dovecot  listens\n"));
    table_done(&t);
}

/* All that a table asks for, with each request failing in turn. */
static void test_out_of_memory_is_told_and_nothing_is_printed(void **state)
{
    size_t failures = 0;
    int result = -1;

    (void)state;
    for (size_t fails_at = 1; result != 0; fails_at++) {
        FILE *out = fopen("/dev/null", "w");
        struct table t;

        assert_non_null(out);
        memory.n = 0;
        memory.fails_at = fails_at;
        memory.is_on = true;
        table_init(&t, columns, COLUMNS);
        for (unsigned i = 0; i < 40; i++)
            add(&t, i, "a name that makes the text grow", "listens");
        result = table_print(&t, out, 60, true);
        memory.is_on = false;
        if (result != 0)
            assert_int_equal(ftell(out), 0);
        failures += result != 0;
        table_done(&t);
        fclose(out);
    }
    assert_true(failures >= 4); /* rows, text, one cell's text, widths */
}

static void test_a_stream_that_fails_is_told(void **state)
{
    FILE *full = fopen("/dev/full", "w");
    struct table t;

    (void)state;
    assert_non_null(full);
    setvbuf(full, NULL, _IONBF, 0);
    table_init(&t, columns, COLUMNS);
    add(&t, 1, "a", "b");
    assert_int_equal(table_print(&t, full, 0, false), -1);
    table_done(&t);
    fclose(full);
}

/* --- texts --------------------------------------------------------------------------------- */

static void assert_escaped(struct slice text, const char *want)
{
    struct buf out;

    buf_init(&out, 1000, false);
    assert_int_equal(term_escape(&out, text), 0);
    assert_int_equal(buf_len(&out), strlen(want));
    assert_true(slice_eq(buf_slice(&out), slice_str(want)));
    buf_release(&out);
}

static void test_text_stays_as_it_is_and_what_acts_is_spelled_out(void **state)
{
    (void)state;
    assert_escaped(SLICE("caf\xc3\xa9 \xe6\x9d\xb1"), "caf\xc3\xa9 \xe6\x9d\xb1");
    assert_escaped(SLICE("a\0b\tc"), "a\\x00b\\x09c");
    assert_escaped(SLICE("\xe4"), "\\xe4");                   /* Latin-1 */
    assert_escaped(SLICE("\xed\xa0\x80"), "\\xed\\xa0\\x80"); /* a surrogate */
    assert_escaped(SLICE("\xe2\x80\xa8"), "\\u2028");
    assert_escaped(SLICE("\xd8\x9c"), "\\u061c");
    assert_escaped(SLICE("\xe2\x81\xa6"
                         "abc"),
                   "\\u2066abc");
}

static void test_escaping_stops_at_the_ceiling(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 6, false);
    assert_int_equal(term_escape(&out, SLICE("abcdef")), 0);
    assert_int_equal(term_escape(&out, SLICE("g")), -1);
    buf_release(&out);
}

static void test_cut_text_takes_no_more_columns_than_there_are(void **state)
{
    struct slice s = SLICE("a\xe6\x9d\xb1u\xcc\x88z");

    (void)state;
    assert_int_equal(term_text_width(s), 5);
    assert_int_equal(term_text_cut(s, 0).n, 0);
    assert_int_equal(term_text_cut(s, 1).n, 1);
    assert_int_equal(term_text_cut(s, 2).n, 1);
    assert_int_equal(term_text_cut(s, 3).n, 4);
    assert_int_equal(term_text_cut(s, 4).n, 7); /* the accent comes along */
    assert_int_equal(term_text_cut(s, 5).n, s.n);
    assert_int_equal(term_text_cut(s, 99).n, s.n);
}

/* --- terminals ----------------------------------------------------------------------------- */

static struct {
    FILE *terminal, *pipe;
    int master, other;
} streams;

static int open_streams(void **state)
{
    struct winsize size = {.ws_row = 24, .ws_col = 132};
    int slave, ends[2];

    (void)state;
    if (openpty(&streams.master, &slave, NULL, NULL, &size) < 0 || pipe(ends) < 0)
        return -1;
    streams.terminal = fdopen(slave, "w");
    streams.other = ends[0];
    streams.pipe = fdopen(ends[1], "w");
    return streams.terminal && streams.pipe ? 0 : -1;
}

static int close_streams(void **state)
{
    (void)state;
    fclose(streams.terminal);
    fclose(streams.pipe);
    close(streams.master);
    close(streams.other);
    return 0;
}

/* NULL: not set. */
static void set(const char *name, const char *value)
{
    assert_int_equal(value ? setenv(name, value, 1) : unsetenv(name), 0);
}

static void test_colour_is_for_terminals_that_have_it_unless_somebody_says_otherwise(void **state)
{
    static const struct {
        const char *no_color, *force, *term;
        bool in_terminal, in_pipe;
    } rows[] = {
        {NULL, NULL, "xterm", true, false}, {NULL, NULL, "dumb", false, false},
        {NULL, NULL, "", false, false},     {NULL, NULL, NULL, false, false},
        {"1", NULL, "xterm", false, false}, {"", NULL, "xterm", true, false},
        {NULL, "1", "xterm", true, true},   {NULL, "1", "dumb", true, true},
        {NULL, "0", "xterm", true, false},  {NULL, "", "xterm", true, false},
        {"1", "1", "xterm", false, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        set("NO_COLOR", rows[i].no_color);
        set("CLICOLOR_FORCE", rows[i].force);
        set("TERM", rows[i].term);
        assert_int_equal(term_is_coloured(streams.terminal), rows[i].in_terminal);
        assert_int_equal(term_is_coloured(streams.pipe), rows[i].in_pipe);
    }
}

static void test_width_is_what_columns_says_or_the_terminal_and_none_of_a_pipe(void **state)
{
    static const struct {
        const char *columns;
        size_t width;
    } rows[] = {{NULL, 132},
                {"", 132},
                {"0", 132},
                {"wide", 132},
                {"-5", 132},
                {"100", 100},
                {"99999999999999999999", 132}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        set("COLUMNS", rows[i].columns);
        assert_int_equal(term_width(streams.terminal), rows[i].width);
        assert_int_equal(term_width(streams.pipe), 0);
    }
}

static void test_a_terminal_that_does_not_know_its_width_has_80(void **state)
{
    struct winsize size = {0};

    (void)state;
    set("COLUMNS", NULL);
    assert_int_equal(ioctl(streams.master, TIOCSWINSZ, &size), 0);
    assert_int_equal(term_width(streams.terminal), 80);
}

static void test_plain_text_has_nothing_to_begin_or_to_end(void **state)
{
    (void)state;
    assert_string_equal(term_sgr(TERM_PLAIN), "");
    assert_string_equal(term_sgr_end(TERM_PLAIN), "");
    for (int style = TERM_BOLD; style < TERM_STYLES; style++) {
        assert_int_equal(term_sgr((enum term_style)style)[0], '\033');
        assert_string_equal(term_sgr_end((enum term_style)style), "\033[0m");
    }
}

static int forget(void **state)
{
    (void)state;
    free(printed);
    printed = NULL;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_columns_are_aligned_and_the_last_is_not_padded),
        cmocka_unit_test(test_an_empty_table_prints_nothing),
        cmocka_unit_test(test_no_line_ends_in_blanks),
        cmocka_unit_test(test_a_column_in_which_nothing_stands_is_left_out),
        cmocka_unit_test(test_a_table_without_titles_has_no_line_of_them),
        cmocka_unit_test(test_styles_hold_the_text_and_not_the_blanks),
        cmocka_unit_test(test_control_characters_are_shown_and_never_passed_on),
        cmocka_unit_test(test_width_is_counted_in_columns_of_the_terminal),
        cmocka_unit_test(test_what_may_lose_its_end_does_when_the_terminal_is_narrow),
        cmocka_unit_test(test_a_column_keeps_a_few_letters_however_narrow_the_terminal_is),
        cmocka_unit_test(test_nothing_is_cut_in_a_pipe),
        cmocka_unit_test(test_a_wide_character_is_never_cut_in_two),
        cmocka_unit_test(test_long_columns_are_cut_to_the_same_length),
        cmocka_unit_test(test_many_rows_are_kept),
        cmocka_unit_test(test_out_of_memory_is_told_and_nothing_is_printed),
        cmocka_unit_test(test_a_stream_that_fails_is_told),
        cmocka_unit_test(test_text_stays_as_it_is_and_what_acts_is_spelled_out),
        cmocka_unit_test(test_escaping_stops_at_the_ceiling),
        cmocka_unit_test(test_cut_text_takes_no_more_columns_than_there_are),
        cmocka_unit_test_setup_teardown(
            test_colour_is_for_terminals_that_have_it_unless_somebody_says_otherwise, open_streams,
            close_streams),
        cmocka_unit_test_setup_teardown(
            test_width_is_what_columns_says_or_the_terminal_and_none_of_a_pipe, open_streams,
            close_streams),
        cmocka_unit_test_setup_teardown(test_a_terminal_that_does_not_know_its_width_has_80,
                                        open_streams, close_streams),
        cmocka_unit_test(test_plain_text_has_nothing_to_begin_or_to_end),
    };

    return cmocka_run_group_tests(tests, NULL, forget);
}
