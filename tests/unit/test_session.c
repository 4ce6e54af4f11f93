/* Sessions on their way from accept to relay and to their end, in a worker whose control, clients
 * and backend the test plays: deadlines, refusals, what stands behind a login, the PROXY protocol.
 */
#include "worker_world.h"

#include "certs.h"

static struct peer client, backend;

static void done(void)
{
    peer_close(&client);
    peer_close(&backend);
    finish();
}

/* --- deadlines -------------------------------------------------------------------------------- */

static void test_nobody_waits_for_control_longer_than_for_a_login(void **state)
{
    uint32_t id;

    (void)state;
    begin("login_timeout = 1s", "", "");
    id = opens(&client);
    assert_ended(id, CLOSE_LOGIN_TIMEOUT);
    assert_string_equal(hears_end(&client), "");
    assert_logged("reason=login_timeout detail=open");
    done();
}

static void test_a_login_that_control_does_not_answer_is_unavailable(void **state)
{
    uint32_t id;

    (void)state;
    begin("login_timeout = 1s", "", "");
    id = asks_to_log_in(&client);
    assert_ended(id, CLOSE_LOGIN_TIMEOUT);
    hears(&client, "a NO [UNAVAILABLE]");
    hears(&client, "* BYE Login took too long.\r\n");
    assert_string_equal(hears_end(&client), "");
    assert_logged("reason=login_timeout detail=admit");
    done();
}

static void test_a_client_has_no_longer_for_its_handshake_than_for_its_login(void **state)
{
    struct cert cert = cert_make("a.example.org", "DNS:a.example.org", NULL, 9, NULL);
    uint32_t id;

    (void)state;
    give_file("/cert", cert_pem(&cert, NULL));
    give_file("/key", key_pem(&cert, NULL));
    cert_free(&cert);
    begin("login_timeout = 1s tls { certificate = \"/cert\" key = \"/key\" }", "tls = implicit",
          "");
    id = opens(&client);
    say_go(id);
    assert_ended(id, CLOSE_LOGIN_TIMEOUT);
    assert_string_equal(hears_end(&client), "");
    assert_logged("reason=login_timeout detail=greet");
    done();
}

/* backend_login_timeout is the backend's, who has answered. */
static void test_a_late_control_is_waited_for_when_the_backend_has_said_ok(void **state)
{
    uint32_t id;

    (void)state;
    begin("backend_login_timeout = 50ms", "", "");
    id = is_let_in(&client, &backend);
    turn_for(300);
    say_done(id);
    hears(&client, "a OK ");
    assert_relays(&client, &backend);
    assert_not_logged("backend_failed");
    done();
}

static void test_a_control_that_never_says_done_makes_the_login_unavailable(void **state)
{
    uint32_t id;

    (void)state;
    begin("backend_login_timeout = 50ms login_timeout = 1s", "", "");
    id = is_let_in(&client, &backend);
    assert_ended(id, CLOSE_LOGIN_TIMEOUT);
    hears(&client, "a NO [UNAVAILABLE]");
    hears(&client, "* BYE Login took too long.\r\n");
    assert_string_equal(hears_end(&backend), "");
    done();
}

static void test_a_silent_backend_ends_its_attempt_and_not_the_session(void **state)
{
    uint32_t id;

    (void)state;
    begin("backend_login_timeout = 50ms", "", "");
    id = reaches_backend(&client, &backend);
    assert_result(id, RESULT_FAILED);
    assert_logged("stage=greeting");
    assert_logged("if it waits for a PROXY header, write proxy = v2 or v1");
    peer_close(&backend);
    say_lease(id);
    backend_accepts(&backend);
    backend_says_ok(&backend);
    assert_result(id, RESULT_OK);
    say_done(id);
    hears(&client, "a OK ");
    assert_relays(&client, &backend);
    done();
}

/* --- refusals --------------------------------------------------------------------------------- */

static void test_a_connection_is_turned_away_with_words_that_fit(void **state)
{
    static const struct {
        uint32_t code;
        enum close_reason reason;
        const char *bye;
    } rows[] = {
        {REFUSE_UNAVAILABLE, CLOSE_LIMIT, "* BYE " SESSION_NO_ROOM "\r\n"},
        {REFUSE_INUSE, CLOSE_LIMIT, "* BYE " SESSION_NO_ROOM "\r\n"},
        {REFUSE_MAX_SESSIONS, CLOSE_MAX_SESSIONS, "* BYE " SESSION_NO_ROOM "\r\n"},
        {REFUSE_MAX_ADDRESS, CLOSE_MAX_ADDRESS,
         "* BYE [LIMIT] Too many connections from your address; please close some.\r\n"},
        {99, CLOSE_LIMIT, "* BYE " SESSION_NO_ROOM "\r\n"}, /* a newer control's */
    };

    (void)state;
    begin_usual();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint32_t id = opens(&client);

        say_refuse(id, rows[i].code);
        assert_ended(id, rows[i].reason);
        assert_string_equal(hears_end(&client), rows[i].bye);
        peer_close(&client);
    }
    done();
}

static void test_a_login_is_refused_with_words_that_fit(void **state)
{
    static const struct {
        uint32_t code;
        const char *answer;
        enum close_reason reason;
        const char *bye; /* NULL: the client may try again */
    } rows[] = {
        {REFUSE_UNAVAILABLE, "a NO [UNAVAILABLE] ", 0, NULL},
        {REFUSE_INUSE, "a NO [INUSE] ", 0, NULL},
        {REFUSE_MAX_ADDRESS, "a NO [LIMIT] Too many connections", CLOSE_MAX_ADDRESS,
         "* BYE [LIMIT] Too many connections from your address"},
        {REFUSE_MAX_USER, "a NO [LIMIT] Too many connections of this user", CLOSE_MAX_USER,
         "* BYE Too many connections\r\n"},
        {REFUSE_PENALTY, "a NO [LIMIT] Too many failed logins; please", CLOSE_PENALTY,
         "* BYE Too many failed logins\r\n"},
    };

    (void)state;
    begin_usual();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint32_t id = asks_to_log_in(&client);

        say_refuse(id, rows[i].code);
        hears(&client, rows[i].answer);
        if (rows[i].bye) {
            hears(&client, rows[i].bye);
            assert_ended(id, rows[i].reason);
        } else {
            says(&client, "b LOGIN ann secret\r\n");
            control_hears_of(id, MSG_ADMIT);
            peer_reset(&client);
            assert_ended(id, CLOSE_CLIENT_RESET);
        }
        peer_close(&client);
    }
    assert_logged("login_failed");
    assert_logged("detail=\"so it is\"");
    done();
}

/* A login that has waited while others came: the backend said OK, control says no. */
static void test_control_may_refuse_whom_the_backend_has_let_in(void **state)
{
    uint32_t id;

    (void)state;
    begin_usual();
    id = is_let_in(&client, &backend);
    say_refuse(id, REFUSE_INUSE);
    hears(&client, "a NO [INUSE] ");
    assert_string_equal(hears_end(&backend), "");
    says(&client, "b NOOP\r\n");
    hears(&client, "b OK ");
    done();
}

/* --- what stands behind a login --------------------------------------------------------------- */

static void test_unauthenticate_behind_a_login_ends_the_session_after_its_answer(void **state)
{
    uint32_t id;

    (void)state;
    begin_usual();
    id = is_greeted(&client);
    says(&client, "a LOGIN ann secret\r\nb UNAUTHENTICATE\r\n");
    control_hears_of(id, MSG_ADMIT);
    say_lease(id);
    backend_accepts(&backend);
    backend_says_ok(&backend);
    assert_result(id, RESULT_OK);
    say_done(id);
    assert_ended(id, CLOSE_UNAUTHENTICATE);
    hears(&client, "a OK ");
    hears(&client, "* BYE UNAUTHENTICATE is not served; please connect anew\r\n");
    assert_string_equal(hears_end(&client), "");
    assert_string_equal(hears_end(&backend), "");
    done();
}

static void test_a_goodbye_of_the_backend_is_not_said_twice(void **state)
{
    uint32_t id;

    (void)state;
    begin_usual();
    id = logs_in(&client, &backend);
    says(&client, "b LOGOUT\r\n");
    hears(&backend, "b LOGOUT\r\n");
    says(&backend, "* BYE Mine\r\n");
    hears(&client, "* BYE Mine\r\n");
    peer_reset(&backend);
    control_hears_of(id, MSG_END);
    assert_string_equal(hears_end(&client), "");
    done();
}

static void test_no_word_of_ours_stands_in_the_middle_of_a_message(void **state)
{
    uint32_t id;

    (void)state;
    begin_usual();
    id = logs_in(&client, &backend);
    says(&backend, "* 1 FETCH (BODY[] {10}\r\nhalf");
    hears(&client, "{10}\r\nhalf");
    peer_reset(&backend);
    assert_ended(id, CLOSE_BACKEND_RESET);
    assert_string_equal(hears_end(&client), "");
    done();
}

/* --- the PROXY protocol ----------------------------------------------------------------------- */

#define PROXIED "trusted_networks = {127.0.0.0/8}"

static void test_a_proxy_header_may_come_in_pieces(void **state)
{
    struct msg m;
    char text[ADDR_TEXT];

    (void)state;
    begin(PROXIED, "proxy = yes", "");
    connects_with(&client, 0);
    settle();
    says(&client, "PROXY TCP4 192.0.2.7 192.0.2");
    settle();
    says(&client, ".1 4711 143\r\na NOOP\r\n");
    m = control_hears(MSG_OPEN);
    assert_string_equal(addr_format(&((const struct msg_open *)m.body)->client, text),
                        "192.0.2.7:4711");
    say_go(m.id);
    hears(&client, "* OK ");
    hears(&client, "a OK ");
    done();
}

static void test_a_new_control_is_not_told_of_who_has_not_sent_its_proxy_header(void **state)
{
    (void)state;
    begin(PROXIED, "proxy = yes", "");
    connects_with(&client, 0);
    settle();
    lose_control();
    new_control();
    control_hears(MSG_REPLAYED);
    says(&client, "PROXY TCP4 192.0.2.7 192.0.2.1 4711 143\r\n");
    control_hears(MSG_OPEN);
    done();
}

/* A proxy that does not say for whom it speaks is trusted, those behind it are not. */
static void test_whom_a_proxy_does_not_name_cannot_name_himself(void **state)
{
    static const struct {
        const char *header;
        const char *client;
    } rows[] = {
        {"PROXY UNKNOWN\r\n", "127.0.0.1:"},
        {"PROXY TCP4 192.0.2.7 192.0.2.1 4711 143\r\n", "192.0.2.7:4711"},
        {"PROXY TCP4 127.0.0.7 127.0.0.1 4711 143\r\n", "192.0.2.66:99"},
    };
    struct msg m;
    char text[ADDR_TEXT];

    (void)state;
    begin(PROXIED, "proxy = yes", "");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        connects_with(&client, 0);
        says(&client, rows[i].header);
        says(&client, "a ID (\"x-originating-ip\" \"192.0.2.66\" \"x-originating-port\" \"99\")\r\n"
                      "b LOGIN ann secret\r\n");
        m = control_hears(MSG_OPEN);
        say_go(m.id);
        m = control_hears_of(m.id, MSG_ADMIT);
        addr_format(&((const struct msg_admit *)m.body)->client, text);
        assert_memory_equal(text, rows[i].client, strlen(rows[i].client));
        peer_reset(&client);
        assert_ended(m.id, CLOSE_CLIENT_RESET);
    }
    done();
}

static void test_a_backend_that_hangs_up_on_a_proxy_header_is_hinted_at(void **state)
{
    uint32_t id;

    (void)state;
    begin("", "", "proxy = v1");
    id = reaches_backend(&client, &backend);
    hears(&backend, "PROXY TCP4 127.0.0.1 127.0.0.1 ");
    says(&backend, "* BAD What is this\r\n");
    assert_result(id, RESULT_FAILED);
    assert_logged("if it does not expect one, write proxy = off");
    done();
}

#define T(test) cmocka_unit_test(test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_nobody_waits_for_control_longer_than_for_a_login),
        T(test_a_login_that_control_does_not_answer_is_unavailable),
        T(test_a_client_has_no_longer_for_its_handshake_than_for_its_login),
        T(test_a_late_control_is_waited_for_when_the_backend_has_said_ok),
        T(test_a_control_that_never_says_done_makes_the_login_unavailable),
        T(test_a_silent_backend_ends_its_attempt_and_not_the_session),
        T(test_a_connection_is_turned_away_with_words_that_fit),
        T(test_a_login_is_refused_with_words_that_fit),
        T(test_control_may_refuse_whom_the_backend_has_let_in),
        T(test_unauthenticate_behind_a_login_ends_the_session_after_its_answer),
        T(test_a_goodbye_of_the_backend_is_not_said_twice),
        T(test_no_word_of_ours_stands_in_the_middle_of_a_message),
        T(test_a_proxy_header_may_come_in_pieces),
        T(test_a_new_control_is_not_told_of_who_has_not_sent_its_proxy_header),
        T(test_whom_a_proxy_does_not_name_cannot_name_himself),
        T(test_a_backend_that_hangs_up_on_a_proxy_header_is_hinted_at),
    };

    client.fd = backend.fd = -1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
