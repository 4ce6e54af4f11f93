/* The drivers file and static: reading, changes, mistakes, and who waits for what. The clock is
 * ours and moves on instead of sleeping, as in test_loop.c. */
#include "directory/directory.h"

#include "conf_testing.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>

static uint64_t skipped_ms;

/* Stand before those of libc, for libev too. */
int clock_gettime(clockid_t clock, struct timespec *ts)
{
    int ret = (int)syscall(SYS_clock_gettime, clock, ts);

    ts->tv_sec += (time_t)(skipped_ms / 1000);
    ts->tv_nsec += (long)(skipped_ms % 1000) * 1000000;
    if (ts->tv_nsec >= 1000000000) {
        ts->tv_sec++;
        ts->tv_nsec -= 1000000000;
    }
    return ret;
}

int epoll_wait(int epfd, struct epoll_event *events, int max, int timeout_ms)
{
    int n = (int)syscall(SYS_epoll_pwait, epfd, events, max, 0, NULL, (size_t)0);

    if (n == 0 && timeout_ms > 0)
        skipped_ms += (uint64_t)timeout_ms;
    return n;
}

struct world {
    struct folder *folder;
    char path[96];
    struct conf_global global;
    struct conf_directory conf;
    struct loop *loop;
    const struct directory_driver *driver;
    struct directory *directory;
    struct deadline end;
    char news[2048]; /* a line each */
    char answers[512];
    /* what happens in a turn of the loop, and in how many more turns */
    void (*deed)(struct world *w);
    unsigned turns, deeds;
};

static void on_end(struct deadline *d)
{
    loop_stop(CONTAINER(d, struct world, end)->loop);
}

static void on_turn(void *arg)
{
    struct world *w = arg;

    if (w->turns > 0 && --w->turns == 0 && w->deed)
        w->deed(w);
}

static void on_news(void *arg, const struct directory_news *news)
{
    struct world *w = arg;
    const size_t n = strlen(w->news);

    assert_string_equal(news->title, "people");
    if (news->is_bad)
        snprintf(w->news + n, sizeof w->news - n, "%s\n", news->detail);
    else
        snprintf(w->news + n, sizeof w->news - n, "%zu users, %zu rules\n", news->users,
                 news->rules);
}

static void on_answer(void *arg, enum directory_status status, struct slice text)
{
    struct world *w = arg;
    const size_t n = strlen(w->answers);

    snprintf(w->answers + n, sizeof w->answers - n, "%s%.*s\n",
             status == DIRECTORY_FOUND     ? ""
             : status == DIRECTORY_UNKNOWN ? "-"
                                           : "! ",
             SLICE_ARG(text));
}

static int begin(void **state)
{
    static struct world w;
    void *folder;
    struct err err;

    memset(&w, 0, sizeof w);
    skipped_ms += 5000; /* ahead of the kernel's: what is written now seems to be at rest */
    if (make_folder(&folder) < 0)
        return -1;
    w.folder = folder;
    snprintf(w.path, sizeof w.path, "%s/map", w.folder->path);
    w.global = (struct conf_global){.username_domain = "", .username_case = USERNAME_LOWER};
    w.conf = (struct conf_directory){.title = "people", .driver = DRIVER_FILE, .path = w.path};
    w.loop = loop_new(&err);
    w.driver = directory_driver(DRIVER_FILE);
    loop_on_turn(w.loop, on_turn, &w);
    deadline_init(&w.end, on_end);
    *state = &w;
    return w.loop ? 0 : -1;
}

static int end(void **state)
{
    struct world *w = *state;
    void *folder = w->folder;

    if (w->driver)
        w->driver->close(&w->directory);
    if (w->driver)
        w->driver->close(&w->directory);
    loop_free(&w->loop);
    return remove_folder(&folder);
}

static void open_it(struct world *w)
{
    const struct directory_params p = {
        .conf = &w->conf, .global = &w->global, .loop = w->loop, .tell = on_news, .arg = w};
    struct err err;

    if (w->driver->open(&p, &w->directory, &err) < 0)
        fail_msg("%s", err.text);
}

static void pass(struct world *w, uint64_t ms)
{
    deadline_set(w->loop, &w->end, ms);
    loop_run(w->loop);
}

static void write_map(struct world *w, const char *text)
{
    write_text(w->folder, "map", text);
}

/* Puts a whole file in place of the old one. */
static void replace_map(struct world *w, const char *text)
{
    char path[96];

    write_text(w->folder, "new", text);
    snprintf(path, sizeof path, "%s/new", w->folder->path);
    assert_int_equal(rename(path, w->path), 0);
}

/* What was told since. */
static void expect_news(struct world *w, const char *expected)
{
    assert_string_equal(w->news, expected);
    w->news[0] = '\0';
}

static void ask(struct world *w, const char *user)
{
    w->driver->lookup(w->directory, slice_str(user), on_answer, w);
}

static void expect(struct world *w, const char *user, const char *answer)
{
    w->answers[0] = '\0';
    ask(w, user);
    w->answers[strcspn(w->answers, "\n")] = '\0';
    assert_string_equal(w->answers, answer);
    w->answers[0] = '\0';
}

static char *about(struct world *w, const char *before, const char *after)
{
    static char text[400];

    snprintf(text, sizeof text, "%s%s%s", before, w->path, after);
    return text;
}

static void test_questions_wait_until_the_first_reading_is_over(void **state)
{
    struct world *w = *state;

    write_map(w, "ann pool=a\n@x pool=x\n");
    open_it(w);
    ask(w, "ann");
    ask(w, "b@x");
    ask(w, "carl");
    assert_string_equal(w->answers, "");
    pass(w, 500);
    assert_string_equal(w->answers, "pool=a\npool=x\n-\n");
    expect_news(w, "1 users, 1 rules\n");
    expect(w, "ann", "pool=a");
    pass(w, 60000);
    expect_news(w, "");
}

static void test_without_a_file_questions_fail_until_there_is_one(void **state)
{
    struct world *w = *state;

    open_it(w);
    ask(w, "ann");
    pass(w, 10000);
    assert_string_equal(w->answers, about(w, "! ", ": No such file or directory\n"));
    expect_news(w, about(w, "",
                         ": No such file or directory; logins that ask here fail until it is "
                         "right\n"));
    write_map(w, "ann pool=a");
    pass(w, 2000);
    expect_news(w, "1 users, 0 rules\n");
    expect(w, "ann", "pool=a");
}

static void test_a_change_is_read_within_two_seconds(void **state)
{
    struct world *w = *state;

    write_map(w, "ann pool=a\n");
    open_it(w);
    pass(w, 200);
    write_map(w, "ann pool=b\n");
    expect(w, "ann", "pool=a");
    pass(w, 2000);
    expect(w, "ann", "pool=b");
    replace_map(w, "ann pool=c\n");
    pass(w, 2000);
    expect(w, "ann", "pool=c");
    expect_news(w, "1 users, 0 rules\n1 users, 0 rules\n1 users, 0 rules\n");
}

/* A tool that keeps size and modification time changes the change time. */
static void test_a_change_that_hides_its_time_is_seen(void **state)
{
    struct world *w = *state;
    struct timespec times[2];
    struct stat st;

    write_map(w, "ann pool=a\n");
    open_it(w);
    pass(w, 200);
    assert_int_equal(stat(w->path, &st), 0);
    times[0] = st.st_atim;
    times[1] = st.st_mtim;
    do {
        write_map(w, "ann pool=b\n");
        assert_int_equal(utimensat(AT_FDCWD, w->path, times, 0), 0);
        assert_int_equal(stat(w->path, &st), 0);
    } while (st.st_ctim.tv_sec == times[1].tv_sec && st.st_ctim.tv_nsec == times[1].tv_nsec);
    pass(w, 2000);
    expect(w, "ann", "pool=b");
}

static void test_a_wrong_line_is_told_once_and_the_old_map_stays(void **state)
{
    struct world *w = *state;

    write_map(w, "ann pool=a\n");
    open_it(w);
    pass(w, 200);
    expect_news(w, "1 users, 0 rules\n");
    write_map(w, "ann pool=b\n\nben poool=b\ncarl password_hash=sesam\n");
    pass(w, 30000);
    expect(w, "ann", "pool=a");
    expect_news(w, about(w, "",
                         ":3: unknown word \"poool\"; did you mean pool?; what was read before "
                         "stays in use\n"));
    write_map(w, "ann pool=b\n\ncarl password_hash=sesam\n");
    pass(w, 30000);
    assert_non_null(strstr(w->news, ":3: the value of password_hash is not a hash"));
    assert_null(strstr(w->news, "sesam"));
    w->news[0] = '\0';
    write_map(w, "ann pool=c\n");
    pass(w, 2000);
    expect(w, "ann", "pool=c");
    expect_news(w, "1 users, 0 rules\n");
}

static void test_with_a_wrong_line_at_the_start_questions_fail(void **state)
{
    struct world *w = *state;

    write_map(w, "ann pool");
    open_it(w);
    ask(w, "ann");
    pass(w, 5000);
    assert_string_equal(w->answers, about(w, "! ", ":1: pool has no value; write pool=...\n"));
    expect_news(w, about(w, "",
                         ":1: pool has no value; write pool=...; logins that ask here fail until "
                         "it is right\n"));
    write_map(w, "ann pool=a");
    pass(w, 2000);
    expect(w, "ann", "pool=a");
}

/* With its folder, so that the file itself stays as it was. */
static void test_when_the_file_vanishes_the_map_stays(void **state)
{
    struct world *w = *state;
    char sub[80], aside[80];

    snprintf(sub, sizeof sub, "%s/sub", w->folder->path);
    snprintf(aside, sizeof aside, "%s/aside", w->folder->path);
    snprintf(w->path, sizeof w->path, "%s/map", sub);
    make_sub(w->folder);
    write_text(w->folder, "sub/map", "ann pool=a\n");
    open_it(w);
    pass(w, 200);
    expect_news(w, "1 users, 0 rules\n");
    assert_int_equal(rename(sub, aside), 0);
    pass(w, 30000);
    expect_news(w,
                about(w, "", ": No such file or directory; what was read before stays in use\n"));
    expect(w, "ann", "pool=a");
    assert_int_equal(rename(aside, sub), 0);
    pass(w, 2000);
    expect_news(w, "1 users, 0 rules\n");
    expect(w, "ann", "pool=a");
}

static void test_what_is_no_file_is_not_read(void **state)
{
    struct world *w = *state;

    assert_int_equal(mkfifo(w->path, 0600), 0);
    open_it(w);
    pass(w, 5000);
    expect_news(w, about(w, "", " is not a file; logins that ask here fail until it is right\n"));
    assert_int_equal(unlink(w->path), 0);
    assert_int_equal(mkdir(w->path, 0700), 0);
    pass(w, 5000);
    expect_news(w, "");
    assert_int_equal(rmdir(w->path), 0);
    write_map(w, "ann");
    pass(w, 5000);
    expect(w, "ann", "");
}

/* As a full disk, or a script that fails, leaves it. */
static void test_an_empty_file_does_not_take_the_place_of_a_map(void **state)
{
    struct world *w = *state;

    write_map(w, "ann pool=a\n");
    open_it(w);
    pass(w, 500);
    expect_news(w, "1 users, 0 rules\n");
    write_map(w, "");
    pass(w, 5000);
    expect_news(w, about(w, "",
                         " is empty; a map of nobody has a comment in it; what was read "
                         "before stays in use\n"));
    expect(w, "ann", "pool=a");
    write_map(w, "# nobody\n");
    pass(w, 5000);
    expect_news(w, "0 users, 0 rules\n");
    expect(w, "ann", "-");
}

/* As our clock goes, which is ahead of the kernel's. */
static void set_age(const struct world *w, time_t age_s)
{
    struct timespec times[2];

    clock_gettime(CLOCK_REALTIME, &times[0]);
    times[0].tv_sec -= age_s;
    times[1] = times[0];
    assert_int_equal(utimensat(AT_FDCWD, w->path, times, 0), 0);
}

/* Else users would be unknown whose lines are not there yet. */
static void test_half_of_a_text_is_not_read_at_the_start_either(void **state)
{
    struct world *w = *state;

    write_map(w, "ann pool=a\n");
    set_age(w, 0);
    open_it(w);
    ask(w, "ben");
    pass(w, 150);
    write_map(w, "ann pool=a\nben pool=a\n");
    set_age(w, 0);
    pass(w, 150);
    assert_string_equal(w->answers, "");
    pass(w, 400);
    assert_string_equal(w->answers, "pool=a\n");
    expect_news(w, "2 users, 0 rules\n");
}

/* Lookup that is replaced shall not keep logins waiting. */
static void test_what_is_at_rest_is_read_at_once(void **state)
{
    struct world *w = *state;

    write_map(w, "ann pool=a\n");
    open_it(w);
    ask(w, "ann");
    pass(w, 150);
    assert_string_equal(w->answers, "pool=a\n");
}

/* ---- large files ---- */

enum { LARGE = 20000 };

static char *large_map(const char *pool)
{
    char *text = malloc(LARGE * 40), *at = text;

    assert_non_null(text);
    for (unsigned i = 0; i < LARGE; i++)
        at += sprintf(at, "user%05u@example.org pool=%s\n", i, pool);
    return text;
}

static void append_to_map(struct world *w)
{
    FILE *out = fopen(w->path, "a");

    assert_non_null(out);
    fprintf(out, "late%u pool=late\n", w->deeds++);
    assert_int_equal(fclose(out), 0);
}

static void test_a_large_file_is_read_in_many_turns(void **state)
{
    struct world *w = *state;
    char *text = large_map("a");

    write_map(w, text);
    open_it(w);
    free(text);
    w->turns = 1000;
    pass(w, 500);
    assert_true(w->turns < 1000 - 15);
    expect_news(w, "20000 users, 0 rules\n");
    expect(w, "user00000@example.org", "pool=a");
    expect(w, "user19999@example.org", "pool=a");
    text = large_map("b");
    write_map(w, text);
    free(text);
    pass(w, 3000);
    expect(w, "user07777@example.org", "pool=b");
}

static void test_a_file_that_changes_while_it_is_read_is_read_again(void **state)
{
    struct world *w = *state;
    char *text = large_map("a");

    write_map(w, text);
    free(text);
    open_it(w);
    ask(w, "late0");
    w->deed = append_to_map;
    w->turns = 6;
    pass(w, 2000);
    assert_int_equal(w->deeds, 1);
    expect_news(w, "20001 users, 0 rules\n");
    assert_string_equal(w->answers, "pool=late\n");
}

static void change_first_line(struct world *w)
{
    FILE *out = fopen(w->path, "r+");

    assert_non_null(out);
    w->deeds++;
    assert_int_equal(fprintf(out, "user99999@example.org pool=b\n"), 29);
    assert_int_equal(fclose(out), 0);
}

static void test_a_line_that_changes_behind_the_reader_is_read_again(void **state)
{
    struct world *w = *state;
    char *text = large_map("a");

    write_map(w, text);
    free(text);
    open_it(w);
    w->deed = change_first_line;
    w->turns = 6;
    pass(w, 2000);
    assert_int_equal(w->deeds, 1);
    expect_news(w, "20000 users, 0 rules\n");
    expect(w, "user99999@example.org", "pool=b");
    expect(w, "user00000@example.org", "-");
}

static void append_again(struct world *w)
{
    append_to_map(w);
    w->turns = 1;
}

static void test_a_file_that_is_written_all_the_time_is_told(void **state)
{
    struct world *w = *state;
    char *text = large_map("a");

    write_map(w, text);
    free(text);
    open_it(w);
    w->deed = append_again;
    w->turns = 1;
    pass(w, 30000);
    expect_news(w, about(w, "",
                         " is being written all the time; logins that ask here fail until it is "
                         "right\n"));
    w->deed = NULL;
    pass(w, 3000);
    expect(w, "late0", "pool=late");
}

/* Half of the new text was there, then the rest came: the half is never in use. */
static void test_half_of_a_text_is_not_read(void **state)
{
    struct world *w = *state;

    write_map(w, "ann pool=a\nben pool=a\n");
    open_it(w);
    pass(w, 950);
    write_map(w, "ann pool=b\n");
    for (int i = 0; i < 20; i++) {
        pass(w, 100);
        append_to_map(w);
        expect(w, "ben", "pool=a");
    }
    pass(w, 2000);
    expect(w, "ben", "-");
    expect(w, "late19", "pool=late");
    expect_news(w, "2 users, 0 rules\n21 users, 0 rules\n");
}

/* ---- questions ---- */

static void on_answer_ask(void *arg, enum directory_status status, struct slice text)
{
    struct world *w = arg;

    on_answer(w, status, text);
    ask(w, "ben");
}

static void test_an_answer_may_ask_further(void **state)
{
    struct world *w = *state;

    write_map(w, "ann pool=a\nben pool=b\n");
    open_it(w);
    w->driver->lookup(w->directory, SLICE("ann"), on_answer_ask, w);
    pass(w, 200);
    assert_string_equal(w->answers, "pool=a\npool=b\n");
}

static void test_a_question_that_is_cancelled_is_not_answered(void **state)
{
    struct world *w = *state;
    struct world one = {.answers = ""}, other = {.answers = ""};

    write_map(w, "ann pool=a\n");
    open_it(w);
    w->driver->lookup(w->directory, SLICE("ann"), on_answer, &one);
    ask(w, "ann");
    w->driver->lookup(w->directory, SLICE("ann"), on_answer, &other);
    w->driver->cancel(w->directory, &other);
    w->driver->cancel(w->directory, &one);
    w->driver->cancel(w->directory, &one);
    pass(w, 200);
    assert_string_equal(one.answers, "");
    assert_string_equal(other.answers, "");
    assert_string_equal(w->answers, "pool=a\n");
}

static void test_closing_forgets_questions_and_a_reading_under_way(void **state)
{
    struct world *w = *state;
    char *text = large_map("a");

    write_map(w, text);
    free(text);
    open_it(w);
    ask(w, "ann");
    w->driver->close(&w->directory);
    assert_null(w->directory);
    open_it(w);
    ask(w, "ann");
    pass(w, 60); /* some pieces, or all */
    w->driver->close(&w->directory);
    pass(w, 5000);
}

static void test_an_expression_that_runs_away_fails_the_question(void **state)
{
    struct world *w = *state;

    write_map(w, "~^(a+)+$ pool=a\n* pool=b\n");
    open_it(w);
    pass(w, 200);
    expect(w, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaax",
           "! the expressions up to ~^(a+)+$ take too many steps with this name");
    expect(w, "x", "pool=b");
}

/* ---- static ---- */

static void test_static_rules_are_asked_at_once(void **state)
{
    static const char *const rules[] = {"Ann pool=a", "", "@example.com pool=b", "~^t[0-9] pool=c"};
    struct world *w = *state;

    w->driver = directory_driver(DRIVER_STATIC);
    w->conf.rules = (struct conf_list){rules, 4};
    open_it(w);
    expect(w, "ann", "pool=a");
    expect(w, "x@example.com", "pool=b");
    expect(w, "t1", "pool=c");
    expect(w, "ben", "-");
    expect_news(w, "");
    w->driver->cancel(w->directory, w);
}

static void test_static_rules_that_are_wrong_do_not_open(void **state)
{
    static const char *const rules[] = {"ann pool=a", "ann\nben"};
    struct world *w = *state;
    const struct directory_params p = {
        .conf = &w->conf, .global = &w->global, .loop = w->loop, .tell = on_news, .arg = w};
    struct err err;

    w->driver = directory_driver(DRIVER_STATIC);
    w->conf.rules = (struct conf_list){rules, 2};
    assert_int_equal(w->driver->open(&p, &w->directory, &err), -1);
    assert_string_equal(err.text,
                        "rules, item 2: a control character (0x0a) in the line, as byte 4");
    assert_null(w->directory);
}

static void test_drivers_have_the_names_of_the_setting(void **state)
{
    (void)state;
    assert_string_equal(directory_driver(DRIVER_STATIC)->name, "static");
    assert_string_equal(directory_driver(DRIVER_FILE)->name, "file");
    assert_string_equal(directory_driver(DRIVER_SOCKETMAP)->name, "socketmap");
}

#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(test_questions_wait_until_the_first_reading_is_over),
        WORLD_TEST(test_without_a_file_questions_fail_until_there_is_one),
        WORLD_TEST(test_a_change_is_read_within_two_seconds),
        WORLD_TEST(test_a_change_that_hides_its_time_is_seen),
        WORLD_TEST(test_a_wrong_line_is_told_once_and_the_old_map_stays),
        WORLD_TEST(test_with_a_wrong_line_at_the_start_questions_fail),
        WORLD_TEST(test_when_the_file_vanishes_the_map_stays),
        WORLD_TEST(test_what_is_no_file_is_not_read),
        WORLD_TEST(test_an_empty_file_does_not_take_the_place_of_a_map),
        WORLD_TEST(test_half_of_a_text_is_not_read_at_the_start_either),
        WORLD_TEST(test_what_is_at_rest_is_read_at_once),
        WORLD_TEST(test_a_large_file_is_read_in_many_turns),
        WORLD_TEST(test_a_file_that_changes_while_it_is_read_is_read_again),
        WORLD_TEST(test_a_line_that_changes_behind_the_reader_is_read_again),
        WORLD_TEST(test_a_file_that_is_written_all_the_time_is_told),
        WORLD_TEST(test_half_of_a_text_is_not_read),
        WORLD_TEST(test_an_answer_may_ask_further),
        WORLD_TEST(test_a_question_that_is_cancelled_is_not_answered),
        WORLD_TEST(test_closing_forgets_questions_and_a_reading_under_way),
        WORLD_TEST(test_an_expression_that_runs_away_fails_the_question),
        WORLD_TEST(test_static_rules_are_asked_at_once),
        WORLD_TEST(test_static_rules_that_are_wrong_do_not_open),
        cmocka_unit_test(test_drivers_have_the_names_of_the_setting),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
