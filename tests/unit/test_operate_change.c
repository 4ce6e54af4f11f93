/* Operators and usher itself: its workers of all generations, and who waits for a change of it. */
#include "operate_world.h"

static char asked[256], heard[512]; /* by the parent; by who waits */
static struct operate *changing;    /* beside the world's own: one that has a parent */

static void ask_parent(void *arg, uint32_t id, enum change_kind what)
{
    assert_ptr_equal(arg, asked);
    snprintf(asked + strlen(asked), sizeof asked - strlen(asked), "%s %u; ",
             what == CHANGE_UPGRADE ? "upgrade" : "reload", id);
}

static int setup_changing(void **unused)
{
    asked[0] = heard[0] = '\0';
    if (setup_operating(unused) < 0)
        return -1;
    return operate_new(
        &(struct operate_params){conf, &backends, admission, NULL, ask_parent, asked}, &changing,
        &err);
}

static int teardown_changing(void **unused)
{
    operate_free(&changing);
    return teardown_operating(unused);
}

static void on_line(struct changer *c, struct slice line)
{
    snprintf(heard + strlen(heard), sizeof heard - strlen(heard), "%u: %.*s; ", c->id,
             SLICE_ARG(line));
}

/* It is forgotten by then, and may ask again from there. */
static void on_over(struct changer *c, enum change_status status, uint32_t generation,
                    struct slice words)
{
    assert_true(list_empty(&c->node));
    snprintf(heard + strlen(heard), sizeof heard - strlen(heard), "%u: %s %u %.*s; ", c->id,
             status == CHANGE_DONE ? "done" : "refused", generation, SLICE_ARG(words));
}

static void parent_says(uint32_t id, uint32_t status, uint32_t generation, const char *words)
{
    const struct msg_changed m = {.status = status, .generation = generation};

    operate_changed(changing, id, &m, slice_str(words));
}

static void begin(struct changer *c, enum change_kind what)
{
    *c = (struct changer){.on_line = on_line, .on_over = on_over};
    changer_init(c);
    works(operate_change(changing, c, what, &err));
}

static void test_each_who_waits_is_told_of_what_was_asked(void **state)
{
    struct changer one, other;

    (void)state;
    begin(&one, CHANGE_RELOAD);
    begin(&other, CHANGE_UPGRADE);
    assert_string_equal(asked, "reload 1; upgrade 2; ");
    assert_string_equal(heard, "");
    parent_says(2, CHANGE_REFUSED, 0, "one at a time");
    parent_says(1, CHANGE_TOLD, 0, "a line");
    parent_says(2, CHANGE_TOLD, 0, "too late");
    parent_says(1, CHANGE_DONE, 3, "");
    parent_says(1, CHANGE_DONE, 4, "");
    assert_string_equal(heard, "2: refused 0 one at a time; 1: a line; 1: done 3 ; ");
}

static void test_who_has_left_is_not_told(void **state)
{
    struct changer one, other;

    (void)state;
    begin(&one, CHANGE_RELOAD);
    begin(&other, CHANGE_RELOAD);
    changer_leave(&one);
    changer_leave(&one);
    parent_says(1, CHANGE_TOLD, 0, "a line");
    parent_says(1, CHANGE_DONE, 3, "");
    parent_says(2, CHANGE_DONE, 3, "");
    assert_string_equal(heard, "2: done 3 ; ");
}

/* A newer parent's. */
static void test_a_status_that_is_not_known_ends_the_wait(void **state)
{
    struct changer one;

    (void)state;
    begin(&one, CHANGE_RELOAD);
    parent_says(1, 77, 0, "what");
    assert_string_equal(heard, "1: refused 0 what; ");
}

static void test_without_a_parent_nothing_is_changed(void **state)
{
    struct changer one = {.on_line = on_line, .on_over = on_over};

    (void)state;
    changer_init(&one);
    fails(operate_change(operate, &one, CHANGE_RELOAD, &err), "nobody");
    assert_true(list_empty(&one.node));
}

/* --- workers ---------------------------------------------------------------------------------- */

static void set_facts(int w, uint32_t generation, uint32_t slot, bool is_retired)
{
    workers[w].facts = (struct worker_facts){.generation = generation,
                                             .pid = 100 + (uint32_t)w,
                                             .slot = slot,
                                             .started_s = 1000,
                                             .is_retired = is_retired,
                                             .version = "1.2.3"};
}

static void test_workers_are_told_by_generation_and_slot(void **state)
{
    struct operate_worker *list;
    char text[512] = "";
    size_t n;

    (void)state;
    set_facts(0, 2, 1, false);
    set_facts(1, 2, 0, false);
    set_facts(2, 1, 1, true);
    attach(2);
    assert_string_not_equal(log_in(2, 1, SHARED, "ann"), "");
    works(operate_workers(operate, &list, &n, &err));
    for (size_t i = 0; i < n; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%u.%u pid %u %zu %s%s; ",
                 list[i].generation, list[i].slot, list[i].pid, list[i].sessions, list[i].version,
                 list[i].is_retired ? " retired" : "");
    free(list);
    assert_string_equal(text, "1.1 pid 102 1 1.2.3 retired; 2.0 pid 101 0 1.2.3; "
                              "2.1 pid 100 0 1.2.3; ");
    assert_int_equal(status().workers, 2);
    assert_int_equal(status().retired, 1);
    detach(2);
    assert_int_equal(status().retired, 0);
}

#define CHANGING(name) cmocka_unit_test_setup_teardown(name, setup_changing, teardown_changing)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHANGING(test_each_who_waits_is_told_of_what_was_asked),
        CHANGING(test_who_has_left_is_not_told),
        CHANGING(test_a_status_that_is_not_known_ends_the_wait),
        OPERATING(test_without_a_parent_nothing_is_changed),
        OPERATING(test_workers_are_told_by_generation_and_slot),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
