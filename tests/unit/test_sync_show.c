/* usher sync: what is painted on a terminal while it runs, what goes into a log, and the report as
 * text and JSON. */
#include "cm.h"

#include "cli/sync_parts.h"
#include "sync_made_up.h"

#include <fcntl.h>
#include <jansson.h>
#include <pty.h>
#include <termios.h>
#include <unistd.h>

/* --- a terminal ------------------------------------------------------------------------------- */

/* As much of one as is needed to see what stands there. Each column has a character of UTF-8. */
enum { ROWS = 24, COLUMNS = 120 };

static struct {
    int master;
    FILE *out;
    char cells[ROWS][COLUMNS][8];
    size_t row, column, columns;
} tty;

static void clear_from(size_t row, size_t column)
{
    for (; row < ROWS; row++, column = 0)
        for (size_t i = column; i < COLUMNS; i++)
            strcpy(tty.cells[row][i], " ");
}

static size_t feed_escape(const char *p, size_t n)
{
    size_t end = 2;
    unsigned long number;

    while (end < n && (p[end] < '@' || p[end] > '~'))
        end++;
    assert_true(end < n && p[1] == '[');
    number = strtoul(p + 2, NULL, 10);
    if (p[end] == 'A') {
        assert_true(number <= tty.row);
        tty.row -= number;
    } else if (p[end] == 'K') {
        for (size_t i = tty.column; i < COLUMNS; i++)
            strcpy(tty.cells[tty.row][i], " ");
    } else if (p[end] == 'J') {
        clear_from(tty.row, tty.column);
    } else {
        assert_int_equal(p[end], 'm');
    }
    return end + 1;
}

static size_t feed_char(const char *p)
{
    size_t n = (unsigned char)*p >= 0xe0 ? 3 : (unsigned char)*p >= 0xc0 ? 2 : 1;

    /* Nothing may break at the edge. */
    assert_true(tty.column < tty.columns - 1);
    memcpy(tty.cells[tty.row][tty.column], p, n);
    tty.cells[tty.row][tty.column++][n] = '\0';
    return n;
}

static void feed(const char *p, size_t n)
{
    for (size_t i = 0; i < n;) {
        if (p[i] == '\033') {
            i += feed_escape(p + i, n - i);
        } else if (p[i] == '\r' || p[i] == '\n') {
            tty.column = 0;
            tty.row += p[i++] == '\n';
            assert_true(tty.row < ROWS);
        } else {
            i += feed_char(p + i);
        }
    }
}

/* What the terminal has been sent by now. */
static void look(void)
{
    static char bytes[1 << 16];
    ssize_t n;

    while ((n = read(tty.master, bytes, sizeof bytes)) > 0)
        feed(bytes, (size_t)n);
}

/* A line without the blanks at its end. */
static const char *line(size_t row)
{
    static char text[COLUMNS * 4];
    size_t used = 0;

    for (size_t i = 0; i < COLUMNS; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s", tty.cells[row][i]);
    while (used > 0 && text[used - 1] == ' ')
        text[--used] = '\0';
    return text;
}

static void set_width(unsigned short columns)
{
    const struct winsize size = {.ws_row = ROWS, .ws_col = columns};

    tty.columns = columns;
    assert_int_equal(ioctl(tty.master, TIOCSWINSZ, &size), 0);
}

static struct sync_shown *shown;
static struct sync_progress progress;
static FILE *log_file;

static void begin(FILE *out, bool is_quiet, bool is_verbose)
{
    const struct sync_shown_params params = {
        .out = out, .log = log_file, .is_quiet = is_quiet, .is_verbose = is_verbose};
    struct err err;

    if (sync_shown_new(&params, &shown, &err) < 0)
        fail_msg("%s", err.text);
}

static int setup(void **state)
{
    int slave;

    (void)state;
    setenv("TERM", "xterm", 1);
    unsetenv("COLUMNS");
    unsetenv("NO_COLOR");
    unsetenv("CLICOLOR_FORCE");
    memset(&tty, 0, sizeof tty);
    memset(&progress, 0, sizeof progress);
    clear_from(0, 0);
    if (openpty(&tty.master, &slave, NULL, NULL, NULL) < 0)
        return -1;
    fcntl(tty.master, F_SETFL, O_NONBLOCK);
    tty.out = fdopen(slave, "w");
    log_file = NULL;
    set_width(100);
    progress = (struct sync_progress){.phase = SYNC_CARRYING,
                                      .folders = 34,
                                      .folders_done = 5,
                                      .messages = 10000,
                                      .bytes = 50000000,
                                      .lanes = 2};
    return tty.out ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    sync_shown_free(&shown);
    fclose(tty.out);
    close(tty.master);
    if (log_file)
        fclose(log_file);
    return 0;
}

/* So many messages of 5,000 bytes are over. */
static void at(uint64_t ms, uint64_t done)
{
    progress.elapsed_ms = ms;
    progress.messages_done = progress.carried = done;
    progress.bytes_done = progress.carried_bytes = done * 5000;
    sync_shown_progress(shown, &progress);
    look();
}

static void test_progress_is_painted_in_its_place(void **state)
{
    (void)state;
    begin(tty.out, false, false);
    progress.phase = SYNC_CONNECTING;
    at(0, 0);
    assert_string_equal(line(0), "connecting: 5 of 34 folders, 0.0 s, 2 connections a side");
    progress.phase = SYNC_CARRYING;
    strcpy(progress.folders_now[1], "INBOX");
    progress.folder_now[1].done = 500;
    progress.folder_now[1].all = 1000;
    for (uint64_t i = 1; i <= 40; i++)
        at(i * 100, i * 100);
    assert_string_equal(line(0), "working: 5 of 34 folders, 4.0 s, 2 connections a side");
    assert_non_null(strstr(line(1), "█░"));
    assert_non_null(strstr(line(1), "  40 %  4,000 of 10,000 messages, 20.0 MB of 50.0 MB"));
    assert_string_equal(line(2), "1,000 msg/s, 5.00 MB/s, about 6.0 s left  (carried: 4,000 "
                                 "messages, 20.0 MB)");
    assert_non_null(strstr(line(3), "  INBOX "));
    assert_non_null(strstr(line(3), "████████░░░░░░░░ 500 of 1,000"));
    assert_string_equal(line(4), "");
    assert_int_equal(tty.row, 4);
    assert_int_equal(tty.column, 0);
}

static void test_lines_that_are_over_go_and_the_end_stays(void **state)
{
    (void)state;
    begin(tty.out, false, false);
    strcpy(progress.folders_now[0], "INBOX");
    strcpy(progress.folders_now[1], "Sent");
    at(1000, 100);
    sync_shown_line(shown, "INBOX: 12 to carry");
    at(2000, 200);
    assert_non_null(strstr(line(4), "Sent"));
    assert_string_equal(line(5), "INBOX: 12 to carry");
    progress.folders_now[0][0] = '\0';
    at(3000, 300);
    assert_non_null(strstr(line(3), "Sent"));
    assert_string_equal(line(5), "");
    progress.exceptions = 1;
    progress.phase = SYNC_ENDING;
    at(4000, 10000);
    sync_shown_end(shown);
    look();
    assert_string_equal(line(0),
                        "ended: 5 of 34 folders, 1 exception, 4.0 s, 2 connections a side");
    assert_non_null(strstr(line(1), "█ 100 %"));
    assert_non_null(strstr(line(2), "2,500 msg/s"));
    assert_string_equal(line(3), "");
    assert_int_equal(tty.row, 4);
}

static void test_nothing_is_wider_than_the_terminal(void **state)
{
    (void)state;
    begin(tty.out, false, false);
    strcpy(progress.folders_now[0], "A folder with a name that is longer than its column");
    strcpy(progress.folders_now[1], "\x1b[31mred\xff");
    sync_shown_line(shown, "a line of the log that is much longer than the terminal is wide, so it "
                           "must lose its end");
    for (unsigned short width = 99; width > 10; width -= 11) {
        set_width(width);
        at(1000, 100);
        assert_int_equal(tty.row, 6);
        /* As if it had been cleared, so that no older line is broken. */
        sync_shown_end(shown);
        tty.row = 6;
        look();
        tty.row = tty.column = 0;
        clear_from(0, 0);
    }
    set_width(60);
    at(2000, 200);
    assert_non_null(strstr(line(3), "A folder with a nam…"));
    assert_non_null(strstr(line(4), "\\x1b[31mred\\xff"));
}

static void test_terminal_that_became_narrow_is_cleaned_of_broken_lines(void **state)
{
    (void)state;
    begin(tty.out, false, false);
    sync_shown_line(shown,
                    "123456789-123456789-123456789-123456789-123456789-123456789-123456789-");
    at(1000, 100);
    assert_int_equal(tty.row, 4);
    /* The terminal breaks four lines of about 80 into two each. */
    tty.row = 8;
    set_width(50);
    at(2000, 200);
    assert_non_null(strstr(line(0), "working"));
    assert_int_equal(tty.row, 4);
}

static void test_verbose_lines_stand_above_what_is_painted(void **state)
{
    (void)state;
    begin(tty.out, false, true);
    at(1000, 100);
    sync_shown_line(shown, "one");
    sync_shown_line(shown, "two");
    look();
    assert_string_equal(line(0), "one");
    assert_string_equal(line(1), "two");
    assert_non_null(strstr(line(2), "working"));
    assert_int_equal(tty.row, 5);
}

static void test_more_lanes_than_rows_are_counted(void **state)
{
    const struct winsize low = {.ws_row = 8, .ws_col = 100};

    (void)state;
    begin(tty.out, false, false);
    assert_int_equal(ioctl(tty.master, TIOCSWINSZ, &low), 0);
    for (size_t i = 0; i < SYNC_LANES; i++)
        snprintf(progress.folders_now[i], sizeof progress.folders_now[i], "lane %zu", i);
    at(1000, 100);
    assert_non_null(strstr(line(4), "lane 1"));
    assert_string_equal(line(5), "  and 14 folders more");
    assert_int_equal(tty.row, 6);
}

static void test_pause_of_a_server_is_told(void **state)
{
    (void)state;
    begin(tty.out, false, false);
    progress.paused_s = 12;
    at(1000, 100);
    assert_non_null(strstr(line(0), "a server asks us to wait: 12 s"));
}

static void test_quiet_writes_nothing(void **state)
{
    (void)state;
    begin(tty.out, true, true);
    at(1000, 100);
    sync_shown_line(shown, "one");
    sync_shown_end(shown);
    look();
    assert_string_equal(line(0), "");
    assert_int_equal(tty.row + tty.column, 0);
}

/* --- a log ------------------------------------------------------------------------------------ */

static char *logged;
static size_t logged_n;

static void test_log_gets_lines_and_one_a_minute_that_tells_how_it_goes(void **state)
{
    const char *p;

    (void)state;
    log_file = open_memstream(&logged, &logged_n);
    begin(tty.out, true, false);
    sync_shown_line(shown, "logged in");
    for (uint64_t s = 1; s <= 130; s++)
        at(s * 1000, s * 10);
    sync_shown_end(shown);
    fflush(log_file);
    p = strchr(logged, '\n');
    assert_non_null(p);
    assert_memory_equal(p - 10, " logged in", 10);
    assert_int_equal(logged[4], '-');
    assert_int_equal(logged[10], 'T');
    assert_non_null(strstr(p, " working: 5 of 34 folders, 600 of 10,000 messages, 3.00 MB of 50.0 "
                              "MB; 10 msg/s, 50.0 kB/s; no exceptions; about 15 min 40 s left\n"));
    assert_non_null(strstr(p, " 1,200 of 10,000 messages"));
    p = strchr(strchr(p + 1, '\n') + 1, '\n');
    assert_string_equal(p, "\n");
    fclose(log_file);
    log_file = NULL;
    free(logged);
}

static void test_elsewhere_than_on_a_terminal_there_are_lines_alone(void **state)
{
    FILE *file = tmpfile();
    char text[512];
    size_t n;

    (void)state;
    assert_non_null(file);
    begin(file, false, false);
    at(1000, 100);
    sync_shown_line(shown, "one");
    at(2000, 100);
    sync_shown_end(shown);
    rewind(file);
    n = fread(text, 1, sizeof text - 1, file);
    text[n] = '\0';
    fclose(file);
    assert_null(strchr(text, '\033'));
    assert_string_equal(strchr(text, ' '), " one\n");
}

/* --- text ------------------------------------------------------------------------------------- */

static char *said;
static struct sync_report *report;

static int forget(void **state)
{
    (void)state;
    sync_report_free(&report);
    free(said);
    said = NULL;
    return 0;
}

static void print(int (*how)(const struct sync_report *r, FILE *out))
{
    size_t n;
    FILE *out = open_memstream(&said, &n);

    assert_non_null(out);
    assert_int_equal(how(report, out), 0);
    fclose(out);
}

static int brief(const struct sync_report *r, FILE *out)
{
    return sync_print_text(r, out, false);
}

static int verbose(const struct sync_report *r, FILE *out)
{
    return sync_print_text(r, out, true);
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);

    return n >= m && strcmp(text + n - m, end) == 0;
}

static void test_text_names_each_exception_and_ends_with_the_verdict(void **state)
{
    (void)state;
    report = made_up_troubled();
    print(brief);
    assert_non_null(strstr(said, "too-big (2): The target takes no message of this size.\n"
                                 "  Archive/2019  UID 17  \"Holiday pictures\"            NO "
                                 "[LIMIT] Message too large\n"
                                 "  Archive/2019  UID 18  \"Holiday pictures, the rest\"  NO "));
    assert_non_null(strstr(said, "over-quota (1): The target's quota is used up. A further run may "
                                 "help.\n"));
    assert_non_null(strstr(said, "  INBOX  UID 99  to UID 1099  \"Re: Grüße\"  \\Seen at"));
    assert_non_null(strstr(said, "a<b>&\"c'\\x1b[31m\\xff"));
    assert_null(strchr(said, '\033'));
    assert_true(ends_with(said, "\nNot proven: 5 exceptions and 2 differences in 4 folders; 67,308 "
                                "of 67,811 messages are at the target; a further run may help with "
                                "4 of them.\n"));
    /* Notes are counted, and listed only if asked for. */
    assert_non_null(strstr(said, "extra (1): "));
    assert_null(strstr(said, "Only here"));
}

static void test_text_sums_up_what_is_as_it_should_be(void **state)
{
    (void)state;
    report = made_up_proven(300);
    print(brief);
    assert_non_null(strstr(said, "\nFolder/250 "));
    assert_null(strstr(said, "\nFolder/251 "));
    assert_non_null(strstr(said, "And 294 folders as they should be: 73,500 messages. --verbose "
                                 "lists them.\n"));
    assert_true(ends_with(said, "Proven: 74,850 messages in 300 folders are at the target, 60 of "
                                "them carried now.\n"));
}

static void test_text_of_a_first_run_over_many_folders_does_not_flood(void **state)
{
    (void)state;
    report = made_up_proven(300);
    for (size_t i = 0; i < 300; i++)
        report->folders[i].carried = 1;
    add_issue(report, REASON_MISSING, 7, 3, 0, "lost", "");
    print(brief);
    assert_non_null(strstr(said, "\nFolder/7 "));
    assert_null(strstr(said, "\nFolder/8 "));
    assert_non_null(strstr(said, "And 299 folders as they should be: 74,743 messages, carried now: "
                                 "299."));
}

static void test_verbose_text_lists_all(void **state)
{
    (void)state;
    report = made_up_troubled();
    print(verbose);
    assert_non_null(strstr(said, "\nTrash "));
    assert_non_null(strstr(said, "unchanged"));
    assert_non_null(strstr(said, "\"Only here\""));
    assert_null(strstr(said, "as they should be"));
}

static void test_text_tells_of_issues_that_it_does_not_list(void **state)
{
    (void)state;
    report = made_up_troubled();
    report->counts[REASON_MISSING] = 1001;
    print(brief);
    assert_non_null(strstr(said, "  and 1,000 more: see the log\n"));
}

/* --- JSON ------------------------------------------------------------------------------------- */

static void test_json_has_all_and_is_valid_whatever_the_bytes(void **state)
{
    json_t *o, *first;
    json_error_t error;

    (void)state;
    report = made_up_troubled();
    print(sync_print_json);
    o = json_loads(said, JSON_REJECT_DUPLICATES, &error);
    if (!o)
        fail_msg("%s", error.text);
    assert_int_equal(json_integer_value(json_object_get(o, "format")), 1);
    assert_string_equal(json_string_value(json_object_get(o, "what")), "sync");
    assert_int_equal(json_integer_value(json_object_get(o, "status")), SYNC_EXIT_WITH_ERRORS);
    assert_true(json_is_false(json_object_get(o, "proven")));
    assert_int_equal(json_array_size(json_object_get(o, "folders")), 8);
    assert_int_equal(json_array_size(json_object_get(o, "issues")), 9);
    assert_int_equal(json_array_size(json_object_get(o, "reasons")), 8);
    first = json_array_get(json_object_get(o, "issues"), 0);
    assert_string_equal(json_string_value(json_object_get(first, "reason")), "too-big");
    assert_string_equal(json_string_value(json_object_get(first, "folder")), "Archive/2019");
    assert_int_equal(json_integer_value(json_object_get(first, "from_uid")), 17);
    assert_true(json_is_null(json_object_get(first, "to_uid")));
    first = json_array_get(json_object_get(o, "folders"), 5);
    assert_string_equal(json_string_value(json_object_get(first, "from")),
                        "a<b>&\"c'\x1b[31m\xef\xbf\xbd");
    assert_true(json_is_null(json_object_get(first, "to")));
    assert_string_equal(json_string_value(json_object_get(first, "state")), "refused");
    json_decref(o);
}

static void test_json_of_a_run_without_proof_is_not_proven(void **state)
{
    (void)state;
    report = made_up_report();
    report->what = SYNC_LOGIN;
    print(sync_print_json);
    assert_non_null(strstr(said, "\"proven\":false"));
    assert_non_null(strstr(said, "\"folders\":[],\n\"issues\":[]}\n"));
}

static void test_report_that_cannot_be_written_is_an_error(void **state)
{
    FILE *full = fopen("/dev/full", "w");

    (void)state;
    assert_non_null(full);
    setvbuf(full, NULL, _IONBF, 0);
    report = made_up_troubled();
    assert_int_equal(sync_print_json(report, full), -1);
    assert_int_equal(sync_print_text(report, full, true), -1);
    fclose(full);
}

#define SHOWN(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define SAID(name)  cmocka_unit_test_teardown(name, forget)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHOWN(test_progress_is_painted_in_its_place),
        SHOWN(test_lines_that_are_over_go_and_the_end_stays),
        SHOWN(test_nothing_is_wider_than_the_terminal),
        SHOWN(test_terminal_that_became_narrow_is_cleaned_of_broken_lines),
        SHOWN(test_verbose_lines_stand_above_what_is_painted),
        SHOWN(test_more_lanes_than_rows_are_counted),
        SHOWN(test_pause_of_a_server_is_told),
        SHOWN(test_quiet_writes_nothing),
        SHOWN(test_log_gets_lines_and_one_a_minute_that_tells_how_it_goes),
        SHOWN(test_elsewhere_than_on_a_terminal_there_are_lines_alone),
        SAID(test_text_names_each_exception_and_ends_with_the_verdict),
        SAID(test_text_sums_up_what_is_as_it_should_be),
        SAID(test_text_of_a_first_run_over_many_folders_does_not_flood),
        SAID(test_verbose_text_lists_all),
        SAID(test_text_tells_of_issues_that_it_does_not_list),
        SAID(test_json_has_all_and_is_valid_whatever_the_bytes),
        SAID(test_json_of_a_run_without_proof_is_not_proven),
        SAID(test_report_that_cannot_be_written_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
