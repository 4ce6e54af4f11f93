/* The driver socketmap: questions, and what the answers to them mean. */
#include "socketmap_world.h"

/* ---- questions and answers ---- */

static void test_a_question_is_a_netstring_of_map_and_user(void **state)
{
    (void)state;
    ask("ann@example.org");
    assert_asked(1, 1, "21:users ann@example.org,");
    say("12:OK pool=main,");
    assert_told(1, DIRECTORY_FOUND, "pool=main");
}

static void test_a_name_goes_out_as_its_bytes_are(void **state)
{
    (void)state;
    ask("a,b 3:c\r\n\xff");
    assert_asked(1, 1, "16:users a,b 3:c\r\n\xff,");
}

static void test_answers_have_five_words(void **state)
{
    static const struct {
        const char *answer;
        enum directory_status status;
        const char *text;
    } rows[] = {
        {"12:OK pool=main,", DIRECTORY_FOUND, "pool=main"},
        {"3:OK ,", DIRECTORY_FOUND, ""},
        {"2:OK,", DIRECTORY_FOUND, ""},
        {"9:NOTFOUND ,", DIRECTORY_UNKNOWN, ""},
        {"8:NOTFOUND,", DIRECTORY_UNKNOWN, ""},
        {"16:TEMP no database,", DIRECTORY_FAILED, "the server says TEMP no database"},
        {"13:TIMEOUT of it,", DIRECTORY_FAILED, "the server says TIMEOUT of it"},
        {"12:PERM no map,,", DIRECTORY_FAILED, "the server says PERM no map,"},
        {"4:PERM,", DIRECTORY_FAILED, "the server says PERM "},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ask("ann");
        answer(i + 1, rows[i].answer);
        assert_told(i + 1, rows[i].status, rows[i].text);
    }
    assert_int_equal(server.connections, 1);
}

static void test_facts_that_are_none_fail_the_question_and_no_other(void **state)
{
    (void)state;
    ask("ann");
    ask("bob");
    answer(2, "24:OK backend_password=hush,12:OK pool=main,");
    assert_told(2, DIRECTORY_FOUND, "pool=main");
    assert_int_equal(told[0].status, DIRECTORY_FAILED);
    assert_non_null(strstr(told[0].text, "of user \"ann\": "));
    assert_non_null(strstr(told[0].text, "backend_password"));
    assert_null(strstr(told[0].text, "hush"));
    assert_int_equal(server.connections, 1);
}

static void test_facts_may_be_as_long_as_they_get_and_no_longer(void **state)
{
    static const char head[] = "disabled=\"";
    char text[FACTS_MAX + 64];

    (void)state;
    for (size_t n = FACTS_MAX; n <= FACTS_MAX + 1; n++) {
        size_t at = (size_t)snprintf(text, sizeof text, "%zu:OK %s", n + 3, head);

        memset(text + at, 'x', n - sizeof head);
        snprintf(text + at + n - sizeof head, 4, "\",");
        ask("ann");
        answer(n - FACTS_MAX + 1, text);
    }
    assert_failed(2, "facts of more than 1024 bytes");
    assert_int_equal(told[0].status, DIRECTORY_FOUND);
    assert_int_equal(strlen(told[0].text), FACTS_MAX);
}

/* That what came last of the one part has been read, only the driver knows; so whole answers before
 * the cut are waited for. */
static void test_answers_are_cut_at_every_byte(void **state)
{
    static const char answers[] = "12:OK pool=main,9:NOTFOUND ,6:TEMP ,,";

    (void)state;
    for (size_t cut = 1; cut < sizeof answers - 1; cut++) {
        told_n = 0;
        for (int i = 0; i < 3; i++)
            ask_as(i, "ann");
        wait_for(has_asked, 3 * cut);
        say_slice(slice_of(answers, cut));
        wait_for(is_told, cut >= 28 ? 2 : cut >= 16);
        pass(1);
        say(answers + cut);
        assert_told(3, DIRECTORY_FAILED, "the server says TEMP ,");
        assert_int_equal(told[0].status, DIRECTORY_FOUND);
        assert_int_equal(told[1].status, DIRECTORY_UNKNOWN);
        for (int i = 0; i < 3; i++)
            assert_int_equal(told[i].id, i);
    }
    assert_int_equal(server.connections, 1);
}

static void test_so_many_are_under_way_and_the_others_wait(void **state)
{
    (void)state;
    for (int i = 0; i < SENT_MAX + 20; i++)
        ask_as(i, "ann");
    wait_for(has_asked, SENT_MAX);
    pass(100);
    assert_int_equal(server.got_n, SENT_MAX * strlen("9:users ann,"));
    say("8:NOTFOUND,8:NOTFOUND,");
    wait_for(has_asked, SENT_MAX + 2);
    assert_int_equal(server.got_n, (SENT_MAX + 2) * strlen("9:users ann,"));
    assert_int_equal(told_n, 2);
    for (int i = 2; i < SENT_MAX; i++)
        say("8:NOTFOUND,");
    wait_for(has_asked, SENT_MAX + 20);
    for (int i = 0; i < 20; i++)
        say("5:OK   ,");
    assert_told(SENT_MAX + 20, DIRECTORY_FOUND, "  ");
    for (int i = 0; i < SENT_MAX + 20; i++)
        assert_int_equal(told[i].id, i);
}

static void test_there_is_an_end_to_how_many_wait(void **state)
{
    (void)state;
    ask("ann");
    wait_for(has_asked, 1);
    for (int i = 0; i < QUEUED_MAX + SENT_MAX - 1; i++)
        ask("bob");
    assert_int_equal(told_n, 0);
    ask("carol");
    assert_told(1, DIRECTORY_FAILED, "too many questions wait for an answer");
}

/* ---- questions that end ---- */

static void test_cancelled_questions_are_told_to_nobody(void **state)
{
    (void)state;
    ask_as(0, "ann");
    driver->cancel(directory, &ids[0]);
    ask_as(1, "bob");
    ask_as(2, "carol");
    assert_asked(1, 2, "9:users bob,11:users carol,");
    driver->cancel(directory, &ids[1]);
    say("12:OK pool=main,8:NOTFOUND,");
    assert_told(1, DIRECTORY_UNKNOWN, "");
    assert_int_equal(told[0].id, 2);
    ask_as(1, "bob");
    ask_as(2, "carol");
    wait_for(has_asked, 4);
    driver->cancel(directory, &ids[1]);
    hang_up();
    assert_asked(2, 1, "11:users carol,");
}

static void ask_again(void *arg, enum directory_status status, struct slice text)
{
    const bool is_last = told_n > 0;

    on_told(arg, status, text);
    driver->lookup(directory, SLICE("bob"), is_last ? on_told : ask_again, arg);
}

static void test_whoever_is_told_may_ask_further(void **state)
{
    (void)state;
    driver->lookup(directory, SLICE("ann"), ask_again, &ids[0]);
    answer(1, "8:NOTFOUND,");
    assert_asked(1, 2, "9:users ann,9:users bob,");
    stop_listening();
    hang_up();
    /* The second is asked again in vain, and the third, asked from within, at once. */
    assert_failed(3, "refused");
}

static void test_open_questions_are_forgotten_at_the_end(void **state)
{
    (void)state;
    for (int i = 0; i < SENT_MAX + 5; i++)
        ask_as(i, "ann");
    wait_for(has_asked, SENT_MAX);
    driver->close(&directory);
    assert_null(directory);
    driver->close(&directory);
    wait_for(is_over, 0);
    assert_int_equal(told_n, 0);
}

static void test_an_end_while_it_connects_is_one_too(void **state)
{
    (void)state;
    ask("ann");
    driver->close(&directory);
    pass(100);
    assert_int_equal(told_n, 0);
}

static void test_an_address_that_is_none_is_refused(void **state)
{
    static const char *const rows[] = {"", "127.0.0.1", "127.0.0.1:0", "localhost:25", ":25"};

    (void)state;
    driver->close(&directory);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err;

        assert_int_equal(open_directory(rows[i], &err), -1);
        assert_int_equal(strncmp(err.text, "address", 7), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_question_is_a_netstring_of_map_and_user),
        TEST(a_name_goes_out_as_its_bytes_are),
        TEST(answers_have_five_words),
        TEST(facts_that_are_none_fail_the_question_and_no_other),
        TEST(facts_may_be_as_long_as_they_get_and_no_longer),
        TEST(answers_are_cut_at_every_byte),
        TEST(so_many_are_under_way_and_the_others_wait),
        TEST(there_is_an_end_to_how_many_wait),
        TEST(cancelled_questions_are_told_to_nobody),
        TEST(whoever_is_told_may_ask_further),
        TEST(open_questions_are_forgotten_at_the_end),
        TEST(an_end_while_it_connects_is_one_too),
        TEST(an_address_that_is_none_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
