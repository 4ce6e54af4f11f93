/* The worker as a whole, towards its parent and control: what a new control is told, whose words
 * count, what is done when descriptors or memory are out, start and stop. */
#include "worker_world.h"

#include <netinet/tcp.h>
#include <sys/resource.h>

static struct peer client, backend;

/* --- accept(), which may fail as told --------------------------------------------------------- */

static int accept_error; /* 0: it does not */

int __real_listen_accept(int fd, struct addr *out_peer, struct addr *out_local);
int __wrap_listen_accept(int fd, struct addr *out_peer, struct addr *out_local);

int __wrap_listen_accept(int fd, struct addr *out_peer, struct addr *out_local)
{
    if (!accept_error || fd == world.backend_fd)
        return __real_listen_accept(fd, out_peer, out_local);
    errno = accept_error;
    accept_error = 0;
    return -1;
}

static void test_errors_of_the_network_at_accept_are_passed_over(void **state)
{
    static const int passing[] = {EAGAIN,     EINTR,       ECONNABORTED, ENETDOWN,
                                  EPROTO,     ENONET,      ENOPROTOOPT,  EHOSTDOWN,
                                  EOPNOTSUPP, ENETUNREACH, EHOSTUNREACH};
    struct peer peers[sizeof passing / sizeof *passing];

    (void)state;
    begin_usual();
    for (size_t i = 0; i < sizeof passing / sizeof *passing; i++) {
        accept_error = passing[i];
        opens(&peers[i]);
        assert_int_equal(accept_error, 0);
    }
    assert_not_logged("accept_failed");
    for (size_t i = 0; i < sizeof passing / sizeof *passing; i++)
        peer_close(&peers[i]);
    finish();
}

static void test_want_of_memory_in_the_kernel_pauses_accepting_for_a_moment(void **state)
{
    (void)state;
    begin_usual();
    accept_error = ENOBUFS;
    opens(&client);
    assert_logged("accept_failed listener=l");
    assert_logged("the kernel has no memory for another connection");
    assert_logged("shed=0");
    peer_close(&client);
    finish();
}

static void test_who_has_waited_longest_without_a_login_makes_room(void **state)
{
    static struct peer in_relay, its_backend, in_open, in_auth, in_admit, in_closing;
    uint32_t ids[4], ended;

    (void)state;
    begin_usual();
    ids[0] = logs_in(&in_relay, &its_backend);
    ids[1] = opens(&in_open);
    ids[2] = is_greeted(&in_auth);
    ids[3] = asks_to_log_in(&in_admit);
    ended = is_greeted(&in_closing);
    says(&in_closing, "a LOGOUT\r\n");
    assert_ended(ended, CLOSE_CLIENT_LOGOUT); /* not to be told of again */
    accept_error = ENFILE;
    connects_with(&client, 0);
    for (int i = 1; i < 4; i++)
        assert_ended(ids[i], CLOSE_LIMIT);
    control_hears(MSG_OPEN);
    assert_string_equal(hears_end(&in_open), "* BYE " SESSION_NO_ROOM "\r\n");
    hears(&in_auth, "* BYE " SESSION_NO_ROOM "\r\n");
    assert_string_equal(hears_end(&in_auth), "");
    hears(&in_admit, "* BYE " SESSION_NO_ROOM "\r\n");
    assert_logged("the whole machine is out of files");
    hears(&in_closing, "a OK Logged out\r\n");
    assert_string_equal(hears_end(&in_closing), "");
    assert_logged("shed=4");
    assert_relays(&in_relay, &its_backend);
    peer_close(&in_open);
    peer_close(&in_auth);
    peer_close(&in_admit);
    peer_close(&in_closing);
    peer_close(&in_relay);
    peer_close(&its_backend);
    peer_close(&client);
    finish();
}

/* --- a new control ---------------------------------------------------------------------------- */

/* A backend that the kernel does not answer for: the queue of its socket is full. */
struct silence {
    struct addr addr;
    int fds[4];
};

static struct silence be_silent(void)
{
    struct silence s;
    socklen_t len = sizeof s.addr;

    assert_true(addr_parse_ip(SLICE("127.0.0.1"), 0, &s.addr));
    s.fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s.fds[0], &s.addr.sa, addr_len(&s.addr)), 0);
    assert_int_equal(getsockname(s.fds[0], &s.addr.sa, &len), 0);
    assert_int_equal(listen(s.fds[0], 0), 0);
    for (int i = 1; i < 4; i++) {
        s.fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(s.fds[i], &s.addr.sa, addr_len(&s.addr));
    }
    return s;
}

static void silence_end(struct silence *s)
{
    for (int i = 0; i < 4; i++)
        close(s->fds[i]);
}

/* Control is gone and comes again. */
static void replace_control(void)
{
    lose_control();
    new_control();
}

static void test_a_new_control_is_asked_again_about_a_connection(void **state)
{
    uint32_t id;

    (void)state;
    begin_usual();
    id = opens(&client);
    replace_control();
    control_hears_of(id, MSG_OPEN);
    control_hears(MSG_REPLAYED);
    say_go(id);
    hears(&client, "* OK ");
    peer_close(&client);
    finish();
}

static void test_a_new_control_is_told_of_a_client_that_has_not_logged_in(void **state)
{
    uint32_t id;

    (void)state;
    begin_usual();
    id = is_greeted(&client);
    replace_control();
    assert_replayed(id, REPLAY_OPEN);
    control_hears(MSG_REPLAYED);
    peer_close(&client);
    assert_ended(id, CLOSE_CLIENT_CLOSED);
    finish();
}

static void test_a_new_control_is_asked_again_for_a_backend(void **state)
{
    struct msg m;
    uint32_t id;

    (void)state;
    begin_usual();
    id = asks_to_log_in(&client);
    replace_control();
    assert_replayed(id, REPLAY_OPEN);
    m = control_hears_of(id, MSG_ADMIT);
    assert_true(slice_eq(m.tail, SLICE("ann")));
    control_hears(MSG_REPLAYED);
    say_refuse(id, REFUSE_UNAVAILABLE);
    hears(&client, "a NO [UNAVAILABLE]");
    peer_close(&client);
    finish();
}

static void test_a_new_control_is_told_of_an_attempt_under_way(void **state)
{
    struct silence silence;
    uint32_t id;

    (void)state;
    begin_usual();
    silence = be_silent();
    id = asks_to_log_in(&client);
    say_lease_at(id, &silence.addr);
    settle();
    replace_control();
    assert_replayed(id, REPLAY_LEASED);
    control_hears(MSG_REPLAYED);
    peer_reset(&client);
    assert_ended(id, CLOSE_CLIENT_RESET);
    silence_end(&silence);
    finish();
}

static void test_a_new_control_hears_of_the_backends_answer(void **state)
{
    uint32_t id;

    (void)state;
    begin_usual();
    id = reaches_backend(&client, &backend);
    replace_control();
    assert_replayed(id, REPLAY_LEASED);
    control_hears(MSG_REPLAYED);
    backend_says_ok(&backend);
    assert_result(id, RESULT_OK);
    replace_control();
    assert_replayed(id, REPLAY_LEASED);
    assert_result(id, RESULT_OK);
    control_hears(MSG_REPLAYED);
    say_done(id);
    hears(&client, "a OK ");
    assert_relays(&client, &backend);
    replace_control();
    assert_replayed(id, REPLAY_RELAY);
    control_hears(MSG_REPLAYED);
    peer_close(&client);
    peer_close(&backend);
    assert_ended(id, CLOSE_CLIENT_CLOSED);
    finish();
}

static void test_control_is_asked_for_as_long_as_there_is_none(void **state)
{
    uint32_t id;

    (void)state;
    begin_usual();
    id = asks_to_log_in(&client);
    lose_control();
    hears_at(&world.parent, MSG_REJOIN);
    says(&client, "b NOOP\r\n"); /* waits, like the login before it */
    hears_at(&world.parent, MSG_REJOIN);
    new_control();
    assert_replayed(id, REPLAY_OPEN);
    control_hears_of(id, MSG_ADMIT);
    control_hears(MSG_REPLAYED);
    say_refuse(id, REFUSE_INUSE);
    hears(&client, "a NO [INUSE]");
    hears(&client, "b OK ");
    peer_close(&client);
    finish();
}

static void test_what_begins_without_a_control_is_told_to_the_next(void **state)
{
    static struct peer second, its_backend;
    uint32_t asked, answered;

    (void)state;
    begin_usual();
    answered = reaches_backend(&second, &its_backend);
    asked = is_greeted(&client);
    lose_control();
    settle();
    says(&client, "a LOGIN ann secret\r\n");
    says(&its_backend, "* BYE Not now\r\n");
    assert_string_equal(hears_end(&its_backend), "");
    new_control();
    assert_replayed(answered, REPLAY_OPEN);
    control_hears_of(answered, MSG_ADMIT);
    assert_replayed(asked, REPLAY_OPEN);
    control_hears_of(asked, MSG_ADMIT);
    control_hears(MSG_REPLAYED);
    peer_close(&second);
    peer_close(&its_backend);
    peer_close(&client);
    finish();
}

static void test_only_the_newest_control_counts(void **state)
{
    struct end old;
    struct msg m;
    uint32_t id;

    (void)state;
    begin_usual();
    /* The number by which sessions know the channel begins anew then, and never is that of none. */
    the_worker()->control_channel = UINT32_MAX - 1;
    replace_control();
    control_hears(MSG_REPLAYED);
    id = opens(&client);
    old = world.control;
    new_control();
    send_msg(&world.control, MSG_GO, id + 1, NULL, SLICE(""), -1);
    control_hears_of(id, MSG_OPEN);
    control_hears(MSG_REPLAYED);
    assert_false(next_msg(&old, &m));
    assert_true(old.is_closed);
    close(old.fd);
    say_go(id);
    hears(&client, "* OK ");
    peer_close(&client);
    finish();
}

static void test_words_that_do_not_fit_the_state_are_dropped(void **state)
{
    uint32_t id;

    (void)state;
    begin_usual();
    id = opens(&client);
    say_lease(id);
    say_done(id);
    say_go(id);
    hears(&client, "* OK ");
    say_go(id);
    say_lease(id);
    say_done(id);
    say_refuse(id, REFUSE_MAX_USER);
    send_msg(&world.control, MSG_REPLAYED, id, NULL, SLICE(""), -1);
    says(&client, "b NOOP\r\n");
    hears(&client, "b OK Nothing done\r\n");
    says(&client, "a LOGIN ann secret\r\n");
    control_hears_of(id, MSG_ADMIT);
    say_done(id);
    say_lease(id);
    backend_accepts(&backend);
    say_lease(id);
    say_done(id);
    say_refuse(id, REFUSE_MAX_USER);
    backend_says_ok(&backend);
    assert_result(id, RESULT_OK);
    say_done(id);
    hears(&client, "a OK ");
    say_refuse(id, REFUSE_PENALTY);
    assert_relays(&client, &backend);
    peer_close(&client);
    peer_close(&backend);
    finish();
}

/* --- very many sessions ----------------------------------------------------------------------- */

enum { CROWD = 350, NAME = 500 };

static struct peer crowd[CROWD];

/* Each waits for a backend, under a name so long that all of them are more than a channel takes at
 * once. Ids are 1 to CROWD. */
static void crowd_in(void)
{
    char login[NAME + 32], name[NAME + 1];

    memset(name, 'x', NAME);
    name[NAME] = '\0';
    snprintf(login, sizeof login, "a LOGIN %s secret\r\n", name);
    for (int i = 0; i < CROWD; i++) {
        assert_int_equal(is_greeted(&crowd[i]), i + 1);
        says(&crowd[i], login);
        control_hears_of((uint32_t)i + 1, MSG_ADMIT);
    }
}

static void crowd_out(void)
{
    for (int i = 0; i < CROWD; i++)
        peer_close(&crowd[i]);
}

/* A control that is slow to read. */
static void narrow_control(void)
{
    lose_control();
    new_control_with(2 * IPC_PACKET_MAX);
    settle();
}

static void test_a_crowd_is_told_at_the_pace_of_control(void **state)
{
    (void)state;
    begin_usual();
    crowd_in();
    narrow_control();
    assert_false(the_worker()->replay_next == &the_worker()->sessions);
    say_refuse(CROWD, REFUSE_INUSE); /* of whom it has not been told yet: meant for another */
    settle();
    for (uint32_t id = 1; id <= CROWD; id++) {
        assert_replayed(id, REPLAY_OPEN);
        control_hears_of(id, MSG_ADMIT);
    }
    control_hears(MSG_REPLAYED);
    say_refuse(CROWD, REFUSE_UNAVAILABLE);
    hears(&crowd[CROWD - 1], "a NO [UNAVAILABLE]");
    crowd_out();
    finish();
}

static void test_sessions_that_end_before_their_turn_are_not_told_of(void **state)
{
    bool is_told[CROWD + 1] = {false};
    uint32_t next, told = 0;

    (void)state;
    begin_usual();
    crowd_in();
    narrow_control();
    next = CONTAINER(the_worker()->replay_next, struct session, all)->id;
    assert_in_range(next, 2, CROWD - 1);
    /* The last that was told of, the one whose turn it is, and the one behind it. */
    for (uint32_t id = next - 1; id <= next + 1; id++)
        peer_reset(&crowd[id - 1]);
    settle();
    for (;;) {
        struct awaited a = {.end = &world.control};

        assert_true(turns_until(has_msg, &a));
        if (a.msg.type == MSG_REPLAYED)
            break;
        if (a.msg.type == MSG_END)
            assert_int_equal(a.msg.id, next - 1);
        else if (a.msg.type == MSG_REPLAY)
            told++;
        if (a.msg.type == MSG_REPLAY)
            is_told[a.msg.id] = true;
    }
    assert_int_equal(told, CROWD - 2);
    assert_true(is_told[next - 1] && is_told[next + 2] && is_told[CROWD]);
    assert_false(is_told[next] || is_told[next + 1]);
    crowd_out();
    finish();
}

/* --- pumping again ---------------------------------------------------------------------------- */

static void test_of_sessions_to_go_on_with_only_those_that_relay_are(void **state)
{
    static struct peer early;
    struct session *relaying, *waiting;
    uint32_t id;

    (void)state;
    begin_usual();
    id = logs_in(&client, &backend);
    is_greeted(&early);
    relaying = CONTAINER(the_worker()->sessions.next, struct session, all);
    waiting = CONTAINER(the_worker()->sessions.prev, struct session, all);
    relaying->is_pumped_again = waiting->is_pumped_again = true;
    for (uint32_t gone = 1000; gone < 1100; gone++)
        worker_pump_again(the_worker(), gone);
    worker_pump_again(the_worker(), waiting->id);
    worker_pump_again(the_worker(), id);
    settle();
    assert_false(relaying->is_pumped_again || waiting->is_pumped_again);
    assert_int_equal(waiting->state, SESSION_AUTH);
    assert_relays(&client, &backend);
    says(&early, "b NOOP\r\n");
    hears(&early, "b OK ");
    peer_close(&client);
    peer_close(&backend);
    peer_close(&early);
    finish();
}

static void test_ids_begin_anew_without_ever_being_none(void **state)
{
    (void)state;
    begin_usual();
    the_worker()->last_id = UINT32_MAX;
    assert_int_equal(opens(&client), 1);
    peer_close(&client);
    finish();
}

/* --- start and stop --------------------------------------------------------------------------- */

static void test_a_stop_says_goodbye_to_all(void **state)
{
    static struct peer in_open, in_auth, in_upstream, its_backend;
    uint32_t ids[4];

    (void)state;
    begin_usual();
    ids[0] = logs_in(&client, &backend);
    ids[1] = opens(&in_open);
    ids[2] = is_greeted(&in_auth);
    ids[3] = reaches_backend(&in_upstream, &its_backend);
    worker_role.on_stop(&world.child);
    for (int i = 0; i < 4; i++)
        assert_ended(ids[i], CLOSE_STOPPING);
    hears(&client, "* BYE [UNAVAILABLE] Shutting down; please come again\r\n");
    assert_string_equal(hears_end(&in_open), "");
    hears(&in_auth, "* BYE Usher is shutting down.\r\n");
    hears(&in_upstream, "* BYE Usher is shutting down.\r\n");
    assert_string_equal(hears_end(&its_backend), "");
    assert_string_equal(hears_end(&backend), "");
    peer_close(&client);
    peer_close(&backend);
    peer_close(&in_open);
    peer_close(&in_auth);
    peer_close(&in_upstream);
    peer_close(&its_backend);
    finish();
}

static void test_a_second_stop_of_a_session_that_ends_changes_nothing(void **state)
{
    uint32_t id;

    (void)state;
    begin("stop_timeout = 10m\nclose_timeout = 1m", "", "");
    id = is_greeted(&client);
    says(&client, "a LOGOUT\r\n");
    assert_ended(id, CLOSE_CLIENT_LOGOUT);
    worker_role.on_stop(&world.child);
    hears(&client, "* BYE ");
    hears(&client, "a OK Logged out\r\n");
    assert_string_equal(hears_end(&client), "");
    assert_not_logged("reason=stopping");
    peer_close(&client);
    finish();
}

/* The worker's role has no use for it: it must not be kept open all the same. */
static void test_a_descriptor_that_nobody_wants_is_closed(void **state)
{
    struct msg m = {.type = MSG_SHARED};

    (void)state;
    begin_usual();
    m.fd = memfd_create("nobody's", MFD_CLOEXEC);
    worker_role.on_message(&world.child, &m);
    assert_int_equal(fcntl(m.fd, F_GETFD), -1);
    m = (struct msg){.type = MSG_READY, .fd = -1};
    worker_role.on_message(&world.child, &m);
    finish();
}

static void test_a_worker_without_descriptors_does_not_begin(void **state)
{
    struct rlimit old, none;
    struct err err = {0};
    int done;

    (void)state;
    prepare("", "", "");
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = old;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    done = worker_role.on_start(&world.child, &err);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(done, -1);
    assert_non_null(strstr(err.text, "cannot make an eventfd"));
    finish();
}

#define T(test) cmocka_unit_test(test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_errors_of_the_network_at_accept_are_passed_over),
        T(test_want_of_memory_in_the_kernel_pauses_accepting_for_a_moment),
        T(test_who_has_waited_longest_without_a_login_makes_room),
        T(test_a_new_control_is_asked_again_about_a_connection),
        T(test_a_new_control_is_told_of_a_client_that_has_not_logged_in),
        T(test_a_new_control_is_asked_again_for_a_backend),
        T(test_a_new_control_is_told_of_an_attempt_under_way),
        T(test_a_new_control_hears_of_the_backends_answer),
        T(test_control_is_asked_for_as_long_as_there_is_none),
        T(test_what_begins_without_a_control_is_told_to_the_next),
        T(test_only_the_newest_control_counts),
        T(test_words_that_do_not_fit_the_state_are_dropped),
        T(test_a_crowd_is_told_at_the_pace_of_control),
        T(test_sessions_that_end_before_their_turn_are_not_told_of),
        T(test_of_sessions_to_go_on_with_only_those_that_relay_are),
        T(test_ids_begin_anew_without_ever_being_none),
        T(test_a_stop_says_goodbye_to_all),
        T(test_a_second_stop_of_a_session_that_ends_changes_nothing),
        T(test_a_descriptor_that_nobody_wants_is_closed),
        T(test_a_worker_without_descriptors_does_not_begin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
