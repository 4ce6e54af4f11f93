/* A retired worker whose sessions have gone on for worker_shutdown_timeout: how they are ended. */
#include "worker_retire.h"

static const char bye[] = "* BYE " SESSION_RETIRED "\r\n";

static void test_behind_the_limit_sessions_of_every_state_are_told_bye(void **state)
{
    static struct peer in_open, in_auth, in_admit, in_upstream, its_backend;
    uint32_t ids[5];

    (void)state;
    begin_anew("kick_grace = 5m");
    ids[0] = logs_in(&client, &backend);
    ids[1] = opens(&in_open);
    ids[2] = is_greeted(&in_auth);
    hears(&in_auth, "\r\n");
    ids[3] = asks_to_log_in(&in_admit);
    hears(&in_admit, "\r\n");
    ids[4] = reaches_backend(&in_upstream, &its_backend);
    hears(&in_upstream, "\r\n");
    retires(300);
    assert_relays(&client, &backend);
    for (int i = 0; i < 5; i++)
        assert_ended(ids[i], CLOSE_RETIRED);
    assert_string_equal(hears_end(&client), bye);
    assert_string_equal(hears_end(&in_open), "");
    assert_string_equal(hears_end(&in_auth), bye);
    assert_string_equal(hears_end(&in_admit), bye);
    assert_string_equal(hears_end(&in_upstream), bye);
    hears_end(&its_backend);
    peer_close(&in_open);
    peer_close(&in_auth);
    peer_close(&in_admit);
    peer_close(&in_upstream);
    peer_close(&its_backend);
    peer_close(&client);
    assert_stops();
    done();
}

static void test_a_response_under_way_is_waited_for(void **state)
{
    static struct peer endless, its_backend;
    uint32_t ids[2];

    (void)state;
    begin_anew("kick_grace = 500ms");
    ids[0] = logs_in(&client, &backend);
    says(&backend, "* 1 FETCH (BODY[] {10}\r\n01234");
    hears(&client, "01234");
    ids[1] = logs_in(&endless, &its_backend);
    says(&its_backend, "* 1 FETCH (BODY[] {10}\r\n01234");
    hears(&endless, "01234");
    retires(1);
    turn_for(200);
    says(&backend, "56789)\r\n");
    assert_ended(ids[0], CLOSE_RETIRED);
    hears(&client, "56789)\r\n");
    assert_string_equal(hears_end(&client), bye);
    assert_ended(ids[1], CLOSE_RETIRED);
    assert_string_equal(hears_end(&endless), "");
    peer_close(&endless);
    peer_close(&its_backend);
    done();
}

static void test_who_was_told_to_end_before_ends_for_that(void **state)
{
    const struct msg_kick m = {.why = KICK_MOVED};
    uint32_t id;

    (void)state;
    begin_anew("kick_grace = 5m");
    id = logs_in(&client, &backend);
    says(&backend, "* 1 FETCH (BODY[] {10}\r\n01234");
    hears(&client, "01234");
    send_msg(&world.control, MSG_KICK, id, &m, SLICE(""), -1);
    retires(1);
    turn_for(200);
    says(&backend, "56789)\r\n");
    assert_ended(id, CLOSE_MOVED);
    done();
}

static void test_who_comes_out_of_the_queue_behind_the_limit_is_told_too(void **state)
{
    (void)state;
    begin_anew("");
    connects_with(&client, 0);
    accept_error = ENFILE; /* at first there is no room */
    retires(1);
    assert_ended(control_hears(MSG_OPEN).id, CLOSE_RETIRED);
    assert_stops();
    done();
}

static void test_without_a_limit_nobody_is_told_to_end(void **state)
{
    (void)state;
    begin_anew("");
    logs_in(&client, &backend);
    retires(0);
    turn_for(300);
    assert_relays(&client, &backend);
    done();
}

static void crowd_in(void)
{
    for (int i = 0; i < CROWD; i++)
        is_greeted(&crowd[i]);
}

static struct {
    unsigned n; /* turns in which sessions were ended */
    unsigned ended[CROWD];
    uint64_t at_ms[CROWD];
    unsigned all;
} ends;

static bool are_all_ended(void *arg)
{
    struct msg m;
    unsigned n = 0;

    (void)arg;
    while (next_msg(&world.control, &m)) {
        assert_int_equal(m.type, MSG_END);
        assert_int_equal(((const struct msg_end *)m.body)->reason, CLOSE_RETIRED);
        n++;
    }
    if (n > 0) {
        ends.at_ms[ends.n] = loop_now_ms(world.child.loop);
        ends.ended[ends.n++] = n;
        ends.all += n;
    }
    return ends.all == CROWD;
}

static void assert_ended_by(unsigned share)
{
    memset(&ends, 0, sizeof ends);
    say_retire(1);
    assert_true(turns_until(are_all_ended, NULL));
    assert_int_equal(ends.n, CROWD / share);
    for (unsigned i = 0; i < ends.n; i++) {
        assert_int_equal(ends.ended[i], share);
        if (i > 0)
            assert_in_range(ends.at_ms[i] - ends.at_ms[i - 1], 100, 1000);
    }
}

static void test_behind_the_limit_some_are_ended_at_a_time(void **state)
{
    (void)state;
    begin_anew("");
    crowd_in();
    assert_ended_by(50);
    crowd_out();
    assert_stops();
    done();
}

/* Of very many each time a fiftieth part: the worker believes that there are more than there are.
 */
static void test_of_very_many_more_are_ended_at_a_time(void **state)
{
    enum { ALL = 50 * 100 };
    static struct session others[ALL - CROWD];
    struct map *by_id;

    (void)state;
    begin_anew("");
    by_id = &the_worker()->by_id;
    crowd_in();
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_int_equal(map_insert(by_id, &others[i].by_id, (uint32_t)i), 0);
    assert_ended_by(100);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        map_remove(by_id, &others[i].by_id);
    crowd_out();
    done();
}

#define T(test) cmocka_unit_test(test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_behind_the_limit_sessions_of_every_state_are_told_bye),
        T(test_a_response_under_way_is_waited_for),
        T(test_who_was_told_to_end_before_ends_for_that),
        T(test_who_comes_out_of_the_queue_behind_the_limit_is_told_too),
        T(test_without_a_limit_nobody_is_told_to_end),
        T(test_behind_the_limit_some_are_ended_at_a_time),
        T(test_of_very_many_more_are_ended_at_a_time),
    };

    client.fd = backend.fd = -1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
