/* Moves and kicks of many users, at their pace, and of those who are meant by name. */
#include "operate_world.h"

#include "control/moves.h"

/* --- moves --------------------------------------------------------------------------------- */

static void test_many_are_moved_at_their_pace(void **state)
{
    size_t n;

    (void)state;
    gather_on("o1");
    placement("own", "idle", "o1");
    works(operate_move_all(operate, backend("o1"), backend("o2"), 2, now_ms, &n, &err));
    assert_int_equal(n, CROWD + 1);
    /* The first at once, then one each half a second; one of them has no session. */
    for (size_t half = 0; half <= CROWD; half++) {
        assert_in_range(times_told("kick"), half, half + 1);
        assert_int_equal(operate_due_ms(operate) != 0, half < CROWD);
        pass(500);
    }
    assert_int_equal(times_told("kick"), CROWD);
    for (uint32_t i = 0; i < CROWD; i++)
        end(0, i + 1);
    pass(0);
    for (uint32_t i = 0; i < CROWD; i++)
        assert_int_equal(route_of(OWN, crowd[i]).placed, backend("o2"));
    assert_int_equal(route_of(OWN, "idle").placed, backend("o2"));
    assert_int_equal(status().moves, 0);
    hush();
}

static void test_who_is_gone_or_belongs_elsewhere_by_then_is_left_alone(void **state)
{
    const char *from = log_in(0, 1, SHARED, "u1");
    const char *to = other(from, NULL), *third = other(from, to);
    size_t n;

    (void)state;
    for (uint32_t i = 1; i < CROWD; i++) {
        pin(crowd[i], from);
        log_in(0, i + 1, SHARED, crowd[i]);
        works(operate_pin(operate, slice_str(crowd[i]), BACKEND_NONE, &err));
    }
    works(operate_move_all(operate, backend(from), backend(to), 1, now_ms, &n, &err));
    assert_int_equal(n, CROWD);
    assert_int_equal(status().moves, CROWD);
    /* Who was the first is not known: of the others none is left. */
    for (uint32_t i = 0; i < CROWD; i++) {
        struct slice user = slice_str(crowd[i]);

        if (route_of(SHARED, crowd[i]).is_moving)
            continue;
        if (i % 2)
            works(operate_pin(operate, user, backend(third), &err));
        else
            end(0, i + 1);
    }
    hush();
    pass(10000);
    assert_told("");
    assert_int_equal(status().moves, 1);
    fails(operate_move_all(operate, backend(from), backend(from), 1, now_ms, &n, &err), "there");
}

static void test_users_of_a_backend_that_is_gone_can_be_moved(void **state)
{
    size_t n;

    (void)state;
    placement("own", "ann", "old");
    pin("bob", "old");
    works(operate_move_all(operate, backend("old"), backend("o2"), 10, now_ms, &n, &err));
    assert_int_equal(n, 2);
    pass(1000);
    assert_int_equal(route_of(OWN, "ann").chosen, backend("o2"));
    assert_int_equal(route_of(OWN, "bob").chosen, backend("o2"));
}

static void test_one_backend_is_emptied_once_at_a_time(void **state)
{
    size_t n;

    (void)state;
    gather_on("o1");
    works(operate_move_all(operate, backend("o1"), backend("o2"), 1, now_ms, &n, &err));
    fails(operate_move_all(operate, backend("o1"), backend("o3"), 1, now_ms, &n, &err),
          "being moved already");
    works(operate_kick_all(operate, backend("o1"), 1, now_ms, &n, &err));
    fails(operate_kick_all(operate, backend("o1"), 1, now_ms, &n, &err), "being kicked already");
}

static void test_nobody_at_all_is_moved_or_kicked(void **state)
{
    size_t n = 1, k = 1;

    (void)state;
    works(operate_move_all(operate, backend("o1"), backend("o2"), 1, now_ms, &n, &err));
    works(operate_kick_all(operate, backend("o1"), 1, now_ms, &k, &err));
    assert_int_equal(n + k, 0);
    assert_int_equal(operate_due_ms(operate), 0);
}

static void test_who_is_pinned_to_another_pool_is_left_alone(void **state)
{
    const char *home = log_in(0, 1, SHARED, "ann");
    size_t n;

    (void)state;
    works(operate_pin(operate, SLICE("ann"), backend("o1"), &err));
    works(
        operate_move_all(operate, backend(home), backend(other(home, NULL)), 20, now_ms, &n, &err));
    assert_int_equal(n, 0);
    assert_told("");
}

static void test_nobody_is_moved_to_a_backend_that_went_down(void **state)
{
    size_t n;

    (void)state;
    gather_on("o1");
    works(operate_move_all(operate, backend("o1"), backend("o2"), 1, now_ms, &n, &err));
    assert_int_equal(times_told("kick"), 1);
    works(operate_backend(operate, backend("o2"), BACKEND_DOWN, &err));
    pass(10000);
    assert_int_equal(times_told("kick"), 1);
    works(operate_move_all(operate, backend("o1"), backend("o3"), 1, now_ms, &n, &err));
    hush();
}

static void test_many_wait_while_nothing_can_be_written(void **state)
{
    sqlite3 *db = lock_state();
    size_t n;

    (void)state;
    for (size_t i = 0; i < CROWD; i++)
        placement("own", crowd[i], "o1");
    works(operate_move_all(operate, backend("o1"), backend("o2"), 20, now_ms, &n, &err));
    pass(3000);
    assert_int_equal(status().moves, CROWD);
    sqlite3_close(db);
    pass(2000);
    for (size_t i = 0; i < CROWD; i++)
        assert_int_equal(route_of(OWN, crowd[i]).placed, backend("o2"));
    assert_int_equal(status().moves, 0);
}

/* --- kicks --------------------------------------------------------------------------------- */

static void test_a_user_is_kicked_in_every_pool_and_stage(void **state)
{
    (void)state;
    log_in(0, 1, SHARED, "ann");
    log_in(1, 2, OWN, "ann");
    log_in(1, 3, OWN, "bob");
    works(operate_hold(operate, SLICE("ann"), true, now_ms, &err));
    admit(0, 4, SHARED, "ann");
    hush();
    assert_int_equal(operate_kick_user(operate, SLICE("ann")), 3);
    assert_int_equal(times_told("kick"), 3);
    assert_int_equal(times_told("kick 1.3"), 0);
    hush();
    /* Once is enough. */
    assert_int_equal(operate_kick_user(operate, SLICE("ann")), 0);
    assert_int_equal(operate_kick_user(operate, SLICE("nobody")), 0);
    assert_told("");
}

static void test_one_session_is_kicked_by_its_name(void **state)
{
    (void)state;
    log_in(1, 2, OWN, "ann");
    assert_true(operate_kick_session(operate, (struct operate_key){FIRST_INSTANCE + 1, 2}));
    assert_told("kick 1.2\n");
    assert_true(operate_kick_session(operate, (struct operate_key){FIRST_INSTANCE + 1, 2}));
    assert_false(operate_kick_session(operate, (struct operate_key){FIRST_INSTANCE, 2}));
    assert_false(operate_kick_session(operate, (struct operate_key){FIRST_INSTANCE + 7, 2}));
    end(1, 2);
    assert_false(operate_kick_session(operate, (struct operate_key){FIRST_INSTANCE + 1, 2}));
    assert_told("");
}

static void test_many_are_kicked_at_their_pace(void **state)
{
    size_t n;

    (void)state;
    gather_on("o1");
    log_in(1, 1, OWN, "u1");
    works(operate_kick_all(operate, backend("o1"), 1, now_ms, &n, &err));
    assert_int_equal(n, CROWD);
    assert_in_range(times_told("kick"), 1, 2);
    assert_int_equal(status().kicks, CROWD - 1);
    pass(1000);
    assert_in_range(times_told("kick"), 2, 3);
    pass(10000);
    assert_int_equal(times_told("kick"), CROWD + 1);
    assert_int_equal(times_told("moved"), 0);
    assert_int_equal(status().kicks, 0);
    hush();
}

static void test_who_is_kicked_in_a_login_is_not_charged_for_it(void **state)
{
    struct penalty_record r;
    struct slice ann = SLICE("ann");

    (void)state;
    client = "192.0.2.77";
    admit(0, 1, SHARED, "ann");
    assert_int_equal(operate_kick_user(operate, ann), 1);
    end(0, 1);
    operate_penalties(operate, &ann, NULL, now_ms, &r);
    assert_int_equal(r.user, 0);
    admit(0, 2, SHARED, "ann");
    end(0, 2);
    operate_penalties(operate, &ann, NULL, now_ms, &r);
    assert_int_equal(r.user, 1);
    hush();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OPERATING(test_many_are_moved_at_their_pace),
        OPERATING(test_who_is_gone_or_belongs_elsewhere_by_then_is_left_alone),
        OPERATING(test_users_of_a_backend_that_is_gone_can_be_moved),
        OPERATING(test_one_backend_is_emptied_once_at_a_time),
        OPERATING(test_nobody_at_all_is_moved_or_kicked),
        OPERATING(test_who_is_pinned_to_another_pool_is_left_alone),
        OPERATING(test_nobody_is_moved_to_a_backend_that_went_down),
        OPERATING(test_many_wait_while_nothing_can_be_written),
        OPERATING(test_a_user_is_kicked_in_every_pool_and_stage),
        OPERATING(test_one_session_is_kicked_by_its_name),
        OPERATING(test_many_are_kicked_at_their_pace),
        OPERATING(test_who_is_kicked_in_a_login_is_not_charged_for_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
