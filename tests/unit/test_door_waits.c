/* The unix door while directories are asked: others are served, answers come late, to the right one
 * or to nobody. */
#include "door_world.h"

#define ROUTE(user) "{\"command\":\"route\",\"user\":\"" user "\"}\n"

/* Says it, and the door has asked directories, or waits with who has asked the same. */
static void ask_route(int fd, const char *line)
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

static void tell_backend(uint32_t question, const char *facts)
{
    tell_facts(&control, question, FACTS_FOUND, "people", facts, 0);
}

static void assert_goes_to(int fd, const char *user, const char *backend)
{
    const char *said = hear(fd, 1);
    char want[128];

    snprintf(want, sizeof want, "{\"done\":{\"user\":\"%s\",\"pool\":\"main\",\"chosen\":\"%s\",",
             user, backend);
    if (strncmp(said, want, strlen(want)) != 0)
        fail_msg("%s and not %s", said, want);
}

static void test_others_are_served_while_directories_are_asked(void **state)
{
    int fd = knock(), other = knock();

    (void)state;
    ask_route(fd, ROUTE("ann"));
    turns = 0;
    for (unsigned i = 0; i < 10; i++) {
        say(other, "{\"command\":\"pools\"}\n");
        assert_string_equal(hear(other, 2), POOLS);
    }
    assert_true(turns < 2000); /* nothing is tried in between */
    tell_backend(1, "backend=mail2");
    assert_goes_to(fd, "ann", "mail2");
    close(fd);
    close(other);
}

static void test_each_of_many_who_wait_hears_what_was_asked(void **state)
{
    int fds[4];

    (void)state;
    for (size_t i = 0; i < 4; i++)
        fds[i] = knock();
    ask_route(fds[0], ROUTE("ann"));
    ask_route(fds[1], ROUTE("bob"));
    ask_route(fds[2], ROUTE("Ann"));
    ask_route(fds[3], "{\"command\":\"directory lookup\",\"user\":\"ann\"}\n");
    assert_int_equal(control.questions, 3); /* that about ann, fresh, is another */
    tell_backend(2, "backend=mail1");
    tell_backend(3, "max_sessions=3");
    tell_backend(1, "backend=mail2");
    assert_goes_to(fds[2], "ann", "mail2");
    assert_goes_to(fds[1], "bob", "mail1");
    assert_goes_to(fds[0], "ann", "mail2");
    assert_string_equal(hear(fds[3], 1),
                        "{\"done\":{\"user\":\"ann\",\"known\":true,\"directory\":\"people\","
                        "\"facts\":{\"max_sessions\":\"3\"}}}\n");
    for (size_t i = 0; i < 4; i++)
        close(fds[i]);
}

static void test_what_is_asked_behind_a_question_waits_for_its_answer(void **state)
{
    int fd = knock();

    (void)state;
    ask_route(fd, ROUTE("ann") "{\"command\":\"pools\"}\n" ROUTE("bob"));
    assert_int_equal(shutdown(fd, SHUT_WR), 0); /* it wants its answers all the same */
    tell_facts(&control, 1, FACTS_UNKNOWN, "", "", 0);
    assert_goes_to(fd, "ann", "mail1");
    assert_string_equal(hear(fd, 2), POOLS);
    assert_int_equal(control.questions, 2);
    tell_backend(2, "backend=mail2");
    assert_goes_to(fd, "bob", "mail2");
    assert_ended(fd);
}

/* Others leave in their turns; until then there is no room. */
static int knock_until_let_in(void)
{
    for (;;) {
        int fd = knock();

        say(fd, "{\"command\":\"pools\"}\n");
        if (strcmp(hear(fd, 2), POOLS) == 0)
            return fd;
        close(fd);
    }
}

static void test_a_peer_that_hangs_up_while_directories_are_asked_is_forgotten(void **state)
{
    int fds[32];

    (void)state;
    for (size_t i = 0; i < 32; i++) {
        fds[i] = knock();
        ask_route(fds[i], ROUTE("ann"));
    }
    for (size_t i = 0; i < 32; i++)
        close(fds[i]);
    tell_backend(1, "backend=mail2");
    fds[0] = knock_until_let_in();
    fds[1] = knock_until_let_in();
    ask_route(fds[0], ROUTE("bob"));
    ask_route(fds[1], ROUTE("bob"));
    close(fds[0]);
    admin_door.close(&door);
    assert_string_equal(hear(fds[1], 1), "");
    close(fds[1]);
    tell_backend(2, "backend=mail2"); /* nobody is there */
}

static void test_who_waits_for_directories_is_not_silent(void **state)
{
    int fd = knock();

    (void)state;
    ask_route(fd, ROUTE("ann"));
    pass(61);
    tell_backend(1, "backend=mail2");
    assert_goes_to(fd, "ann", "mail2");
    pass(61);
    assert_ended(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_others_are_served_while_directories_are_asked),
        TEST(test_each_of_many_who_wait_hears_what_was_asked),
        TEST(test_what_is_asked_behind_a_question_waits_for_its_answer),
        TEST(test_a_peer_that_hangs_up_while_directories_are_asked_is_forgotten),
        TEST(test_who_waits_for_directories_is_not_silent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
