/* Questions about users, and who waits for the answers: control/facts_wait.h. */
#include "control/facts_wait.h"

#include "base/err.h"

#include "cm.h"
#include "no_memory.h"

#include <stdio.h>
#include <string.h>

enum { ASKERS = 8, TIMEOUT_MS = 2000, LATE_MS = TIMEOUT_MS + FACTS_PATIENCE_MS };

static struct facts_wait wait;
static struct asker askers[ASKERS];
static const char *asks_next[ASKERS]; /* about whom, when it is told; NULL: nobody */
static int sends_away[ASKERS];        /* whom it has leave, when it is told; -1: nobody */
static uint32_t numbers[64];          /* of the questions, in their order */
static size_t numbers_n;
static char told[4096];
static uint64_t now_ms;

static void tell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void tell(const char *fmt, ...)
{
    size_t n = strlen(told);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(told + n, sizeof told - n, fmt, ap);
    va_end(ap);
}

static void assert_told(const char *want)
{
    assert_string_equal(told, want);
    told[0] = '\0';
}

static void on_ask(void *arg, uint32_t question, struct slice user, bool is_fresh)
{
    assert_ptr_equal(arg, askers);
    numbers[numbers_n++ % 64] = question;
    tell("ask %.*s%s\n", SLICE_ARG(user), is_fresh ? " fresh" : "");
}

static void ask(int i, const char *user);

static void on_answer(struct facts_wait *f, struct asker *a, const struct facts_answer *answer,
                      uint64_t at_ms)
{
    static const char *const words[] = {"found", "unknown", "unavailable"};
    int i = (int)(a - askers);
    const char *next = asks_next[i];

    assert_ptr_equal(f, &wait);
    assert_int_equal(at_ms, now_ms);
    tell("%d %s %.*s: %.*s\n", i, words[answer->status], SLICE_ARG(answer->directory),
         SLICE_ARG(answer->text));
    if (sends_away[i] >= 0)
        asker_leave(&askers[sends_away[i]]);
    asks_next[i] = NULL;
    if (next)
        ask(i, next);
}

static int set_up(void **state)
{
    (void)state;
    now_ms = 1000000;
    numbers_n = 0;
    told[0] = '\0';
    facts_wait_init(&wait, TIMEOUT_MS, on_ask, askers);
    for (int i = 0; i < ASKERS; i++) {
        asker_init(&askers[i]);
        askers[i].on_answer = on_answer;
        asks_next[i] = NULL;
        sends_away[i] = -1;
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    memory.is_on = false;
    for (int i = 0; i < ASKERS; i++)
        asker_leave(&askers[i]);
    facts_wait_done(&wait);
    return 0;
}

static void ask(int i, const char *user)
{
    assert_int_equal(facts_wait_ask(&wait, &askers[i], slice_str(user), false, now_ms), 0);
}

static void ask_fresh(int i, const char *user)
{
    assert_int_equal(facts_wait_ask(&wait, &askers[i], slice_str(user), true, now_ms), 0);
}

/* The nth question, from 0. */
static void answer(size_t nth, enum facts_status status, const char *text)
{
    const struct facts_answer a = {
        .status = status, .directory = SLICE("people"), .text = slice_str(text)};

    facts_wait_answer(&wait, numbers[nth], &a, now_ms);
}

static void test_who_asks_is_told_once(void **state)
{
    (void)state;
    ask(0, "ann");
    assert_told("ask ann\n");
    answer(0, FACTS_FOUND, "pool=main");
    assert_told("0 found people: pool=main\n");
    answer(0, FACTS_FOUND, "pool=main");
    assert_told("");
    assert_int_equal(facts_wait_due_ms(&wait), 0);
}

static void test_those_who_ask_about_one_user_wait_for_one_answer(void **state)
{
    (void)state;
    ask(0, "ann");
    ask(1, "bob");
    ask(2, "ann");
    ask(3, "Ann");
    assert_told("ask ann\nask bob\nask Ann\n");
    answer(0, FACTS_UNKNOWN, "");
    assert_told("0 unknown people: \n2 unknown people: \n");
    answer(1, FACTS_FOUND, "x");
    assert_told("1 found people: x\n");
}

static void test_a_fresh_question_is_one_of_its_own(void **state)
{
    (void)state;
    ask(0, "ann");
    ask_fresh(1, "ann");
    ask_fresh(2, "ann");
    ask(3, "ann");
    assert_told("ask ann\nask ann fresh\nask ann fresh\n");
    answer(1, FACTS_FOUND, "new");
    assert_told("1 found people: new\n");
    answer(0, FACTS_FOUND, "old");
    assert_told("0 found people: old\n3 found people: old\n");
    answer(2, FACTS_FOUND, "newer");
    assert_told("2 found people: newer\n");
}

static void test_an_answer_to_no_question_is_ignored(void **state)
{
    const struct facts_answer a = {.status = FACTS_FOUND};

    (void)state;
    ask(0, "ann");
    told[0] = '\0';
    facts_wait_answer(&wait, numbers[0] + 1, &a, now_ms);
    facts_wait_answer(&wait, 0, &a, now_ms);
    assert_told("");
    answer(0, FACTS_FOUND, "x");
    assert_told("0 found people: x\n");
}

static void test_who_has_left_is_not_told(void **state)
{
    (void)state;
    ask(0, "ann");
    ask(1, "ann");
    asker_leave(&askers[0]);
    asker_leave(&askers[0]);
    told[0] = '\0';
    answer(0, FACTS_FOUND, "x");
    assert_told("1 found people: x\n");
    ask(2, "bob");
    asker_leave(&askers[2]);
    told[0] = '\0';
    answer(1, FACTS_FOUND, "x");
    assert_told("");
}

static void test_who_is_told_may_have_those_behind_leave_and_ask_again(void **state)
{
    (void)state;
    ask(0, "ann");
    ask(1, "ann");
    ask(2, "ann");
    sends_away[0] = 1;
    asks_next[0] = "ann";
    told[0] = '\0';
    answer(0, FACTS_FOUND, "x");
    assert_told("0 found people: x\nask ann\n2 found people: x\n");
    sends_away[0] = -1;
    answer(1, FACTS_FOUND, "y");
    assert_told("0 found people: y\n");
}

static void test_what_is_open_is_asked_of_the_next_lookup(void **state)
{
    (void)state;
    ask(0, "ann");
    ask_fresh(1, "bob");
    ask(2, "cid");
    answer(2, FACTS_UNKNOWN, "");
    told[0] = '\0';
    facts_wait_repeat(&wait);
    assert_told("ask ann\nask bob fresh\n");
    assert_int_equal(numbers[3], numbers[0]);
    assert_int_equal(numbers[4], numbers[1]);
    answer(3, FACTS_FOUND, "x");
    assert_told("0 found people: x\n");
}

static void test_what_is_late_cannot_be_had(void **state)
{
    (void)state;
    ask(0, "ann");
    now_ms += 100;
    ask(1, "ann");
    ask(2, "bob");
    told[0] = '\0';
    assert_int_equal(facts_wait_due_ms(&wait), 1000000 + LATE_MS);
    now_ms = 1000000 + LATE_MS - 1;
    facts_wait_tick(&wait, now_ms);
    assert_told("");
    now_ms++;
    facts_wait_tick(&wait, now_ms);
    assert_told("0 unavailable : no answer within directory_timeout\n"
                "1 unavailable : no answer within directory_timeout\n");
    assert_int_equal(facts_wait_due_ms(&wait), now_ms + 100);
    answer(0, FACTS_FOUND, "x");
    assert_told("");
    ask(0, "ann");
    assert_told("ask ann\n");
}

/* Whoever asks again from there asks a question of its own time. */
static void test_a_question_asked_for_one_that_was_late_is_not_late_too(void **state)
{
    (void)state;
    ask(0, "ann");
    asks_next[0] = "ann";
    told[0] = '\0';
    now_ms += LATE_MS;
    facts_wait_tick(&wait, now_ms);
    assert_told("0 unavailable : no answer within directory_timeout\nask ann\n");
    assert_int_equal(facts_wait_due_ms(&wait), now_ms + LATE_MS);
}

static void test_zero_is_no_number_of_a_question(void **state)
{
    (void)state;
    wait.last = UINT32_MAX;
    ask(0, "ann");
    assert_int_not_equal(numbers[0], 0);
    answer(0, FACTS_UNKNOWN, "");
}

static void test_many_answers_in_any_order_find_their_questions(void **state)
{
    enum { MANY = 60 };
    static struct asker many[MANY];
    static char names[MANY][16];

    (void)state;
    for (int i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "u%d", i);
        asker_init(&many[i]);
        many[i].on_answer = on_answer;
        assert_int_equal(facts_wait_ask(&wait, &many[i], slice_str(names[i]), false, now_ms), 0);
    }
    for (int i = 0; i < MANY; i++) {
        int nth = i * 37 % MANY;

        assert_false(list_empty(&many[nth].node));
        many[nth].on_answer = on_answer;
        asker_leave(&many[nth]);
        answer((size_t)nth, FACTS_FOUND, "x");
    }
    assert_int_equal(facts_wait_due_ms(&wait), 0);
}

static void test_without_memory_nobody_waits(void **state)
{
    size_t failures = 0;

    (void)state;
    for (size_t at = 1;; at++) {
        int result;

        memory.n = 0;
        memory.fails_at = at;
        memory.is_on = true;
        result = facts_wait_ask(&wait, &askers[0], SLICE("ann"), false, now_ms);
        memory.is_on = false;
        if (result == 0)
            break;
        failures++;
        assert_true(list_empty(&askers[0].node));
        assert_told("");
        assert_int_equal(facts_wait_due_ms(&wait), 0);
    }
    assert_true(failures >= 2);
    assert_told("ask ann\n");
    answer(0, FACTS_FOUND, "x");
    assert_told("0 found people: x\n");
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_who_asks_is_told_once),
        T(test_those_who_ask_about_one_user_wait_for_one_answer),
        T(test_a_fresh_question_is_one_of_its_own),
        T(test_an_answer_to_no_question_is_ignored),
        T(test_who_has_left_is_not_told),
        T(test_who_is_told_may_have_those_behind_leave_and_ask_again),
        T(test_what_is_open_is_asked_of_the_next_lookup),
        T(test_what_is_late_cannot_be_had),
        T(test_a_question_asked_for_one_that_was_late_is_not_late_too),
        T(test_zero_is_no_number_of_a_question),
        T(test_many_answers_in_any_order_find_their_questions),
        T(test_without_memory_nobody_waits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
