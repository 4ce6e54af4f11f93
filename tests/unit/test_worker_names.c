/* What a worker tells control of its configuration, before anything else; and control's words that
 * do not fit it. */
#include "worker_world.h"

#include "conf/diff.h"

static struct peer client, backend;

static void done(void)
{
    peer_close(&client);
    peer_close(&backend);
    finish();
}

static const struct conf *the_conf(void)
{
    return world.child.conf;
}

static void assert_named(enum name_kind kind, unsigned pool, unsigned index, const char *title)
{
    struct msg m = control_hears(MSG_NAME);
    const struct msg_name *name = m.body;

    assert_int_equal(name->kind, kind);
    assert_int_equal(name->pool, pool);
    assert_int_equal(name->index, index);
    assert_true(slice_eq(m.tail, slice_str(title)));
    assert_true(name->meaning ==
                (kind == NAME_BACKEND ? conf_meaning(the_conf(), pool, index) : 0));
}

static void begin_with_two_pools(void)
{
    begin_pool("listener second { address = \"127.0.0.1:1\" tls = off }\n"
               "pool other { backend o1 { address = \"o1.test:1\" } }",
               "", "backend b0 { address = \"b0.test:1\" }", "");
    world.hears_names = true;
}

static void assert_all_named(void)
{
    assert_named(NAME_LISTENER, 0, 0, "second");
    assert_named(NAME_LISTENER, 0, 1, "l");
    assert_named(NAME_POOL, 0, 0, "other");
    assert_named(NAME_BACKEND, 0, 0, "o1");
    assert_named(NAME_POOL, 0, 1, "main");
    assert_named(NAME_BACKEND, 1, 0, "b0");
    assert_named(NAME_BACKEND, 1, 1, "b1");
}

static void test_every_control_is_told_first_what_indices_mean(void **state)
{
    uint32_t id;

    (void)state;
    begin_with_two_pools();
    id = is_greeted(&client);
    for (int i = 0; i < 3; i++) {
        lose_control();
        new_control();
        assert_all_named();
        assert_replayed(id, REPLAY_OPEN);
        control_hears(MSG_REPLAYED);
    }
    done();
}

static void test_backends_have_meanings_of_their_own(void **state)
{
    (void)state;
    begin_with_two_pools();
    assert_true(conf_meaning(the_conf(), 1, 0) != conf_meaning(the_conf(), 1, 1));
    done();
}

/* --- very many of them ------------------------------------------------------------------------ */

enum { MANY = 4096 };

static void begin_with_many(void)
{
    static char backends[1 << 18];
    size_t n = 0;

    for (int i = 1; i < MANY; i++)
        n += (size_t)snprintf(backends + n, sizeof backends - n,
                              "backend a-rather-long-name-%d { address = \"a:1\" }\n", i);
    begin_pool("", "", backends, "");
    world.hears_names = true;
}

/* A control that is slow to read. */
static void narrow_control(void)
{
    lose_control();
    new_control_with(2 * IPC_PACKET_MAX);
    settle();
}

static bool is_told_all_names(void)
{
    return worker_control(the_worker()) != 0;
}

static void assert_many_named(void)
{
    char title[64];

    assert_named(NAME_LISTENER, 0, 0, "l");
    assert_named(NAME_POOL, 0, 0, "main");
    for (unsigned i = 1; i < MANY; i++) {
        snprintf(title, sizeof title, "a-rather-long-name-%u", i);
        assert_named(NAME_BACKEND, 0, i - 1, title);
    }
    assert_named(NAME_BACKEND, 0, MANY - 1, "b1");
}

static void test_names_are_told_at_the_pace_of_control(void **state)
{
    (void)state;
    begin_with_many();
    narrow_control();
    assert_false(is_told_all_names());
    assert_in_range(buf_len(&the_worker()->control->queue), 1, 2 * CHANNEL_PACE);
    assert_many_named();
    control_hears(MSG_REPLAYED);
    assert_true(is_told_all_names());
    done();
}

/* Whether they were there before, come now, end now, or ask for more. */
static void test_no_session_is_told_of_between_names(void **state)
{
    static struct peer early, brief;
    uint32_t ids[2];

    (void)state;
    begin_with_many();
    ids[0] = is_greeted(&early);
    is_greeted(&brief);
    narrow_control();
    assert_false(is_told_all_names());
    connects_with(&client, 0);
    says(&early, "a LOGIN ann secret\r\n");
    peer_close(&brief);
    settle();
    assert_many_named();
    assert_replayed(ids[0], REPLAY_OPEN);
    control_hears_of(ids[0], MSG_ADMIT);
    ids[1] = control_hears(MSG_OPEN).id;
    control_hears(MSG_REPLAYED);
    say_go(ids[1]);
    hears(&client, "* OK ");
    say_refuse(ids[0], REFUSE_INUSE);
    hears(&early, "a NO [INUSE]");
    peer_close(&early);
    done();
}

static void test_a_control_that_comes_between_names_is_told_all_of_them(void **state)
{
    (void)state;
    begin_with_many();
    narrow_control();
    assert_false(is_told_all_names());
    lose_control();
    new_control();
    assert_many_named();
    control_hears(MSG_REPLAYED);
    done();
}

/* --- control's words that do not fit ---------------------------------------------------------- */

static void say_wrong_lease(uint32_t id, unsigned pool, unsigned index, unsigned addresses_n)
{
    const struct msg_lease lease = {.lease = {7, id},
                                    .pool = (uint16_t)pool,
                                    .backend = (uint16_t)index,
                                    .attempt = 1,
                                    .addresses_n = (uint16_t)addresses_n,
                                    .name_n = 3};

    send_msg(&world.control, MSG_LEASE, id, &lease, SLICE("ann"), -1);
}

static void test_a_lease_of_a_backend_that_there_is_not_is_given_back(void **state)
{
    static const unsigned rows[][3] = {{1, 0, 1},
                                       {0, 1, 1},
                                       {UINT16_MAX, UINT16_MAX, 1},
                                       {0, 0, 0},
                                       {0, 0, IPC_ADDRESSES_MAX + 1}};
    uint32_t id;

    (void)state;
    begin("max_login_commands = 100", "", "");
    id = is_greeted(&client);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        says(&client, "x LOGIN ann secret\r\n");
        control_hears_of(id, MSG_ADMIT);
        say_wrong_lease(id, rows[i][0], rows[i][1], rows[i][2]);
        assert_result(id, RESULT_WITHDRAWN);
        hears(&client, "x NO [UNAVAILABLE]");
    }
    assert_logged("the lease has no backend that this worker knows");
    says(&client, "a LOGIN ann secret\r\n");
    control_hears_of(id, MSG_ADMIT);
    say_lease(id);
    backend_accepts(&backend);
    backend_says_ok(&backend);
    assert_result(id, RESULT_OK);
    say_done(id);
    hears(&client, "a OK ");
    assert_relays(&client, &backend);
    done();
}

static void test_a_probe_of_a_backend_that_there_is_not_is_passed_over(void **state)
{
    const struct msg_probe order = {.pool = 1, .addresses_n = 1};

    (void)state;
    begin_usual();
    send_msg(&world.control, MSG_PROBE, 5, &order, SLICE(""), -1);
    opens(&client);
    done();
}

/* --- a backend that is another thing to control ----------------------------------------------- */

static void assert_sent_away(uint32_t id)
{
    struct msg m;

    hears(&client, "a NO [UNAVAILABLE] ");
    m = control_hears_of(id, MSG_END);
    assert_int_equal(((const struct msg_end *)m.body)->reason, CLOSE_RETIRED);
    assert_false(((const struct msg_end *)m.body)->is_sent);
    hears(&client, "\r\n");
    assert_string_equal(hears_end(&client), "* BYE " SESSION_RETIRED "\r\n");
    assert_logged("reason=retired");
    assert_logged("detail=\"so it is\"");
}

static void test_a_login_for_a_newer_worker_is_sent_to_it(void **state)
{
    uint32_t id;

    (void)state;
    begin_usual();
    id = asks_to_log_in(&client);
    say_refuse(id, REFUSE_OUTDATED);
    assert_sent_away(id);
    done();
}

static void test_so_it_is_when_the_backend_has_let_it_in(void **state)
{
    uint32_t id;

    (void)state;
    begin_usual();
    id = is_let_in(&client, &backend);
    say_refuse(id, REFUSE_OUTDATED);
    assert_sent_away(id);
    hears_end(&backend);
    done();
}

/* The refusal that there was says nothing of the password, as the next backend is not asked. */
static void test_so_it_is_when_another_backend_did_not_know_the_user(void **state)
{
    uint32_t id;

    (void)state;
    begin_usual();
    id = asks_to_log_in(&client);
    say_lease_of(id, LEASE_IS_TRIAL, NULL, "");
    backend_accepts(&backend);
    says(&backend, "* OK [CAPABILITY IMAP4rev1] Hi\r\n");
    hears(&backend, "U1 LOGIN \"ann\" \"secret\"\r\n");
    says(&backend, "U1 NO [AUTHENTICATIONFAILED] Who?\r\n");
    assert_result(id, RESULT_REFUSED);
    say_refuse(id, REFUSE_OUTDATED);
    assert_sent_away(id);
    done();
}

static void test_a_connection_may_be_sent_to_a_newer_worker_too(void **state)
{
    uint32_t id;

    (void)state;
    begin_usual();
    id = opens(&client);
    say_refuse(id, REFUSE_OUTDATED);
    assert_ended(id, CLOSE_RETIRED);
    assert_string_equal(hears_end(&client), "* BYE " SESSION_RETIRED "\r\n");
    done();
}

#define T(test) cmocka_unit_test(test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_every_control_is_told_first_what_indices_mean),
        T(test_backends_have_meanings_of_their_own),
        T(test_names_are_told_at_the_pace_of_control),
        T(test_no_session_is_told_of_between_names),
        T(test_a_control_that_comes_between_names_is_told_all_of_them),
        T(test_a_lease_of_a_backend_that_there_is_not_is_given_back),
        T(test_a_probe_of_a_backend_that_there_is_not_is_passed_over),
        T(test_a_login_for_a_newer_worker_is_sent_to_it),
        T(test_so_it_is_when_the_backend_has_let_it_in),
        T(test_so_it_is_when_another_backend_did_not_know_the_user),
        T(test_a_connection_may_be_sent_to_a_newer_worker_too),
    };

    client.fd = backend.fd = -1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
