/* The unix door while usher itself is changed, and when control ends behind that: who has an answer
 * reads it, and nobody else is kept. */
#include "door_world.h"

#define RELOAD "{\"command\":\"reload\"}\n"
#define DONE_3                                                      \
    "{\"row\":{\"change\":\"backend mail3 (pool main): added\"}}\n" \
    "{\"done\":{\"generation\":3,\"changes\":1,\"text\":\"reloaded: generation 3\"}}\n"

enum { LIMIT_MS = 500 };

/* Says it, and it has been asked of control. */
static void ask(int fd, const char *line)
{
    struct wait w = {.is_late = false};

    say(fd, line);
    stops_at_change = true;
    deadline_init(&w.late, on_late);
    deadline_set(child.loop, &w.late, 20000);
    loop_run(child.loop);
    deadline_clear(&w.late);
    stops_at_change = false;
    assert_false(w.is_late);
}

static uint64_t clock_now_ms(void)
{
    struct timespec t;

    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &t), 0);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* What is there up to the end, without the door. */
static const char *rest_of(int fd)
{
    static char text[1 << 20];
    size_t n = 0;
    ssize_t got;

    while ((got = read(fd, text + n, sizeof text - 1 - n)) > 0)
        n += (size_t)got;
    assert_true(got == 0 || errno != EAGAIN);
    text[n] = '\0';
    close(fd);
    return text;
}

static void test_others_are_served_while_usher_is_changed(void **state)
{
    int fd = knock(), other = knock();

    (void)state;
    ask(fd, RELOAD);
    assert_non_null(strstr(log_text(), "steered by=root uid=0"));
    tell_change(&control, "backend mail3 (pool main): added");
    say(other, "{\"command\":\"pools\"}\n");
    assert_string_equal(hear(other, 2), POOLS);
    end_change(&control, CHANGE_DONE, 3, "");
    assert_string_equal(hear(fd, 2), DONE_3);
    close(fd);
    close(other);
}

static void test_who_waits_for_a_change_is_not_silent(void **state)
{
    int fd = knock();

    (void)state;
    ask(fd, RELOAD);
    for (unsigned i = 0; i < 11; i++)
        pass(61);
    tell_change(&control, "backend mail3 (pool main): added");
    end_change(&control, CHANGE_DONE, 3, "");
    assert_string_equal(hear(fd, 2), DONE_3);
    close(fd);
}

static void test_the_answer_goes_out_though_control_ends_in_the_same_turn(void **state)
{
    int fd = knock();

    (void)state;
    ask(fd, RELOAD);
    tell_change(&control, "backend mail3 (pool main): added");
    end_change(&control, CHANGE_DONE, 3, "");
    admin_door.finish(door, LIMIT_MS);
    admin_door.close(&door);
    assert_string_equal(rest_of(fd), DONE_3);
}

static void test_who_has_no_whole_answer_is_let_go_when_control_ends(void **state)
{
    int asking = knock(), changing = knock(), silent = knock(), listing = knock();
    const uint64_t before = clock_now_ms();
    const char *said;

    (void)state;
    control.sessions = 100000;
    say(listing, "{\"command\":\"sessions\"}\n");
    run_until_readable(listing);
    ask(asking, "{\"command\":\"route\",\"user\":\"ann\"}\n");
    ask(changing, RELOAD);
    admin_door.finish(door, LIMIT_MS);
    assert_true(clock_now_ms() - before < LIMIT_MS);
    assert_string_equal(rest_of(asking), "");
    assert_string_equal(rest_of(changing), "");
    assert_string_equal(rest_of(silent), "");
    said = rest_of(listing);
    assert_non_null(strstr(said, "{\"row\""));
    assert_null(strstr(said, "\"done\""));
}

static void test_what_directories_have_just_answered_goes_out_too(void **state)
{
    int fd = knock();

    (void)state;
    ask(fd, "{\"command\":\"route\",\"user\":\"ann\"}\n");
    tell_facts(&control, 1, FACTS_FOUND, "people", "backend=mail2", 0);
    admin_door.finish(door, LIMIT_MS);
    assert_non_null(strstr(rest_of(fd), "\"chosen\":\"mail2\""));
}

/* As many rows as the socket and the reader do not take. */
static void test_a_reader_who_does_not_read_is_waited_for_no_longer_than_that(void **state)
{
    int fd = knock();
    uint64_t before;

    (void)state;
    ask(fd, RELOAD);
    for (unsigned i = 0; i < 20000; i++)
        tell_change(&control, "backend mail3 (pool main): added");
    end_change(&control, CHANGE_DONE, 3, "");
    before = clock_now_ms();
    admin_door.finish(door, 100);
    assert_in_range(clock_now_ms() - before, 100, 10000);
    admin_door.close(&door);
    assert_null(strstr(rest_of(fd), "\"done\""));
}

static void test_who_hung_up_is_not_waited_for(void **state)
{
    int fd = knock();
    const uint64_t before = clock_now_ms();

    (void)state;
    ask(fd, RELOAD);
    close(fd);
    for (unsigned i = 0; i < 20000; i++)
        tell_change(&control, "backend mail3 (pool main): added");
    end_change(&control, CHANGE_DONE, 3, "");
    admin_door.finish(door, 20000);
    assert_true(clock_now_ms() - before < 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_others_are_served_while_usher_is_changed),
        TEST(test_who_waits_for_a_change_is_not_silent),
        TEST(test_the_answer_goes_out_though_control_ends_in_the_same_turn),
        TEST(test_who_has_no_whole_answer_is_let_go_when_control_ends),
        TEST(test_what_directories_have_just_answered_goes_out_too),
        TEST(test_a_reader_who_does_not_read_is_waited_for_no_longer_than_that),
        TEST(test_who_hung_up_is_not_waited_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
