/* Commands about usher itself: reload, upgrade, workers. */
#include "commands_world.h"

#include <time.h>

#define RELOAD  "{\"command\":\"reload\"}"
#define UPGRADE "{\"command\":\"upgrade\"}"

static void test_a_change_is_told_line_by_line_and_then_what_came_of_it(void **state)
{
    (void)state;
    change_reply.lines[0] = "backend mail3 (pool main): added";
    change_reply.lines[1] = "pool main: queue_timeout 10s -> 20s";
    change_reply.status = CHANGE_DONE;
    change_reply.generation = 3;
    assert_string_equal(ask(RELOAD),
                        "{\"row\":{\"change\":\"backend mail3 (pool main): added\"}}\n"
                        "{\"row\":{\"change\":\"pool main: queue_timeout 10s -> 20s\"}}\n"
                        "{\"done\":{\"generation\":3,\"changes\":2,"
                        "\"text\":\"reloaded: generation 3\"}}\n");
    assert_string_equal(control.did, "reload; ");
}

static void test_an_upgrade_is_asked_for_and_told_as_one(void **state)
{
    (void)state;
    change_reply.status = CHANGE_DONE;
    change_reply.generation = 4;
    assert_string_equal(ask(UPGRADE), "{\"done\":{\"generation\":4,\"changes\":0,"
                                      "\"text\":\"upgraded: generation 4\"}}\n");
    assert_string_equal(control.did, "upgrade; ");
}

static void test_what_needs_no_new_processes_says_so(void **state)
{
    (void)state;
    change_reply.status = CHANGE_DONE;
    assert_string_equal(ask(RELOAD), "{\"done\":{\"generation\":0,\"changes\":0,"
                                     "\"text\":\"nothing has changed\"}}\n");
    change_reply.lines[0] = "/tls/key.pem changed";
    assert_string_equal(ask(RELOAD), "{\"row\":{\"change\":\"/tls/key.pem changed\"}}\n"
                                     "{\"done\":{\"generation\":0,\"changes\":1,"
                                     "\"text\":\"reloaded; no new processes were needed\"}}\n");
}

static void test_words_of_the_parent_are_told_as_they_are(void **state)
{
    (void)state;
    change_reply.status = CHANGE_DONE;
    change_reply.generation = 4;
    change_reply.words = "upgraded from 1.0 to 1.1";
    assert_non_null(strstr(ask(UPGRADE), "\"text\":\"upgraded from 1.0 to 1.1\""));
}

static void test_a_refusal_comes_behind_the_lines_that_name_the_mistakes(void **state)
{
    (void)state;
    change_reply.lines[0] = "/etc/usher.conf:3: there is no setting wrokers";
    change_reply.status = CHANGE_REFUSED;
    change_reply.words = "the configuration is not good; nothing was changed";
    assert_string_equal(
        ask(RELOAD),
        "{\"row\":{\"change\":\"/etc/usher.conf:3: there is no setting wrokers\"}}\n"
        "{\"error\":\"the configuration is not good; nothing was changed\",\"code\":\"failed\"}\n");
    change_reply.lines[0] = NULL;
    change_reply.words = "";
    assert_string_equal(ask(UPGRADE),
                        "{\"error\":\"the change was refused\",\"code\":\"failed\"}\n");
}

static void test_a_change_that_cannot_be_asked_for_says_why(void **state)
{
    (void)state;
    control.fails = true;
    assert_string_equal(ask(RELOAD), "failed: the state file cannot be written");
}

/* Whatever differs, the end is told. */
static void test_lines_without_end_leave_room_for_the_last(void **state)
{
    enum { LINES = 40000 };
    struct request request;
    struct buf out;
    struct call call;
    struct err err;
    struct slice text;
    char last[128], line[64];
    size_t rows = 0;

    (void)state;
    buf_init(&out, 4 << 20, false);
    assert_int_equal(request_open(SLICE(RELOAD), &request, &err), 0);
    assert_int_equal(call_begin(&call, &control, &request, &out, 0, &err), 0);
    call.on_told = on_told;
    for (unsigned i = 0; i < LINES; i++) {
        snprintf(line, sizeof line, "backend mail%u (pool main): added", i);
        tell_change(&control, line);
    }
    end_change(&control, CHANGE_DONE, 2, "");
    assert_false(call_step(&call, 0));
    text = buf_slice(&out);
    for (size_t i = 0; i < text.n; i++)
        rows += text.p[i] == '\n';
    rows--;
    assert_true(rows > 10000 && rows < LINES);
    snprintf(last, sizeof last,
             "\"changes\":%u,\"text\":\"reloaded: generation 2; %zu more lines about it are in "
             "the log\"}}\n",
             LINES, LINES - rows);
    assert_true(slice_eq(slice_sub(text, text.n - strlen(last), text.n), slice_str(last)));
    call_done(&call);
    buf_release(&out);
}

static void test_who_has_hung_up_is_not_told(void **state)
{
    struct request request;
    struct buf out;
    struct call call;
    struct err err;

    (void)state;
    buf_init(&out, 4096, false);
    assert_int_equal(request_open(SLICE(RELOAD), &request, &err), 0);
    assert_int_equal(call_begin(&call, &control, &request, &out, 0, &err), 0);
    assert_true(call.is_waiting && is_changing(&control));
    assert_false(call_is_told(&call));
    call_done(&call);
    assert_false(is_changing(&control));
    buf_release(&out);
}

/* The older one was started 100 s ago, the other in a time that has not come. */
static void test_workers_of_all_generations_are_told(void **state)
{
    const char *said;
    unsigned age = 0;
    char want[512];

    (void)state;
    assert_string_equal(ask("{\"command\":\"workers\"}"), "{\"done\":{\"rows\":0}}\n");
    control.workers_since_s = (uint64_t)time(NULL) - 100;
    said = ask("{\"command\":\"workers\"}");
    assert_non_null(strstr(said, "\"age\":"));
    assert_int_equal(sscanf(strstr(said, "\"age\":"), "\"age\":%u,", &age), 1);
    assert_true(age >= 100 && age < 200);
    snprintf(want, sizeof want,
             "{\"row\":{\"generation\":1,\"slot\":3,\"pid\":77,\"version\":null,\"age\":%u,"
             "\"sessions\":9,\"retired\":true}}\n"
             "{\"row\":{\"generation\":2,\"slot\":0,\"pid\":88,\"version\":\"1.2.3\",\"age\":0,"
             "\"sessions\":0,\"retired\":false}}\n"
             "{\"done\":{\"rows\":2}}\n",
             age);
    assert_string_equal(said, want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_change_is_told_line_by_line_and_then_what_came_of_it),
        TEST(test_an_upgrade_is_asked_for_and_told_as_one),
        TEST(test_what_needs_no_new_processes_says_so),
        TEST(test_words_of_the_parent_are_told_as_they_are),
        TEST(test_a_refusal_comes_behind_the_lines_that_name_the_mistakes),
        TEST(test_a_change_that_cannot_be_asked_for_says_why),
        TEST(test_lines_without_end_leave_room_for_the_last),
        TEST(test_who_has_hung_up_is_not_told),
        TEST(test_workers_of_all_generations_are_told),
    };

    (void)setup_directories;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
