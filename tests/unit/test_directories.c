/* The chain of directories over drivers that the test plays: who is asked, when, and what of the
 * answers is kept. */
#include "cm.h"
#include "quick_clock.h"

#include "directory/directories.h"
#include "directory/facts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ASKED = 16, TOLD = 16, TIMEOUT_MS = 4000 };

/* ---- the drivers ---- */

struct asked {
    char user[64];
    directory_done *done;
    void *arg; /* NULL: answered or cancelled */
};

struct directory {
    const char *title;
    struct directory_params params;
    struct asked asked[ASKED];
    size_t asked_n, cancelled_n;
    const char *at_once; /* what every question is answered with, or NULL: later */
};

static struct directory *opened[4];
static size_t opened_n;
static const char *wrong_title; /* that cannot be opened */

static void give(struct asked *a, const char *text)
{
    void *arg = a->arg;

    assert_non_null(arg);
    a->arg = NULL;
    if (strcmp(text, "unknown") == 0)
        a->done(arg, DIRECTORY_UNKNOWN, slice_of(NULL, 0));
    else if (strncmp(text, "!", 1) == 0)
        a->done(arg, DIRECTORY_FAILED, slice_str(text + 1));
    else
        a->done(arg, DIRECTORY_FOUND, slice_str(text));
}

static int fake_open(const struct directory_params *params, struct directory **out_directory,
                     struct err *err)
{
    struct directory *d;

    if (wrong_title && strcmp(params->conf->title, wrong_title) == 0)
        return err_set(err, 0, "it is wrong");
    d = calloc(1, sizeof *d);
    d->title = params->conf->title;
    d->params = *params;
    opened[opened_n++] = *out_directory = d;
    return 0;
}

static void fake_lookup(struct directory *d, struct slice user, directory_done *done, void *arg)
{
    struct asked *a = &d->asked[d->asked_n++];

    assert_true(d->asked_n <= ASKED);
    snprintf(a->user, sizeof a->user, "%.*s", SLICE_ARG(user));
    a->done = done;
    a->arg = arg;
    if (d->at_once)
        give(a, d->at_once);
}

static void fake_cancel(struct directory *d, void *arg)
{
    for (size_t i = 0; i < d->asked_n; i++) {
        if (d->asked[i].arg != arg)
            continue;
        d->asked[i].arg = NULL;
        d->cancelled_n++;
    }
}

static void fake_close(struct directory **d)
{
    free(*d);
    *d = NULL;
}

static const struct directory_driver local = {"static",    false,       fake_open,
                                              fake_lookup, fake_cancel, fake_close};
static const struct directory_driver remote = {"socketmap", true,        fake_open,
                                               fake_lookup, fake_cancel, fake_close};

const struct directory_driver *__wrap_directory_driver(enum conf_driver which);

const struct directory_driver *__wrap_directory_driver(enum conf_driver which)
{
    return which == DRIVER_SOCKETMAP ? &remote : &local;
}

/* ---- who asks ---- */

struct told {
    enum directory_status status;
    char text[FACTS_MAX + 1];
    char directory[64];
    uint32_t age_ms;
};

static struct loop *loop;
static struct conf *conf;
static struct directories *directories;
static struct told told[TOLD];
static size_t told_n;
static char news[1024];
static struct deadline stopper;

static void on_told(void *arg, const struct directories_answer *answer)
{
    struct told *t = &told[told_n++];

    assert_true(told_n <= TOLD);
    assert_ptr_equal(arg, &told);
    t->status = answer->status;
    snprintf(t->text, sizeof t->text, "%.*s", SLICE_ARG(answer->text));
    snprintf(t->directory, sizeof t->directory, "%s", answer->directory ? answer->directory : "-");
    t->age_ms = answer->age_ms;
}

static void on_news(void *arg, const struct directory_news *n)
{
    size_t at = strlen(news);

    assert_ptr_equal(arg, &news);
    snprintf(news + at, sizeof news - at, "%s %s %s\n", n->title, n->is_bad ? "bad" : "good",
             n->detail);
}

static void on_stop(struct deadline *d)
{
    (void)d;
    loop_stop(loop);
}

/* At least so long, and three ticks more at most. */
static void pass(uint64_t ms)
{
    deadline_set(loop, &stopper, ms);
    loop_run(loop);
}

#define LOCAL(title) "directory " title " { driver = static  rules = { \"* pool=main\" } }\n"
#define REMOTE(title, more) \
    "directory " title " { driver = socketmap  address = \"127.0.0.1:1\" " more " }\n"
#define TIMES "cache_time = 10s  cache_unknown_time = 1s  cache_stale_time = 100s"

static void make_err(const char *text, struct err *err)
{
    char whole[2048];
    struct directories_params params = {NULL, loop, on_news, news};

    snprintf(whole, sizeof whole, "directory_timeout = 4s\n%s", text);
    assert_int_equal(conf_load_text(whole, "test", &conf, err), 0);
    params.conf = conf;
    err->text[0] = '\0';
    if (directories_new(&params, &directories, err) == 0)
        assert_string_equal(err->text, "");
}

static void make(const char *text)
{
    struct err err;

    make_err(text, &err);
    assert_string_equal(err.text, "");
}

static void ask(const char *user)
{
    directories_lookup(directories, slice_str(user), false, on_told, told);
}

static void ask_fresh(const char *user)
{
    directories_lookup(directories, slice_str(user), true, on_told, told);
}

/* The last answer. */
static void assert_told(size_t n, enum directory_status status, const char *text,
                        const char *directory)
{
    assert_int_equal(told_n, n);
    assert_int_equal(told[n - 1].status, status);
    assert_string_equal(told[n - 1].text, text);
    assert_string_equal(told[n - 1].directory, directory);
}

/* Of directory number `which`, the question that was asked last. */
static void answer(size_t which, const char *text)
{
    struct directory *d = opened[which];

    assert_true(d->asked_n > 0);
    give(&d->asked[d->asked_n - 1], text);
}

static void assert_asked(size_t which, size_t n)
{
    assert_int_equal(opened[which]->asked_n, n);
}

/* An answer that is found, and then is as old as that. */
static void keep(const char *user, const char *text, uint64_t age_ms)
{
    ask(user);
    answer(0, text);
    pass(age_ms);
    told_n = 0;
    opened[0]->asked_n = 0;
}

static int setup(void **state)
{
    struct err err;

    (void)state;
    loop = loop_new(&err);
    deadline_init(&stopper, on_stop);
    told_n = opened_n = 0;
    news[0] = '\0';
    wrong_title = NULL;
    return loop ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    directories_free(&directories);
    conf_free(&conf);
    deadline_clear(&stopper);
    loop_free(&loop);
    return 0;
}

/* ---- the chain ---- */

static void test_without_directories_nobody_is_known(void **state)
{
    (void)state;
    make("");
    ask("ann");
    assert_told(1, DIRECTORY_UNKNOWN, "", "-");
    assert_int_equal(directories_flush(directories, SLICE("")), 0);
}

static void test_the_first_that_knows_the_user_answers(void **state)
{
    (void)state;
    make(LOCAL("one") REMOTE("two", "") LOCAL("three"));
    opened[0]->at_once = "unknown";
    ask("ann");
    assert_int_equal(told_n, 0);
    assert_string_equal(opened[1]->asked[0].user, "ann");
    answer(1, "pool=main");
    assert_told(1, DIRECTORY_FOUND, "pool=main", "two");
    assert_int_equal(told[0].age_ms, 0);
    assert_asked(2, 0);
}

static void test_a_user_may_be_unknown_to_all(void **state)
{
    (void)state;
    make(LOCAL("one") REMOTE("two", ""));
    opened[0]->at_once = "unknown";
    ask("ann");
    answer(1, "unknown");
    assert_told(1, DIRECTORY_UNKNOWN, "", "-");
}

static void test_one_that_fails_ends_the_question(void **state)
{
    (void)state;
    make(REMOTE("one", "") LOCAL("two"));
    ask("ann");
    answer(0, "!down");
    assert_told(1, DIRECTORY_FAILED, "down", "one");
    assert_asked(1, 0);
}

static void test_a_directory_that_cannot_be_opened_is_named(void **state)
{
    struct err err;

    (void)state;
    wrong_title = "two";
    make_err(LOCAL("one") LOCAL("two"), &err);
    assert_string_equal(err.text, "directory two: it is wrong");
    assert_null(directories);
}

static void test_drivers_are_told_of_the_timeout_and_names(void **state)
{
    (void)state;
    make(REMOTE("one", ""));
    assert_int_equal(opened[0]->params.timeout_ms, TIMEOUT_MS);
    assert_ptr_equal(opened[0]->params.global, &conf->global);
    assert_ptr_equal(opened[0]->params.conf, &conf->directories[0]);
}

/* ---- equal questions ---- */

static void test_of_one_user_a_directory_is_asked_once_at_a_time(void **state)
{
    (void)state;
    make(REMOTE("one", ""));
    ask("ann");
    ask("ann");
    ask_fresh("ann");
    ask("bob");
    assert_asked(0, 2);
    give(&opened[0]->asked[0], "pool=main");
    assert_told(3, DIRECTORY_FOUND, "pool=main", "one");
    give(&opened[0]->asked[1], "pool=other");
    assert_told(4, DIRECTORY_FOUND, "pool=other", "one");
}

static void test_who_comes_later_waits_until_its_own_deadline(void **state)
{
    (void)state;
    make(REMOTE("one", ""));
    ask("ann");
    pass(3000);
    ask("ann");
    pass(1500);
    assert_told(1, DIRECTORY_FAILED, "no answer within 4000 ms", "one");
    answer(0, "pool=main");
    assert_told(2, DIRECTORY_FOUND, "pool=main", "one");
    assert_asked(0, 1);
}

/* ---- what is kept ---- */

static void test_an_answer_is_used_as_long_as_it_is_fresh(void **state)
{
    (void)state;
    make(REMOTE("one", TIMES));
    keep("ann", "pool=main", 3000);
    ask("ann");
    assert_told(1, DIRECTORY_FOUND, "pool=main", "one");
    assert_in_range(told[0].age_ms, 3000, 3200);
    assert_asked(0, 0);
    pass(8000);
    ask("ann");
    assert_asked(0, 1);
    answer(0, "pool=other");
    assert_told(2, DIRECTORY_FOUND, "pool=other", "one");
    assert_int_equal(told[1].age_ms, 0);
}

static void test_that_a_user_is_unknown_is_kept_too(void **state)
{
    (void)state;
    make(REMOTE("one", TIMES) LOCAL("two"));
    opened[1]->at_once = "pool=main";
    keep("ann", "unknown", 500);
    ask("ann");
    assert_told(1, DIRECTORY_FOUND, "pool=main", "two");
    assert_int_equal(told[0].age_ms, 0);
    assert_asked(0, 0);
    opened[1]->at_once = "unknown";
    ask("ann");
    assert_told(2, DIRECTORY_UNKNOWN, "", "-");
    assert_in_range(told[1].age_ms, 500, 700);
    pass(600);
    ask("ann");
    assert_asked(0, 1);
}

static void test_answers_of_drivers_that_are_not_remote_are_not_kept(void **state)
{
    (void)state;
    make(LOCAL("one"));
    opened[0]->at_once = "pool=main";
    ask("ann");
    ask("ann");
    assert_asked(0, 2);
    assert_int_equal(directories_flush(directories, SLICE("")), 0);
}

static void test_with_no_room_nothing_is_kept(void **state)
{
    (void)state;
    make(REMOTE("one", "cache_size = 0"));
    opened[0]->at_once = "pool=main";
    ask("ann");
    ask("ann");
    assert_asked(0, 2);
}

static void test_a_failure_is_not_kept(void **state)
{
    (void)state;
    make(REMOTE("one", ""));
    opened[0]->at_once = "!down";
    ask("ann");
    opened[0]->at_once = "pool=main";
    ask("ann");
    assert_told(2, DIRECTORY_FOUND, "pool=main", "one");
}

static void test_a_fresh_question_uses_nothing_that_is_kept(void **state)
{
    (void)state;
    make(REMOTE("one", TIMES));
    keep("ann", "pool=main", 100);
    ask_fresh("ann");
    assert_asked(0, 1);
    answer(0, "pool=other");
    assert_told(1, DIRECTORY_FOUND, "pool=other", "one");
    ask("ann");
    assert_told(2, DIRECTORY_FOUND, "pool=other", "one");
    assert_asked(0, 1);
    ask_fresh("ann");
    answer(0, "!down");
    assert_told(3, DIRECTORY_FAILED, "down", "one");
}

static void test_a_flush_forgets_also_what_is_on_its_way(void **state)
{
    (void)state;
    make(REMOTE("one", TIMES));
    keep("ann", "pool=main", 100);
    keep("bob", "pool=main", 100);
    assert_int_equal(directories_flush(directories, SLICE("ann")), 1);
    ask("ann");
    assert_int_equal(directories_flush(directories, SLICE("ann")), 0);
    ask("ann");
    assert_asked(0, 2);
    give(&opened[0]->asked[1], "pool=new");
    assert_told(1, DIRECTORY_FOUND, "pool=new", "one");
    give(&opened[0]->asked[0], "pool=old");
    assert_told(2, DIRECTORY_FOUND, "pool=old", "one");
    ask("ann");
    assert_told(3, DIRECTORY_FOUND, "pool=new", "one");
    assert_int_equal(directories_flush(directories, SLICE("")), 2);
}

/* ---- time, and old answers ---- */

static void test_a_question_ends_at_its_deadline(void **state)
{
    (void)state;
    make(REMOTE("one", TIMES));
    ask("ann");
    pass(TIMEOUT_MS - 200);
    assert_int_equal(told_n, 0);
    pass(400);
    assert_told(1, DIRECTORY_FAILED, "no answer within 4000 ms", "one");
}

static void test_the_time_is_for_all_directories_together(void **state)
{
    (void)state;
    make(REMOTE("one", "") REMOTE("two", ""));
    ask("ann");
    pass(3000);
    answer(0, "unknown");
    assert_asked(1, 1);
    pass(1200);
    assert_told(1, DIRECTORY_FAILED, "no answer within 4000 ms", "two");
    assert_string_equal(news, "");
}

static void test_an_answer_that_comes_too_late_is_kept(void **state)
{
    (void)state;
    make(REMOTE("one", TIMES));
    ask("ann");
    pass(TIMEOUT_MS + 200);
    assert_int_equal(opened[0]->cancelled_n, 0);
    answer(0, "pool=main");
    assert_int_equal(told_n, 1);
    ask("ann");
    assert_told(2, DIRECTORY_FOUND, "pool=main", "one");
    assert_asked(0, 1);
}

static void test_a_late_answer_that_cannot_be_kept_is_not_waited_for(void **state)
{
    static const char *const confs[] = {REMOTE("one", "cache_size = 0"), LOCAL("one")};

    for (size_t i = 0; i < 2; i++) {
        make(confs[i]);
        ask("ann");
        ask("ann");
        pass(TIMEOUT_MS + 200);
        assert_told(2, DIRECTORY_FAILED, "no answer within 4000 ms", "one");
        assert_int_equal(opened[0]->cancelled_n, 1);
        assert_int_equal(news[0] == '\0', i == 1);
        assert_int_equal(teardown(state), 0);
        assert_int_equal(setup(state), 0);
    }
}

static void test_an_old_answer_is_used_when_the_driver_fails(void **state)
{
    (void)state;
    make(REMOTE("one", TIMES));
    keep("ann", "pool=main", 20000);
    ask("ann");
    answer(0, "!down");
    assert_told(1, DIRECTORY_FOUND, "pool=main", "one");
    assert_in_range(told[0].age_ms, 20000, 20200);
    pass(81000);
    ask("ann");
    answer(0, "!down");
    assert_told(2, DIRECTORY_FAILED, "down", "one");
}

static void test_an_old_answer_is_used_at_half_the_time(void **state)
{
    (void)state;
    make(REMOTE("one", TIMES));
    keep("ann", "pool=main", 20000);
    ask("ann");
    pass(TIMEOUT_MS / 2 - 200);
    assert_int_equal(told_n, 0);
    pass(400);
    assert_told(1, DIRECTORY_FOUND, "pool=main", "one");
    answer(0, "pool=other");
    ask("ann");
    assert_told(2, DIRECTORY_FOUND, "pool=other", "one");
}

static void test_the_directories_behind_it_have_the_other_half(void **state)
{
    (void)state;
    make(REMOTE("one", TIMES) REMOTE("two", TIMES));
    opened[1]->at_once = "unknown";
    keep("ann", "unknown", 20000);
    opened[1]->at_once = NULL;
    ask("ann");
    pass(TIMEOUT_MS / 2 + 200);
    assert_asked(1, 2);
    pass(TIMEOUT_MS / 2 - 600);
    assert_int_equal(told_n, 0);
    pass(600);
    assert_told(1, DIRECTORY_UNKNOWN, "", "-");
    assert_in_range(told[0].age_ms, 24000, 25000);
}

static void test_an_old_answer_that_is_flushed_meanwhile_is_not_used(void **state)
{
    (void)state;
    make(REMOTE("one", TIMES));
    keep("ann", "pool=main", 20000);
    ask("ann");
    assert_int_equal(directories_flush(directories, SLICE("ann")), 1);
    pass(TIMEOUT_MS / 2 + 200);
    assert_int_equal(told_n, 0);
    pass(TIMEOUT_MS / 2);
    assert_int_equal(told_n, 1);
    assert_int_equal(told[0].status, DIRECTORY_FAILED);
}

/* Else each login would wait for half of the time as long as the server hangs. */
static void test_while_answers_are_late_old_ones_are_used_at_once(void **state)
{
    (void)state;
    make(REMOTE("one", TIMES));
    keep("ann", "pool=main", 0);
    keep("bob", "pool=bobs", 20000);
    ask("ann");
    pass(TIMEOUT_MS / 2 + 200);
    assert_int_equal(told_n, 1);
    ask("bob");
    assert_told(2, DIRECTORY_FOUND, "pool=bobs", "one");
    assert_string_equal(opened[0]->asked[1].user, "bob");
    answer(0, "pool=other");
    ask("bob");
    assert_told(3, DIRECTORY_FOUND, "pool=other", "one");
    /* It was in time: what is old is waited for again. */
    pass(20000);
    ask("bob");
    assert_int_equal(told_n, 3);
    answer(0, "pool=third");
    assert_told(4, DIRECTORY_FOUND, "pool=third", "one");
}

static void test_a_late_answer_is_no_sign_of_health(void **state)
{
    (void)state;
    make(REMOTE("one", TIMES));
    keep("ann", "pool=main", 0);
    keep("bob", "pool=bobs", 20000);
    ask("ann");
    pass(TIMEOUT_MS / 2 + 200);
    assert_int_equal(told_n, 1);
    answer(0, "pool=other");
    ask("bob");
    assert_told(2, DIRECTORY_FOUND, "pool=bobs", "one");
}

/* ---- news ---- */

static void test_trouble_is_told_once_and_its_end_once(void **state)
{
    (void)state;
    make(REMOTE("one", "cache_time = 0s  cache_stale_time = 0s"));
    opened[0]->at_once = "pool=main";
    ask("ann");
    assert_string_equal(news, "");
    opened[0]->at_once = "!down";
    ask("ann");
    ask("bob");
    assert_string_equal(news, "one bad down; answers that are kept stay in use\n");
    opened[0]->at_once = "pool=main";
    ask("ann");
    pass(DIRECTORIES_CALM_MS / 2);
    opened[0]->at_once = "!down again";
    ask("ann");
    opened[0]->at_once = "unknown";
    pass(DIRECTORIES_CALM_MS - 200);
    ask("ann");
    assert_string_equal(news, "one bad down; answers that are kept stay in use\n");
    pass(400);
    ask("ann");
    ask("bob");
    assert_string_equal(news, "one bad down; answers that are kept stay in use\none good \n");
}

static void test_lateness_is_told_too(void **state)
{
    (void)state;
    make(REMOTE("one", "cache_size = 0"));
    ask("ann");
    ask("bob");
    pass(TIMEOUT_MS + 200);
    assert_int_equal(strncmp(news, "one bad no answer within 4", 26), 0);
    assert_ptr_equal(strchr(news, '\n') + 1, news + strlen(news));
}

static void test_drivers_that_are_not_remote_tell_for_themselves(void **state)
{
    (void)state;
    make(LOCAL("one"));
    opened[0]->at_once = "!no file";
    ask("ann");
    assert_told(1, DIRECTORY_FAILED, "no file", "one");
    assert_string_equal(news, "");
}

/* ---- from within ---- */

static void ask_more(void *arg, const struct directories_answer *first)
{
    char text[64];

    assert_ptr_equal(arg, &told);
    snprintf(text, sizeof text, "%.*s", SLICE_ARG(first->text));
    ask("ann");
    ask("bob");
    ask("carol");
    /* Others have come into the cache meanwhile, in place of the one that we were told. */
    assert_true(slice_eq(first->text, slice_str(text)));
}

static void test_whoever_is_told_may_ask_further(void **state)
{
    (void)state;
    make(REMOTE("one", "cache_size = 1"));
    directories_lookup(directories, SLICE("ann"), false, ask_more, told);
    opened[0]->at_once = "pool=main";
    answer(0, "pool=anns");
    assert_int_equal(told_n, 3);
    assert_string_equal(told[0].text, "pool=anns");
    assert_string_equal(told[1].text, "pool=main");
    assert_asked(0, 3);
    told_n = 0;
    directories_lookup(directories, SLICE("carol"), false, ask_more, told);
    assert_int_equal(told_n, 3);
}

static void test_open_questions_are_forgotten_at_the_end(void **state)
{
    (void)state;
    make(REMOTE("one", TIMES) LOCAL("two"));
    keep("ann", "pool=main", 100);
    ask("bob");
    ask("bob");
    ask("carol");
    directories_free(&directories);
    assert_null(directories);
    pass(TIMEOUT_MS * 2);
    assert_int_equal(told_n, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(without_directories_nobody_is_known),
        TEST(the_first_that_knows_the_user_answers),
        TEST(a_user_may_be_unknown_to_all),
        TEST(one_that_fails_ends_the_question),
        TEST(a_directory_that_cannot_be_opened_is_named),
        TEST(drivers_are_told_of_the_timeout_and_names),
        TEST(of_one_user_a_directory_is_asked_once_at_a_time),
        TEST(who_comes_later_waits_until_its_own_deadline),
        TEST(an_answer_is_used_as_long_as_it_is_fresh),
        TEST(that_a_user_is_unknown_is_kept_too),
        TEST(answers_of_drivers_that_are_not_remote_are_not_kept),
        TEST(with_no_room_nothing_is_kept),
        TEST(a_failure_is_not_kept),
        TEST(a_fresh_question_uses_nothing_that_is_kept),
        TEST(a_flush_forgets_also_what_is_on_its_way),
        TEST(a_question_ends_at_its_deadline),
        TEST(the_time_is_for_all_directories_together),
        TEST(an_answer_that_comes_too_late_is_kept),
        TEST(a_late_answer_that_cannot_be_kept_is_not_waited_for),
        TEST(an_old_answer_is_used_when_the_driver_fails),
        TEST(an_old_answer_is_used_at_half_the_time),
        TEST(the_directories_behind_it_have_the_other_half),
        TEST(an_old_answer_that_is_flushed_meanwhile_is_not_used),
        TEST(while_answers_are_late_old_ones_are_used_at_once),
        TEST(a_late_answer_is_no_sign_of_health),
        TEST(trouble_is_told_once_and_its_end_once),
        TEST(lateness_is_told_too),
        TEST(drivers_that_are_not_remote_tell_for_themselves),
        TEST(whoever_is_told_may_ask_further),
        TEST(open_questions_are_forgotten_at_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
