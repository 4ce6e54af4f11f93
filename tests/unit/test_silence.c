/* Children that say nothing. */
#include "parent/silence.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { LIMIT_MS = 30 * 1000, CHILDREN = 3 };

/* A parent whose children speak or not, on a clock of its own. */
struct world {
    struct silence silence;
    struct sign signs[CHILDREN];
    bool is_silent[CHILDREN], is_starting[CHILDREN];
    uint64_t now_ms;
    unsigned aborted, killed;
    uint64_t aborted_ms; /* the last one */
};

static void begin(struct world *w, uint32_t limit_ms)
{
    *w = (struct world){.now_ms = 1000000};
    silence_watch(&w->silence, limit_ms, w->now_ms);
    for (unsigned i = 0; i < CHILDREN; i++)
        silence_started(&w->silence, limit_ms, &w->signs[i]);
}

/* A look, `late_ms` after the time for it. */
static void look(struct world *w, uint64_t late_ms)
{
    w->now_ms += w->silence.every_ms + late_ms;
    silence_look(&w->silence, w->now_ms);
    for (unsigned i = 0; i < CHILDREN; i++) {
        enum silence_verdict v = silence_judge(&w->silence, &w->signs[i], !w->is_starting[i]);

        if (v == SILENCE_ABORT) {
            w->aborted++;
            w->aborted_ms = w->now_ms;
        }
        w->killed += v == SILENCE_KILL;
        if (!w->is_silent[i])
            silence_heard(&w->silence, &w->signs[i]);
    }
}

static void pass(struct world *w, uint64_t ms)
{
    for (uint64_t end_ms = w->now_ms + ms; w->now_ms < end_ms;)
        look(w, 0);
}

static void test_who_speaks_is_left_alone(void **state)
{
    struct world w;

    (void)state;
    begin(&w, LIMIT_MS);
    pass(&w, 100 * LIMIT_MS);
    assert_int_equal(w.aborted, 0);
}

static void test_who_is_silent_for_the_limit_is_aborted_and_then_killed(void **state)
{
    struct world w;

    (void)state;
    begin(&w, LIMIT_MS);
    pass(&w, LIMIT_MS);
    w.is_silent[1] = true;
    pass(&w, LIMIT_MS);
    assert_int_equal(w.aborted, 0);
    pass(&w, w.silence.every_ms);
    assert_int_equal(w.aborted, 1);
    assert_int_equal(w.killed, 0);
    pass(&w, w.silence.every_ms);
    assert_int_equal(w.killed, 1);
}

static void test_a_successor_begins_anew(void **state)
{
    struct world w;

    (void)state;
    begin(&w, LIMIT_MS);
    w.is_silent[1] = true;
    pass(&w, LIMIT_MS + w.silence.every_ms);
    assert_int_equal(w.aborted, 1);
    silence_started(&w.silence, LIMIT_MS, &w.signs[1]);
    pass(&w, LIMIT_MS);
    assert_int_equal(w.aborted, 1);
    assert_int_equal(w.killed, 0);
}

static void test_who_is_starting_may_take_longer(void **state)
{
    struct world w;

    (void)state;
    begin(&w, LIMIT_MS);
    w.is_silent[0] = w.is_starting[0] = true;
    pass(&w, 10 * LIMIT_MS);
    assert_int_equal(w.aborted, 0);
    pass(&w, 2 * w.silence.every_ms);
    assert_int_equal(w.aborted, 1);
}

static void test_a_machine_that_slept_is_not_held_against_the_children(void **state)
{
    struct world w;

    (void)state;
    begin(&w, LIMIT_MS);
    for (unsigned i = 0; i < CHILDREN; i++)
        w.is_silent[i] = true;
    look(&w, UINT64_C(365) * 24 * 3600 * 1000);
    assert_int_equal(w.aborted, 0);
    /* Nor is one that is starved: each look comes late, and counts for little. */
    for (unsigned i = 0; i < 4; i++)
        look(&w, LIMIT_MS);
    assert_int_equal(w.aborted, 0);
}

static void test_all_are_not_given_up_at_once(void **state)
{
    struct world w;
    uint64_t first_ms;

    (void)state;
    begin(&w, LIMIT_MS);
    for (unsigned i = 0; i < CHILDREN; i++)
        w.is_silent[i] = true;
    while (w.aborted == 0)
        look(&w, 0);
    assert_int_equal(w.aborted, 1);
    first_ms = w.aborted_ms;
    while (w.aborted < 2)
        look(&w, 0);
    assert_in_range(w.aborted_ms - first_ms, LIMIT_MS / 3, LIMIT_MS / 2);
    while (w.aborted < CHILDREN)
        look(&w, 0);
    assert_true(w.aborted_ms - first_ms <= LIMIT_MS);
}

static void test_without_a_limit_nobody_is_given_up(void **state)
{
    struct world w;

    (void)state;
    begin(&w, 0);
    w.is_silent[0] = true;
    for (unsigned i = 0; i < 1000; i++)
        look(&w, LIMIT_MS);
    assert_int_equal(w.aborted, 0);
}

/* As when a reload sets another limit: those who go on by the one of before give their signs as
 * seldom as it wants. */
static void test_each_is_judged_by_its_own_limit(void **state)
{
    enum { SHORT_MS = LIMIT_MS / 10 };
    struct world w;

    (void)state;
    begin(&w, LIMIT_MS);
    pass(&w, 100 * LIMIT_MS);
    silence_watch(&w.silence, SHORT_MS, w.now_ms);
    silence_started(&w.silence, SHORT_MS, &w.signs[1]);
    silence_started(&w.silence, 0, &w.signs[2]);
    w.is_silent[0] = w.is_silent[2] = true;
    pass(&w, LIMIT_MS / 2);
    assert_int_equal(w.aborted, 0);
    w.is_silent[1] = true;
    pass(&w, SHORT_MS + w.silence.every_ms);
    assert_int_equal(w.aborted, 1);
    assert_int_not_equal(w.signs[1].aborted_ms, 0);
    pass(&w, 2 * LIMIT_MS);
    assert_int_equal(w.aborted, 2);
    assert_int_equal(w.signs[2].aborted_ms, 0);
}

/* However the limits change, the clock goes on: nobody is silent for the time before. */
static void test_another_limit_is_not_held_against_those_who_speak(void **state)
{
    struct world w;

    (void)state;
    begin(&w, LIMIT_MS);
    for (unsigned i = 0; i < 20; i++) {
        const uint32_t limit_ms = i % 2 ? LIMIT_MS : LIMIT_MS / 3;

        pass(&w, i * LIMIT_MS + 1);
        silence_watch(&w.silence, limit_ms, w.now_ms);
        silence_started(&w.silence, limit_ms, &w.signs[0]);
    }
    assert_int_equal(w.aborted, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_speaks_is_left_alone),
        cmocka_unit_test(test_who_is_silent_for_the_limit_is_aborted_and_then_killed),
        cmocka_unit_test(test_a_successor_begins_anew),
        cmocka_unit_test(test_who_is_starting_may_take_longer),
        cmocka_unit_test(test_a_machine_that_slept_is_not_held_against_the_children),
        cmocka_unit_test(test_all_are_not_given_up_at_once),
        cmocka_unit_test(test_without_a_limit_nobody_is_given_up),
        cmocka_unit_test(test_each_is_judged_by_its_own_limit),
        cmocka_unit_test(test_another_limit_is_not_held_against_those_who_speak),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
