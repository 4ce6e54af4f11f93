/* Notes between two controls (control/succession.h): what is wrong in them, how much there is, and
 * the memory that they lie in. */
#include "succession_world.h"

/* --- placements ---------------------------------------------------------------------------- */

static void test_placements_that_could_not_be_written_are_handed_over(void **state)
{
    sqlite3 *db = lock_state();

    (void)state;
    assert_int_equal(state_place(state_file, "own", SLICE("ann"), "o2", &err), 0);
    assert_int_equal(state_place(state_file, "own", SLICE("b b"), "old", &err), 0);
    assert_int_equal(state_flush(state_file, &err), -1);
    leave();
    assert_notes("placed user=ann pool=own backend=o2\nplaced user=b%20b pool=own backend=old\n");
    sqlite3_close(db);
    succeed_with(buf_slice(&notes));
    assert_int_equal(route_of(OWN, "ann").placed, backend("o2"));
    assert_int_equal(state_waiting(state_file), 2);
    assert_int_equal(state_flush(state_file, &err), 0);
    crash();
    assert_int_equal(route_of(OWN, "b b").placed, backend("old"));
}

/* --- lines that are none ------------------------------------------------------------------- */

static void test_nothing_that_is_wrong_is_fatal_and_the_rest_counts(void **state)
{
    (void)state;
    succeed_to(
        "health backend=s1 state=dead\nhealth\n"
        "move\nmove user=ann pool=own kind=kick to=o2\nmove user=%00 pool=own kind=move to=o1\n"
        "move pool=own kind=move to=o1\n"
        "batch\nbatch kind=move pool=own from=o1 to=o2 rate=0\nuser name=ann\n"
        "batch kind=move pool=own to=o2 rate=1\nuser name=ann\n"
        "user name=ann\nplaced\nplaced pool=own user=ann\n???\n"
        "from a=later release=1\nmove user=bob pool=own kind=move to=o2 moon=full\n"
        "move user=bob pool=own kind=move to=o3\n"
        "batch kind=move pool=own from=o1 to=o2 rate=1\nuser name=cid\nuser\nuser name=cid\n");
    assert_int_equal(sum.moves, 1);
    assert_int_equal(sum.waiting, 1);
    assert_int_equal(sum.lost, 13);
    assert_string_equal(sum.why.text, "a backend's health is none");
    all_have_replayed();
    pass(5000);
    assert_int_equal(route_of(OWN, "bob").placed, backend("o2"));
    assert_int_equal(status().given_up, 1); /* bob, to o3 */
    succeed_with(SLICE("#!/bin/sh\n"));
    assert_int_equal(sum.lost, 1);
}

/* Of moves there may be more than can be begun: those of users who were stranded. */
static void test_there_is_room_for_no_more_batches_than_ever(void **state)
{
    struct buf text;

    (void)state;
    buf_init(&text, NOTES_MAX, false);
    assert_int_equal(buf_puts(&text, "usher notes 1\n"), 0);
    for (unsigned i = 0; i < MOVES_MAX + 5; i++)
        assert_int_equal(
            buf_printf(&text, "move user=u%u pool=own kind=move from=o1 to=o2 age=1\n", i), 0);
    for (unsigned i = 0; i < BATCHES_MAX + 5; i++)
        assert_int_equal(
            buf_printf(&text, "batch kind=kick pool=own from=b%u rate=1\nuser name=a\n", i), 0);
    succeed_with(buf_slice(&text));
    assert_int_equal(sum.moves, MOVES_MAX + 5);
    assert_int_equal(sum.waiting, BATCHES_MAX);
    assert_int_equal(status().given_up, 5);
    buf_release(&text);
}

static void test_what_is_written_and_taken_is_written_the_same(void **state)
{
    char *first, *second;
    size_t n;

    (void)state;
    gather_on("o1");
    placement("own", "with blank", "o1");
    log_in(1, 1, OWN, "with blank");
    works(operate_move_all(operate, backend("o1"), backend("o2"), 3, now_ms, &n, &err));
    works(operate_kick_all(operate, backend("o1"), 1, now_ms, &n, &err));
    fall("s1");
    fall("s2");
    rise("s2");
    pass(400);
    leave();
    first = slice_dup(buf_slice(&notes));
    assert_notes("=with%20blank");
    succeed_with(buf_slice(&notes));
    leave();
    second = slice_dup(buf_slice(&notes));
    assert_string_equal(first, second);
    free(first);
    free(second);
}

/* --- as a descriptor ----------------------------------------------------------------------- */

static void test_notes_pass_as_sealed_memory(void **state)
{
    struct succession s = now_here();
    int fd = succession_create(&err);

    (void)state;
    placement("own", "ann", "o1");
    log_in(0, 1, OWN, "ann");
    works(move("ann", "o2"));
    assert_int_equal(succession_leave(&s, fd, now_ms), 0);
    assert_int_equal(write(fd, "x", 1), -1);
    assert_int_equal(ftruncate(fd, 0), -1);
    end_operating();
    end_control();
    new_control();
    begin_operating();
    s = now_here();
    succession_follow(&s, fd, now_ms);
    assert_int_equal(status().moves, 1);
    assert_int_equal(close(fd), -1);
    admission_start(admission, 0, now_ms);
    hush();
}

static void test_a_descriptor_that_cannot_be_read_does_no_harm(void **state)
{
    const struct succession s = now_here();
    int pair[2], fd = succession_create(&err);

    (void)state;
    assert_int_equal(pipe(pair), 0);
    succession_follow(&s, pair[0], now_ms);
    close(pair[1]);
    assert_int_equal(ftruncate(fd, NOTES_MAX + 1), 0);
    succession_follow(&s, fd, now_ms);
    assert_int_equal(status().moves, 0);
    fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_equal(succession_leave(&s, fd, now_ms), -1);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SUCCEEDING(test_placements_that_could_not_be_written_are_handed_over),
        SUCCEEDING(test_nothing_that_is_wrong_is_fatal_and_the_rest_counts),
        SUCCEEDING(test_there_is_room_for_no_more_batches_than_ever),
        SUCCEEDING(test_what_is_written_and_taken_is_written_the_same),
        SUCCEEDING(test_notes_pass_as_sealed_memory),
        SUCCEEDING(test_a_descriptor_that_cannot_be_read_does_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
