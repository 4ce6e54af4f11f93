/* A report in words, figures and HTML. */
#include "cm.h"

#include "sync/report_words.h"
#include "sync_made_up.h"

static struct sync_report *report;

static int teardown(void **state)
{
    (void)state;
    sync_report_free(&report);
    return 0;
}

/* --- figures ---------------------------------------------------------------------------------- */

static void test_numbers_have_commas(void **state)
{
    (void)state;
    assert_string_equal(figure_number(0).text, "0");
    assert_string_equal(figure_number(999).text, "999");
    assert_string_equal(figure_number(1000).text, "1,000");
    assert_string_equal(figure_number(123456).text, "123,456");
    assert_string_equal(figure_number(UINT64_MAX).text, "18,446,744,073,709,551,615");
    assert_string_equal(figure_of(1, "message", "messages").text, "1 message");
    assert_string_equal(figure_of(1200, "message", "messages").text, "1,200 messages");
}

static void test_bytes_have_three_digits_and_a_unit(void **state)
{
    (void)state;
    assert_string_equal(figure_bytes(0).text, "0 B");
    assert_string_equal(figure_bytes(999).text, "999 B");
    assert_string_equal(figure_bytes(1000).text, "1.00 kB");
    assert_string_equal(figure_bytes(45300).text, "45.3 kB");
    assert_string_equal(figure_bytes(99960).text, "100 kB");
    assert_string_equal(figure_bytes(999499).text, "999 kB");
    assert_string_equal(figure_bytes(999500).text, "1.00 MB");
    assert_string_equal(figure_bytes(2410000000).text, "2.41 GB");
    assert_string_equal(figure_bytes(UINT64_MAX).text, "18.4 EB");
}

static void test_times_are_as_exact_as_they_are_short(void **state)
{
    (void)state;
    assert_string_equal(figure_time(40).text, "0.0 s");
    assert_string_equal(figure_time(3210).text, "3.2 s");
    assert_string_equal(figure_time(9960).text, "10 s");
    assert_string_equal(figure_time(59600).text, "1 min 00 s");
    assert_string_equal(figure_time(83400).text, "1 min 23 s");
    assert_string_equal(figure_time(7500000).text, "2 h 05 min");
    assert_string_equal(figure_date(1772357400).text, "2026-03-01 09:30:00 UTC");
}

/* --- verdicts --------------------------------------------------------------------------------- */

static void check_verdict(enum sync_opinion opinion, const char *words)
{
    char text[SYNC_VERDICT];

    assert_int_equal(sync_verdict(report, text), opinion);
    assert_string_equal(text, words);
}

static void test_verdict_of_what_is_proven(void **state)
{
    (void)state;
    report = made_up_proven(51);
    check_verdict(SYNC_GOOD, "Proven: 6,375 messages in 51 folders are at the target, 20 of them "
                             "carried now.");
    report->what = SYNC_VERIFY;
    report->folders[0].carried = report->folders[50].carried = 0;
    check_verdict(SYNC_GOOD, "Proven: 6,375 messages in 51 folders are at the target.");
}

static void test_verdict_of_what_is_not_proven(void **state)
{
    (void)state;
    report = made_up_troubled();
    check_verdict(SYNC_BAD,
                  "Not proven: 5 exceptions and 2 differences in 4 folders; 67,308 of 67,811 "
                  "messages are at the target; a further run may help with 4 of them.");
}

static void test_verdict_says_whether_a_further_run_helps(void **state)
{
    (void)state;
    report = made_up_proven(1);
    add_issue(report, REASON_TOO_BIG, 0, 1, 0, "x", "");
    check_verdict(SYNC_BAD, "Not proven: 1 exception in 1 folder; 100 of 100 messages are at the "
                            "target; a further run alone will not help.");
    report->counts[REASON_TOO_BIG] = 0;
    report->counts[REASON_MISSING] = 2;
    check_verdict(SYNC_BAD, "Not proven: 2 differences in 1 folder; 100 of 100 messages are at the "
                            "target; a further run may help.");
}

static void test_verdict_of_a_folder_that_nobody_began(void **state)
{
    (void)state;
    report = made_up_proven(2);
    report->folders[1].state = FOLDER_WAITING;
    report->folders[1].proof.is_proven = false;
    report->folders[1].proof.paired = 0;
    check_verdict(SYNC_BAD, "Not proven: 1 of 2 folders not proven; 100 of 201 messages are at the "
                            "target.");
}

static void test_verdict_of_runs_that_ended_early(void **state)
{
    (void)state;
    report = made_up_proven(1);
    report->stopped_by = SIGINT;
    check_verdict(SYNC_BAD, "Stopped by signal 2 (Interrupt); 10 messages carried so far, and the "
                            "next run goes on from there.");
    report->stopped_by = 0;
    err_set(&report->failure, 0, "old.example.org refuses the login");
    report->what = SYNC_VERIFY;
    check_verdict(SYNC_BAD, "Failed: old.example.org refuses the login.");
}

static void test_verdict_of_a_dry_run_promises_nothing(void **state)
{
    (void)state;
    report = made_up_proven(1);
    report->is_dry = true;
    check_verdict(SYNC_DOUBTFUL, "Dry run: nothing would be changed.");
    report->folders[0].would_carry = 12;
    report->folders[0].would_carry_bytes = 4000;
    report->folders[0].would_set = 1;
    report->folders[0].would_delete = 2;
    check_verdict(SYNC_DOUBTFUL, "Dry run: 12 messages (4.00 kB) would be carried, the flags of 1 "
                                 "message changed, 2 messages deleted at the target.");
}

static void test_verdict_of_runs_without_mail_proves_nothing(void **state)
{
    (void)state;
    report = made_up_report();
    report->what = SYNC_LOGIN;
    check_verdict(SYNC_GOOD, "Logged in at both servers.");
    add_folder(report, "a", "a", 5, 0);
    report->what = SYNC_FOLDERS;
    check_verdict(SYNC_GOOD, "1 folder looked at; no mail was carried.");
    report->what = SYNC_SIZES;
    check_verdict(SYNC_GOOD,
                  "41.0 kB, 5 messages in 1 folder at the source; 41.0 kB, 5 messages at "
                  "the target.");
}

/* --- HTML ------------------------------------------------------------------------------------- */

static char *page;

static void make_page(void)
{
    struct err err;
    size_t n;
    FILE *out = open_memstream(&page, &n);

    assert_non_null(out);
    assert_int_equal(sync_report_html(report, out, &err), 0);
    fclose(out);
}

static int free_page(void **state)
{
    free(page);
    page = NULL;
    return teardown(state);
}

static void test_page_has_nothing_of_a_server_as_markup(void **state)
{
    (void)state;
    report = made_up_troubled();
    make_page();
    assert_null(strstr(page, "<script"));
    assert_non_null(strstr(page, "<bdi>&lt;script&gt;alert(1)&lt;/script&gt;</bdi>"));
    assert_non_null(strstr(page, "<bdi>a&lt;b&gt;&amp;&quot;c&#39;\xef\xbf\xbd[31m\xef\xbf\xbd<"));
    for (const char *p = page; *p; p++)
        assert_true((unsigned char)*p >= ' ' || *p == '\n');
}

static void test_page_needs_nothing_beside_it(void **state)
{
    static const char *const others[] = {"src=", "href=\"h", "url(", "@import", "<link"};

    (void)state;
    report = made_up_troubled();
    make_page();
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_null(strstr(page, others[i]));
}

static void test_page_has_verdict_folders_and_each_issue(void **state)
{
    (void)state;
    report = made_up_troubled();
    make_page();
    assert_non_null(strstr(page, "<div class=\"verdict bad\">✗ Not proven: 5 exceptions"));
    assert_non_null(strstr(page, "<a href=\"#too-big\">"));
    assert_non_null(strstr(page, "id=\"too-big\""));
    assert_non_null(strstr(page, "Holiday pictures, the rest"));
    assert_non_null(strstr(page, "<tr id=\"f7\">"));
    assert_non_null(strstr(page, "Lists.a-list-with-a-name"));
    assert_null(strstr(page, "more: see the log"));
}

static void test_page_tells_of_issues_that_it_does_not_list(void **state)
{
    (void)state;
    report = made_up_troubled();
    report->counts[REASON_MISSING] = 5000;
    make_page();
    assert_non_null(strstr(page, "and 4,999 more: see the log"));
}

static void test_page_folds_away_what_is_quiet_among_many(void **state)
{
    const char *fold;

    (void)state;
    report = made_up_proven(300);
    make_page();
    assert_non_null(strstr(page, "verdict good"));
    fold = strstr(page, "<summary>294 folders");
    assert_non_null(fold);
    assert_non_null(strstr(fold, "<bdi>Folder/299<"));
    assert_null(strstr(fold, "<bdi>Folder/50<"));
}

static void test_page_that_cannot_be_written_is_an_error(void **state)
{
    FILE *full = fopen("/dev/full", "w");
    struct err err;

    (void)state;
    assert_non_null(full);
    report = made_up_troubled();
    assert_int_equal(sync_report_html(report, full, &err), -1);
    assert_non_null(strstr(err.text, "No space left"));
    fclose(full);
}

#define T(name) cmocka_unit_test_teardown(name, free_page)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_numbers_have_commas),
        T(test_bytes_have_three_digits_and_a_unit),
        T(test_times_are_as_exact_as_they_are_short),
        T(test_verdict_of_what_is_proven),
        T(test_verdict_of_what_is_not_proven),
        T(test_verdict_says_whether_a_further_run_helps),
        T(test_verdict_of_a_folder_that_nobody_began),
        T(test_verdict_of_runs_that_ended_early),
        T(test_verdict_of_a_dry_run_promises_nothing),
        T(test_verdict_of_runs_without_mail_proves_nothing),
        T(test_page_has_nothing_of_a_server_as_markup),
        T(test_page_needs_nothing_beside_it),
        T(test_page_has_verdict_folders_and_each_issue),
        T(test_page_tells_of_issues_that_it_does_not_list),
        T(test_page_folds_away_what_is_quiet_among_many),
        T(test_page_that_cannot_be_written_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
