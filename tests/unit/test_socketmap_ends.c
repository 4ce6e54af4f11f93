/* The driver socketmap when the server goes, is silent, or says what is no answer. */
#include "socketmap_world.h"

/* ---- a connection that ends ---- */

static void test_one_that_is_closed_between_questions_is_made_anew(void **state)
{
    (void)state;
    ask("ann");
    answer(1, "8:NOTFOUND,");
    wait_for(is_told, 1);
    hang_up();
    pass(100);
    assert_int_equal(server.connections, 1);
    ask("ann");
    assert_asked(2, 1, "9:users ann,");
    assert_int_equal(told_n, 1);
}

/* It may close just when we ask. */
static void test_open_questions_are_asked_once_more(void **state)
{
    (void)state;
    ask("ann");
    answer(1, "8:NOTFOUND,");
    wait_for(is_told, 1);
    ask_as(1, "bob");
    ask_as(2, "carol");
    wait_for(has_asked, 3);
    hang_up();
    assert_asked(2, 2, "9:users bob,11:users carol,");
    say("8:NOTFOUND,");
    wait_for(is_told, 2);
    hang_up();
    assert_failed(3, "the server has closed the connection");
    assert_int_equal(told[1].id, 1);
    assert_int_equal(told[1].status, DIRECTORY_UNKNOWN);
    assert_int_equal(told[2].id, 2);
    assert_int_equal(server.connections, 2);
}

static void test_a_server_that_never_answers_is_not_asked_again_and_again(void **state)
{
    (void)state;
    server.hangs_up = true;
    ask("ann");
    assert_failed(1, "the server has closed the connection");
    assert_int_equal(server.connections, 1);
}

/* The clock that moves on by itself, too. */
static uint64_t real_ms(void)
{
    struct timespec ts;

    assert_int_equal(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &ts), 0);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void test_one_that_cannot_be_reached_is_left_alone_for_a_while(void **state)
{
    uint64_t began_ms = real_ms();
    char addr[ADDR_TEXT], want[128];

    (void)state;
    stop_listening();
    ask("ann");
    snprintf(want, sizeof want, "%s: Connection refused", addr_format(&server.addr, addr));
    assert_told(1, DIRECTORY_FAILED, want);
    listen_again();
    ask("ann");
    if (real_ms() - began_ms > REALLY_MS * 4)
        return;
    assert_int_equal(told_n, 2);
    assert_string_equal(told[1].text, want);
    pass(200);
    assert_int_equal(server.connections, 0);
    ask("ann");
    assert_asked(1, 1, "9:users ann,");
    say("8:NOTFOUND,");
    assert_told(3, DIRECTORY_UNKNOWN, "");
}

/* Tries, when the pauses between them have passed. */
static void test_it_is_tried_again_after_each_pause(void **state)
{
    static const uint64_t pauses_ms[] = {100, 200, 400, 800, 1600, 3200, 5000, 5000};

    (void)state;
    stop_listening();
    for (size_t i = 0; i < sizeof pauses_ms / sizeof *pauses_ms; i++) {
        told_n = 0;
        ask("ann");
        assert_int_equal(told_n, 0);
        assert_failed(1, "refused");
        pass(pauses_ms[i] + 200);
    }
    listen_again();
    ask("ann");
    answer(1, "8:NOTFOUND,");
    wait_for(is_told, 2);
    hang_up();
    stop_listening();
    pass(100);
    told_n = 0;
    ask("ann");
    assert_failed(1, "refused");
    listen_again();
    pass(200);
    ask("ann");
    wait_for(is_connection, 2);
    assert_int_equal(told_n, 1);
}

static void test_what_is_no_answer_ends_the_connection(void **state)
{
    static const char *const rows[] = {
        "HTTP/1.1 400 Bad Request\r\n",
        "3:YES,",
        "4:OKAY,",
        "0:,",
        "2:OK;",
        "02:OK,",
        "99999:OK ",
        "11:ok pool=a b,",
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        told_n = 0;
        ask_as(0, "ann");
        ask_as(1, "bob");
        wait_for(is_connection, i + 1);
        answer(2, rows[i]);
        assert_failed(2, "what the server says is no answer");
        assert_int_equal(told[0].status, DIRECTORY_FAILED);
        wait_for(is_over, 0);
        pass(5000);
    }
    assert_int_equal(server.connections, sizeof rows / sizeof *rows);
}

static void test_an_answer_that_nobody_asked_for_ends_the_connection(void **state)
{
    (void)state;
    ask("ann");
    answer(1, "8:NOTFOUND,12:OK pool=main,");
    assert_told(1, DIRECTORY_UNKNOWN, "");
    wait_for(is_over, 0);
}

/* It is there before the question is, in the same turn of the loop. */
static void test_an_answer_from_before_the_question_is_not_taken_for_its_own(void **state)
{
    (void)state;
    ask("ann");
    answer(1, "8:NOTFOUND,");
    wait_for(is_told, 1);
    say("12:OK pool=main,");
    ask_as(1, "bob");
    assert_failed(2, "what the server says is no answer");
    wait_for(is_over, 0);
    assert_int_equal(told[1].id, 1);
}

static void test_half_an_answer_that_nobody_asked_for_is_not_completed(void **state)
{
    (void)state;
    ask("ann");
    answer(1, "8:NOTFOUND,12:OK po");
    assert_told(1, DIRECTORY_UNKNOWN, "");
    wait_for(is_over, 0);
    pass(200);
    ask("bob");
    assert_asked(2, 1, "9:users bob,");
}

/* Nor is it asked of a server that has gone by then. */
static void test_an_end_that_has_come_already_costs_no_try(void **state)
{
    (void)state;
    ask("ann");
    answer(1, "8:NOTFOUND,");
    wait_for(is_told, 1);
    hang_up();
    ask("bob");
    assert_asked(2, 1, "9:users bob,");
    say("8:NOTFOUND,");
    wait_for(is_told, 2);
    hang_up();
    assert_int_equal(told[1].status, DIRECTORY_UNKNOWN);
}

static void test_the_longest_answer_is_one_and_a_longer_none(void **state)
{
    char text[4200];

    (void)state;
    for (size_t n = 4096; n <= 4097; n++) {
        size_t at = (size_t)snprintf(text, sizeof text, "%zu:TEMP ", n);

        memset(text + at, 'x', n - 5);
        snprintf(text + at + n - 5, 2, ",");
        ask("ann");
        answer(n - 4095, text);
        wait_for(is_told, n - 4095);
    }
    assert_non_null(strstr(told[0].text, "the server says TEMP xxx"));
    assert_in_range(strlen(told[0].text), 200, 250);
    assert_failed(2, "what the server says is no answer: more than 4096 bytes");
}

/* Late answers are of use, so twice the time that somebody waits. */
static void test_silence_ends_the_connection(void **state)
{
    (void)state;
    ask_as(0, "ann");
    ask_as(1, "bob");
    wait_for(has_asked, 2);
    pass(2 * TIMEOUT_MS - 500);
    assert_int_equal(told_n, 0);
    say("8:NOTFOUND,");
    wait_for(is_told, 1);
    pass(2 * TIMEOUT_MS - 500);
    assert_int_equal(told_n, 1);
    pass(800);
    assert_failed(2, "no answer within 4000 ms");
    wait_for(is_over, 0);
    assert_int_equal(server.connections, 1);
}

static void test_silence_without_questions_is_none(void **state)
{
    (void)state;
    ask("ann");
    answer(1, "8:NOTFOUND,");
    wait_for(is_told, 1);
    pass(5 * TIMEOUT_MS);
    ask("ann");
    assert_asked(1, 2, "9:users ann,9:users ann,");
    assert_false(server.is_over);
}

static void test_those_that_wait_are_not_forgotten_in_silence(void **state)
{
    (void)state;
    for (int i = 0; i < SENT_MAX + 5; i++)
        ask_as(i, "ann");
    wait_for(has_asked, SENT_MAX);
    pass(2 * TIMEOUT_MS + 300);
    assert_int_equal(told_n, SENT_MAX + 5);
    for (size_t i = 0; i < told_n; i++)
        assert_int_equal(told[i].status, DIRECTORY_FAILED);
}

static void test_what_has_waited_for_too_long_is_not_sent(void **state)
{
    (void)state;
    for (int i = 0; i < SENT_MAX + 2; i++)
        ask_as(i, "ann");
    wait_for(has_asked, SENT_MAX);
    pass(2 * TIMEOUT_MS - 1000);
    say("8:NOTFOUND,");
    wait_for(has_asked, SENT_MAX + 1);
    ask_as(SENT_MAX + 2, "bob");
    pass(2000);
    say("8:NOTFOUND,");
    wait_for(has_asked, SENT_MAX + 2);
    assert_non_null(strstr(server.got, "9:users bob,"));
    assert_int_equal(told_n, 3);
    for (size_t i = 0; i < 3; i++)
        if (told[i].id == SENT_MAX + 1)
            assert_string_equal(told[i].text, "too many questions were before this one");
        else
            assert_int_equal(told[i].status, DIRECTORY_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_that_is_closed_between_questions_is_made_anew),
        TEST(open_questions_are_asked_once_more),
        TEST(a_server_that_never_answers_is_not_asked_again_and_again),
        TEST(one_that_cannot_be_reached_is_left_alone_for_a_while),
        TEST(it_is_tried_again_after_each_pause),
        TEST(what_is_no_answer_ends_the_connection),
        TEST(an_answer_that_nobody_asked_for_ends_the_connection),
        TEST(an_answer_from_before_the_question_is_not_taken_for_its_own),
        TEST(half_an_answer_that_nobody_asked_for_is_not_completed),
        TEST(an_end_that_has_come_already_costs_no_try),
        TEST(the_longest_answer_is_one_and_a_longer_none),
        TEST(silence_ends_the_connection),
        TEST(silence_without_questions_is_none),
        TEST(those_that_wait_are_not_forgotten_in_silence),
        TEST(what_has_waited_for_too_long_is_not_sent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
