/* A worker whose generation is over: whom it still takes, how its sessions go on, when it ends. */
#include "worker_retire.h"

#include "worker/accept.h"

#include <poll.h>

static void assert_refused(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, &world.listener.sa, addr_len(&world.listener)), -1);
    assert_int_equal(errno, ECONNREFUSED);
    close(fd);
}

/* --- the end ---------------------------------------------------------------------------------- */

static void test_without_sessions_it_ends(void **state)
{
    (void)state;
    begin_anew("");
    retires(0);
    assert_logged("sessions=0");
    assert_stops();
    assert_refused();
    done();
}

static void test_it_ends_with_its_last_session(void **state)
{
    static struct peer second;

    (void)state;
    begin_anew("");
    logs_in(&client, &backend);
    is_greeted(&second);
    retires(0);
    assert_logged("sessions=2");
    assert_relays(&client, &backend);
    peer_close(&client);
    assert_string_equal(hears_end(&backend), "");
    peer_close(&backend);
    settle();
    assert_int_equal(stopped, 0);
    peer_close(&second);
    assert_stops();
    done();
}

static void test_one_that_was_never_told_to_begin_leaves_who_waits_to_others(void **state)
{
    struct err err;
    int shared, fd;

    (void)state;
    stopped = 0;
    prepare("", "", "");
    assert_int_equal(worker_role.on_start(&world.child, &err), 0);
    shared = fcntl(world.listener_fd, F_DUPFD_CLOEXEC, 0);
    connects_with(&client, 0);
    say_retire(0);
    assert_int_equal(stopped, 1);
    assert_true(has_retired(NULL));
    fd = listen_accept(shared, &(struct addr){0}, NULL);
    assert_true(fd >= 0);
    close(fd);
    close(shared);
    done();
}

static void test_one_that_was_given_nothing_ends(void **state)
{
    (void)state;
    stopped = 0;
    prepare("", "", "");
    say_retire(0);
    assert_int_equal(stopped, 1);
    done();
}

static void test_a_socket_that_comes_late_is_closed(void **state)
{
    const struct msg_listener listener = {0};
    struct msg m = {.type = MSG_LISTENER, .body = &listener};

    (void)state;
    begin_anew("");
    logs_in(&client, &backend);
    retires(0);
    m.fd = memfd_create("late", MFD_CLOEXEC);
    worker_role.on_message(&world.child, &m);
    assert_int_equal(fcntl(m.fd, F_GETFD), -1);
    assert_true(has_retired(NULL));
    done();
}

/* --- who waits -------------------------------------------------------------------------------- */

static void crowd_connects(void)
{
    for (int i = 0; i < CROWD; i++)
        connects_with(&crowd[i], 0);
}

static void test_all_who_wait_in_the_queue_are_served(void **state)
{
    (void)state;
    begin_anew("");
    crowd_connects();
    retires(0);
    assert_logged("sessions=300");
    for (int i = 0; i < CROWD; i++) {
        say_go(control_hears(MSG_OPEN).id);
        hears(&crowd[i], "* OK ");
    }
    assert_refused();
    crowd_out();
    assert_stops();
    done();
}

/* A flood does not keep it: who comes behind so many is left to those who share the socket. */
static void test_of_a_flood_only_a_part_is_taken(void **state)
{
    int shared, fd;

    (void)state;
    begin_anew("");
    shared = fcntl(world.listener_fd, F_DUPFD_CLOEXEC, 0);
    the_worker()->accepted_rest = ACCEPT_REST_MAX - CROWD / 2;
    crowd_connects();
    retires(0);
    assert_in_range(the_worker()->by_id.used, CROWD / 2, CROWD - 1);
    for (size_t i = the_worker()->by_id.used; i < CROWD; i++) {
        fd = listen_accept(shared, &(struct addr){0}, NULL);
        assert_true(fd >= 0);
        close(fd);
    }
    close(shared);
    crowd_out();
    done();
}

static int pending(int fd)
{
    struct pollfd pfd = {.fd = fd, .events = POLLIN};

    return poll(&pfd, 1, 0);
}

/* The kernel goes on telling this process of a socket that it has closed, as others have it too;
 * the loop gets over that. */
static void test_a_socket_that_others_have_too_is_left_to_them(void **state)
{
    struct peer others = {.fd = -1};
    int shared;

    (void)state;
    begin_anew("");
    logs_in(&client, &backend);
    shared = fcntl(world.listener_fd, F_DUPFD_CLOEXEC, 0);
    retires(0);
    connects_with(&others, 0);
    turn_for(200);
    assert_int_equal(pending(shared), 1);
    assert_int_equal(the_worker()->by_id.used, 1);
    assert_relays(&client, &backend);
    peer_close(&others);
    close(shared);
    done();
}

static void test_who_waits_while_there_is_no_room_is_taken_later(void **state)
{
    uint32_t id;

    (void)state;
    begin_anew("");
    connects_with(&client, 0);
    accept_error = ENFILE;
    retires(0);
    assert_logged("accept_failed");
    id = control_hears(MSG_OPEN).id;
    say_go(id);
    hears(&client, "* OK ");
    assert_int_equal(stopped, 0);
    done();
}

static void test_who_waits_is_served_though_the_last_session_ends_meanwhile(void **state)
{
    static struct peer last;
    uint32_t id;

    (void)state;
    begin_anew("");
    is_greeted(&last);
    connects_with(&client, 0);
    peer_reset(&last);
    retires(0);
    id = control_hears(MSG_OPEN).id;
    control_hears(MSG_END);
    say_go(id);
    hears(&client, "* OK ");
    assert_int_equal(stopped, 0);
    peer_close(&client);
    assert_stops();
    done();
}

static void test_a_connection_that_has_died_in_the_queue_hides_nobody(void **state)
{
    (void)state;
    begin_anew("");
    connects_with(&client, 0);
    accept_error = ECONNABORTED;
    retires(0);
    control_hears(MSG_OPEN);
    done();
}

/* --- sessions go on --------------------------------------------------------------------------- */

static void lets_in(uint32_t id, struct peer *its_client, struct peer *its_backend)
{
    backend_says_ok(its_backend);
    assert_result(id, RESULT_OK);
    say_done(id);
    hears(its_client, "a OK ");
    assert_relays(its_client, its_backend);
}

static void test_sessions_of_every_state_go_on_under_the_next_control(void **state)
{
    static struct peer in_open, in_auth, in_admit, in_upstream, its_backend, in_closing;
    uint32_t ids[4], relaying, id;

    (void)state;
    begin_anew("close_timeout = 1m stop_timeout = 10m");
    relaying = logs_in(&client, &backend);
    ids[0] = opens(&in_open);
    ids[1] = is_greeted(&in_auth);
    ids[2] = asks_to_log_in(&in_admit);
    ids[3] = reaches_backend(&in_upstream, &its_backend);
    id = is_greeted(&in_closing);
    says(&in_closing, "a LOGOUT\r\n");
    assert_ended(id, CLOSE_CLIENT_LOGOUT);
    retires(0);
    assert_logged("sessions=6");
    lose_control();
    new_control();
    assert_replayed(relaying, REPLAY_RELAY);
    control_hears_of(ids[0], MSG_OPEN);
    assert_replayed(ids[1], REPLAY_OPEN);
    assert_replayed(ids[2], REPLAY_OPEN);
    control_hears_of(ids[2], MSG_ADMIT);
    assert_replayed(ids[3], REPLAY_LEASED);
    control_hears(MSG_REPLAYED);
    assert_relays(&client, &backend);
    lets_in(ids[3], &in_upstream, &its_backend);
    peer_close(&in_upstream);
    assert_string_equal(hears_end(&its_backend), "");
    peer_close(&its_backend);
    assert_ended(ids[3], CLOSE_CLIENT_CLOSED);
    say_lease(ids[2]);
    backend_accepts(&its_backend);
    lets_in(ids[2], &in_admit, &its_backend);
    peer_close(&its_backend);
    assert_ended(ids[2], CLOSE_BACKEND_CLOSED);
    says(&in_auth, "a LOGIN ann secret\r\n");
    control_hears_of(ids[1], MSG_ADMIT);
    say_lease(ids[1]);
    backend_accepts(&its_backend);
    lets_in(ids[1], &in_auth, &its_backend);
    say_go(ids[0]);
    hears(&in_open, "* OK ");
    peer_close(&in_open);
    peer_close(&in_auth);
    peer_close(&in_admit);
    peer_close(&in_closing);
    peer_close(&its_backend);
    settle();
    assert_int_equal(stopped, 0);
    peer_close(&client);
    peer_close(&backend);
    assert_stops();
    done();
}

static void test_a_header_of_a_proxy_may_still_come(void **state)
{
    uint32_t id;

    (void)state;
    stopped = 0;
    begin("trusted_networks = { \"127.0.0.0/8\" }", "proxy = yes", "");
    connects_with(&client, 0);
    retires(0);
    settle();
    says(&client, "PROXY TCP4 192.0.2.1 192.0.2.2 1 143\r\n");
    id = control_hears(MSG_OPEN).id;
    say_go(id);
    hears(&client, "* OK ");
    done();
}

static void test_a_second_retirement_changes_nothing(void **state)
{
    (void)state;
    begin_anew("");
    logs_in(&client, &backend);
    retires(0);
    say_retire(1);
    turn_for(300);
    assert_relays(&client, &backend);
    assert_ptr_equal(strstr(strstr(log_text(), "worker_retired") + 1, "worker_retired"), NULL);
    done();
}

/* --- probes ----------------------------------------------------------------------------------- */

static void test_probes_under_way_are_given_up_and_none_begins(void **state)
{
    (void)state;
    stopped = 0;
    begin_pool("", "", "check = greeting", "");
    logs_in(&client, &backend);
    order_probe(5);
    turn_once();
    assert_int_equal(the_worker()->probes_n, 1);
    retires(0);
    assert_int_equal(the_worker()->probes_n, 0);
    assert_bad(5, FAULT_OURS, "connect: given up, as this worker is of an earlier generation");
    order_probe(6);
    assert_bad(6, FAULT_OURS, "connect: this worker is of an earlier generation");
    assert_int_equal(the_worker()->probes_n, 0);
    done();
}

/* --- stop ------------------------------------------------------------------------------------- */

static void test_a_stop_ends_sessions_as_ever(void **state)
{
    uint32_t id;

    (void)state;
    begin_anew("");
    id = logs_in(&client, &backend);
    retires(5000);
    worker_role.on_stop(&world.child);
    assert_ended(id, CLOSE_STOPPING);
    hears(&client, "* BYE [UNAVAILABLE] Shutting down");
    peer_close(&client);
    assert_stops();
    done();
}

static void test_a_stop_right_behind_it_ends_all(void **state)
{
    (void)state;
    begin_anew("");
    connects_with(&client, 0);
    say_retire(1);
    assert_int_equal(stopped, 0);
    worker_role.on_stop(&world.child);
    assert_stops();
    turn_for(200);
    done();
}

static void test_a_worker_that_stops_is_not_retired(void **state)
{
    (void)state;
    begin_anew("");
    worker_role.on_stop(&world.child);
    say_retire(1);
    turn_for(200);
    assert_int_equal(stopped, 1);
    assert_not_logged("worker_retired");
    done();
}

#define T(test) cmocka_unit_test(test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_without_sessions_it_ends),
        T(test_it_ends_with_its_last_session),
        T(test_one_that_was_never_told_to_begin_leaves_who_waits_to_others),
        T(test_one_that_was_given_nothing_ends),
        T(test_a_socket_that_comes_late_is_closed),
        T(test_all_who_wait_in_the_queue_are_served),
        T(test_of_a_flood_only_a_part_is_taken),
        T(test_a_socket_that_others_have_too_is_left_to_them),
        T(test_who_waits_while_there_is_no_room_is_taken_later),
        T(test_who_waits_is_served_though_the_last_session_ends_meanwhile),
        T(test_a_connection_that_has_died_in_the_queue_hides_nobody),
        T(test_sessions_of_every_state_go_on_under_the_next_control),
        T(test_a_header_of_a_proxy_may_still_come),
        T(test_a_second_retirement_changes_nothing),
        T(test_probes_under_way_are_given_up_and_none_begins),
        T(test_a_stop_ends_sessions_as_ever),
        T(test_a_stop_right_behind_it_ends_all),
        T(test_a_worker_that_stops_is_not_retired),
    };

    client.fd = backend.fd = -1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
