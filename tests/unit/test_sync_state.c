/* What lanes share, as several threads use it at the same time. */
#include "sync/state.h"

#include "sync/journal.h"

#include "cm.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* The linker hands clock_gettime() to this: time stands still where a test says so. */
int __real_clock_gettime(clockid_t clock, struct timespec *out);
int __wrap_clock_gettime(clockid_t clock, struct timespec *out);

static time_t stopped_s; /* 0: time goes on */

int __wrap_clock_gettime(clockid_t clock, struct timespec *out)
{
    if (stopped_s == 0)
        return __real_clock_gettime(clock, out);
    *out = (struct timespec){.tv_sec = stopped_s};
    return 0;
}

struct world {
    struct sync_params params;
    struct sync_stop stop;
    struct journal *journal;
    struct sync *sync;
    size_t lines, with_escape;
    struct sync_progress progress;
};

static void on_progress(void *arg, const struct sync_progress *progress)
{
    ((struct world *)arg)->progress = *progress;
}

static void on_line(void *arg, const char *line)
{
    struct world *w = arg;

    w->lines++;
    w->with_escape += strchr(line, 27) != NULL;
}

static void begin(struct world *w)
{
    struct journal_params j = {.from = "ann@a", .to = "ann@b"};
    struct err err;

    assert_int_equal(journal_open(&j, &w->journal, &err), 0);
    w->sync = sync_new(&w->params, &w->stop, w->journal, &err);
    assert_non_null(w->sync);
}

static void attend(struct world *w)
{
    const struct sync_watch watch = {.progress = on_progress, .line = on_line, .arg = w};

    (void)sync_attend(w->sync, &watch, 0);
}

static struct sync_report *end(struct world *w)
{
    struct sync_report *report = sync_end(&w->sync);

    journal_close(&w->journal);
    return report;
}

/* --- threads ---------------------------------------------------------------------------------- */

enum { THREADS = 4, TIMES = 500 };

struct runner {
    struct world *world;
    unsigned lane;
    uint32_t folder;
};

static void add_one(struct sync_folder *f, const void *arg)
{
    (void)arg;
    f->carried++;
}

static void *run(void *arg)
{
    const struct runner *r = arg;
    struct sync *s = r->world->sync;

    for (int i = 0; i < TIMES; i++) {
        sync_lane_at(s, r->lane, "a", TIMES);
        sync_lane_done(s, r->lane, 1, 10);
        sync_folder_over(s, r->lane);
        sync_carried(s, 1, 10);
        sync_change(s, r->folder, add_one, NULL);
        sync_issue(s, REASON_KEYWORDS, r->folder, 1, 2, SLICE("s"), "n %d", i);
        sync_log(s, "\033[31mline %d", i);
    }
    sync_lanes(s, -1);
    return NULL;
}

static void nothing_is_lost_between_lanes(void **state)
{
    static struct world w;
    struct runner runners[THREADS];
    pthread_t threads[THREADS];
    struct sync_report *report;
    struct err err;

    (void)state;
    w = (struct world){0};
    begin(&w);
    for (unsigned i = 0; i < THREADS; i++) {
        runners[i] = (struct runner){.world = &w, .lane = i};
        assert_int_equal(sync_add_folder(w.sync, SLICE("a"), SLICE("b"), &runners[i].folder, &err),
                         0);
    }
    sync_lanes(w.sync, THREADS);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run, &runners[i]), 0);
    while (sync_attend(
        w.sync, &(struct sync_watch){.progress = on_progress, .line = on_line, .arg = &w}, 10))
        ;
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    attend(&w);
    assert_int_equal(w.progress.messages_done, THREADS * TIMES);
    assert_int_equal(w.progress.bytes_done, THREADS * TIMES * 10);
    assert_int_equal(w.progress.carried, THREADS * TIMES);
    assert_int_equal(w.progress.folders_done, THREADS * TIMES);
    assert_int_equal(w.progress.exceptions, THREADS * TIMES);
    assert_int_equal(w.with_escape, 0);
    report = end(&w);
    assert_int_equal(report->folders_n, THREADS);
    assert_int_equal(sync_total(report).carried, THREADS * TIMES);
    assert_int_equal(report->issues_n, THREADS * TIMES);
    assert_int_equal(report->counts[REASON_KEYWORDS], THREADS * TIMES);
    sync_report_free(&report);
}

/* --- ends ------------------------------------------------------------------------------------- */

static void the_first_to_give_up_counts(void **state)
{
    struct world w = {0};
    struct sync_report *report;
    struct err err;

    (void)state;
    begin(&w);
    assert_false(sync_is_stopping(w.sync));
    (void)err_set(&err, 0, "first");
    sync_give_up(w.sync, SYNC_EXIT_SOFTWARE, &err);
    (void)err_set(&err, 0, "second");
    sync_give_up(w.sync, SYNC_EXIT_CATCH_ALL, &err);
    assert_true(sync_is_stopping(w.sync));
    report = end(&w);
    assert_int_equal(report->status, SYNC_EXIT_SOFTWARE);
    assert_string_equal(report->failure.text, "first");
    sync_report_free(&report);
}

static void a_signal_stops_all(void **state)
{
    struct world w = {0};
    struct sync_report *report;

    (void)state;
    begin(&w);
    __atomic_store_n(&w.stop.signal, 15, __ATOMIC_RELAXED);
    assert_true(sync_is_stopping(w.sync));
    report = end(&w);
    assert_int_equal(report->stopped_by, 15);
    sync_report_free(&report);
}

static void exceptions_count_before_they_are_listed_and_once(void **state)
{
    struct world w = {.params = {.max_errors = 3}};
    struct sync_report *report;

    (void)state;
    begin(&w);
    sync_refused(w.sync, 2);
    sync_refused(w.sync, -2);
    sync_issue(w.sync, REASON_TOO_BIG, UINT32_MAX, 1, 0, (struct slice){0}, "%s", "");
    sync_issue(w.sync, REASON_EXTRA, UINT32_MAX, 1, 0, (struct slice){0}, "%s", ""); /* a note */
    assert_false(sync_is_stopping(w.sync));
    sync_refused(w.sync, 1);
    assert_false(sync_is_stopping(w.sync));
    sync_refused(w.sync, 1);
    assert_true(sync_is_stopping(w.sync));
    report = end(&w);
    assert_int_equal(report->status, SYNC_EXIT_WITH_ERRORS_MAX);
    sync_report_free(&report);
}

static void a_rate_is_kept_to_over_all_lanes(void **state)
{
    struct world w = {.params = {.max_rate = 1000000}};
    struct sync_report *report;
    uint32_t first, second;

    (void)state;
    begin(&w);
    stopped_s = 1000;
    first = sync_pay(w.sync, 1000000);
    second = sync_pay(w.sync, 1000000);
    stopped_s = 0;
    /* A second each, less what may go at once; the second waits behind the first. */
    assert_int_equal(first, 750);
    assert_int_equal(second, 1750);
    report = end(&w);
    sync_report_free(&report);
}

static void without_a_rate_nobody_pauses(void **state)
{
    struct world w = {0};
    struct sync_report *report;

    (void)state;
    begin(&w);
    assert_int_equal(sync_pay(w.sync, SIZE_MAX / 2), 0);
    report = end(&w);
    sync_report_free(&report);
}

static void connections_to_the_source_are_never_more_than_allowed(void **state)
{
    struct world w = {.params = {.lanes = 4}};
    struct sync_report *report;

    (void)state;
    begin(&w);
    sync_lanes(w.sync, 2);
    assert_int_equal(sync_sources_take(w.sync, 1), 1);
    assert_int_equal(sync_sources_take(w.sync, 2), 1);
    assert_int_equal(sync_sources_take(w.sync, 1), 0);
    sync_sources_give(w.sync, 1);
    sync_lanes(w.sync, -1); /* who ends leaves his own */
    assert_int_equal(sync_sources_take(w.sync, 8), 2);
    sync_sources_give(w.sync, 3);
    sync_source_is_full(w.sync);
    assert_int_equal(sync_sources_take(w.sync, 1), 0);
    sync_lanes(w.sync, -1);
    report = end(&w);
    sync_report_free(&report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost_between_lanes),
        cmocka_unit_test(the_first_to_give_up_counts),
        cmocka_unit_test(a_signal_stops_all),
        cmocka_unit_test(exceptions_count_before_they_are_listed_and_once),
        cmocka_unit_test(a_rate_is_kept_to_over_all_lanes),
        cmocka_unit_test(without_a_rate_nobody_pauses),
        cmocka_unit_test(connections_to_the_source_are_never_more_than_allowed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
