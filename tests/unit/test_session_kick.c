/* Sessions that control has kicked: where they end, what their clients are told, how long they may
 * go on. */
#include "worker_world.h"

static struct peer client, backend;

static const char kicked[] = "* BYE " SESSION_KICKED "\r\n";
static const char moved[] = "* BYE " SESSION_MOVED "\r\n";
static const char down[] = "* BYE " SESSION_DOWN "\r\n";

static void say_kick(uint32_t id, enum kick why)
{
    const struct msg_kick m = {.why = why};

    send_msg(&world.control, MSG_KICK, id, &m, SLICE(""), -1);
}

static void done(void)
{
    peer_close(&client);
    peer_close(&backend);
    finish();
}

/* --- while relaying --------------------------------------------------------------------------- */

static void test_an_idle_session_ends_at_once_with_a_bye(void **state)
{
    static const struct {
        enum kick why;
        enum close_reason reason;
        const char *bye;
    } rows[] = {{KICK_OPERATOR, CLOSE_KICKED, kicked},
                {KICK_MOVED, CLOSE_MOVED, moved},
                {KICK_DOWN, CLOSE_BACKEND_DOWN, down}};

    (void)state;
    begin("kick_grace = 5m", "", "");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint32_t id = logs_in(&client, &backend);

        assert_relays(&client, &backend);
        say_kick(id, rows[i].why);
        assert_ended(id, rows[i].reason);
        assert_string_equal(hears_end(&client), rows[i].bye);
        assert_string_equal(hears_end(&backend), "");
        peer_close(&client);
        peer_close(&backend);
    }
    assert_logged("reason=kicked");
    assert_logged("reason=moved");
    assert_logged("reason=backend_down");
    done();
}

static void test_a_response_under_way_is_passed_on_whole(void **state)
{
    uint32_t id;

    (void)state;
    begin("kick_grace = 5m", "", "");
    id = logs_in(&client, &backend);
    says(&client, "b FETCH 1 BODY[]\r\n");
    hears(&backend, "b FETCH 1 BODY[]\r\n");
    says(&backend, "* 1 FETCH (BODY[] {10}\r\n01234");
    hears(&client, "01234");
    say_kick(id, KICK_MOVED);
    turn_for(100);
    says(&backend, "56789)\r\n");
    assert_ended(id, CLOSE_MOVED);
    hears(&client, "56789)\r\n");
    assert_string_equal(hears_end(&client), moved);
    done();
}

/* What the backend has answered before the kick goes out before the BYE. */
static void test_an_answer_that_is_here_is_not_lost(void **state)
{
    uint32_t id;

    (void)state;
    begin("kick_grace = 5m", "", "");
    id = logs_in(&client, &backend);
    says(&client, "b APPEND INBOX {5}\r\n");
    hears(&backend, "b APPEND INBOX {5}\r\n");
    says(&backend, "+ go on\r\n");
    hears(&client, "+ go on\r\n");
    says(&client, "hello\r\n");
    hears(&backend, "hello\r\n");
    /* Both are there when the loop turns next. */
    says(&backend, "b OK [APPENDUID 1 2] done\r\n");
    say_kick(id, KICK_OPERATOR);
    assert_ended(id, CLOSE_KICKED);
    hears(&client, "b OK [APPENDUID 1 2] done\r\n");
    assert_string_equal(hears_end(&client), kicked);
    done();
}

/* Nothing of it was answered: the client knows that it must send it again. */
static void test_a_command_that_is_half_sent_does_not_hold_it_up(void **state)
{
    uint32_t id;

    (void)state;
    begin("kick_grace = 5m", "", "");
    id = logs_in(&client, &backend);
    says(&client, "b APPEND INBOX {50}\r\n");
    hears(&backend, "b APPEND INBOX {50}\r\n");
    says(&backend, "+ go on\r\n");
    hears(&client, "+ go on\r\n");
    says(&client, "half of ");
    hears(&backend, "half of ");
    say_kick(id, KICK_OPERATOR);
    assert_ended(id, CLOSE_KICKED);
    assert_string_equal(hears_end(&client), kicked);
    assert_string_equal(hears_end(&backend), "");
    done();
}

static void test_a_response_that_does_not_end_is_cut_after_kick_grace(void **state)
{
    uint32_t id;

    (void)state;
    begin("kick_grace = 100ms", "", "");
    id = logs_in(&client, &backend);
    says(&backend, "* 1 FETCH (BODY[] {10}\r\n01234");
    hears(&client, "01234");
    say_kick(id, KICK_OPERATOR);
    assert_ended(id, CLOSE_KICKED);
    assert_string_equal(hears_end(&client), "");
    done();
}

/* Traffic is no reason to go on, and a second kick none to wait anew. */
static void test_traffic_does_not_prolong_the_grace(void **state)
{
    uint32_t id;

    (void)state;
    begin("kick_grace = 200ms", "", "");
    id = logs_in(&client, &backend);
    says(&backend, "* 1 FETCH (BODY[] {1000}\r\n");
    hears(&client, "{1000}\r\n");
    say_kick(id, KICK_MOVED);
    for (int i = 0; i < 100 && !is_over(&client); i++) {
        send(backend.fd, "x", 1, MSG_NOSIGNAL);
        say_kick(id, KICK_OPERATOR);
        turn_for(1);
    }
    assert_true(client.is_over);
    assert_ended(id, CLOSE_MOVED);
    assert_null(strstr(client.got, "BYE"));
    done();
}

static void test_without_grace_a_session_ends_at_once(void **state)
{
    uint32_t id;

    (void)state;
    begin("kick_grace = 0s", "", "");
    id = logs_in(&client, &backend);
    says(&backend, "* 1 FETCH (BODY[] {10}\r\n01234");
    hears(&client, "01234");
    say_kick(id, KICK_OPERATOR);
    assert_ended(id, CLOSE_KICKED);
    assert_string_equal(hears_end(&client), "");
    done();
}

/* Behind COMPRESS no word of ours may stand, however long it is waited. */
static void test_a_compressed_session_is_not_waited_for(void **state)
{
    uint32_t id;

    (void)state;
    begin("kick_grace = 5m", "", "");
    id = logs_in(&client, &backend);
    says(&client, "b COMPRESS DEFLATE\r\n");
    hears(&backend, "b COMPRESS DEFLATE\r\n");
    says(&backend, "b OK done\r\n");
    hears(&client, "b OK done\r\n");
    say_kick(id, KICK_MOVED);
    assert_ended(id, CLOSE_MOVED);
    assert_string_equal(hears_end(&client), "");
    done();
}

/* The backend says BYE by itself. */
static void test_a_client_that_has_said_logout_is_left_to_it(void **state)
{
    uint32_t id;

    (void)state;
    begin("kick_grace = 5m", "", "");
    id = logs_in(&client, &backend);
    says(&client, "b LOGOUT\r\n");
    hears(&backend, "b LOGOUT\r\n");
    say_kick(id, KICK_OPERATOR);
    turn_for(100);
    says(&backend, "* BYE so long\r\nb OK gone\r\n");
    hears(&client, "* BYE so long\r\nb OK gone\r\n");
    peer_close(&backend);
    assert_ended(id, CLOSE_BACKEND_CLOSED);
    assert_string_equal(hears_end(&client), "");
    done();
}

static void test_a_client_that_does_not_read_is_cut_after_kick_grace(void **state)
{
    static char mail[1 << 20];
    uint32_t id;

    (void)state;
    begin("kick_grace = 100ms close_timeout = 1s", "", "");
    keep_little();
    connects_with(&client, LITTLE);
    id = control_hears(MSG_OPEN).id;
    say_go(id);
    hears(&client, "* OK ");
    says(&client, "a LOGIN ann secret\r\n");
    control_hears_of(id, MSG_ADMIT);
    say_lease(id);
    backend_accepts(&backend);
    backend_says_ok(&backend);
    assert_result(id, RESULT_OK);
    say_done(id);
    hears(&client, "a OK ");
    memset(mail, 'x', sizeof mail);
    memcpy(mail, "* OK ", 5);
    send(backend.fd, mail, sizeof mail, MSG_DONTWAIT | MSG_NOSIGNAL);
    settle();
    say_kick(id, KICK_OPERATOR);
    assert_ended(id, CLOSE_KICKED);
    done();
}

/* --- before ----------------------------------------------------------------------------------- */

static void test_who_has_not_logged_in_is_told_bye(void **state)
{
    uint32_t id;

    (void)state;
    begin_usual();
    id = is_greeted(&client);
    says(&client, "a NOOP\r\n");
    hears(&client, "a OK ");
    hears(&client, "\r\n");
    say_kick(id, KICK_OPERATOR);
    assert_ended(id, CLOSE_KICKED);
    assert_string_equal(hears_end(&client), kicked);
    done();
}

static void test_a_login_that_waits_for_control_is_told_bye(void **state)
{
    uint32_t id;

    (void)state;
    begin_usual();
    id = asks_to_log_in(&client);
    say_kick(id, KICK_OPERATOR);
    assert_ended(id, CLOSE_KICKED);
    assert_string_equal(strstr(hears_end(&client), "* BYE"), kicked);
    done();
}

static void test_a_login_at_the_backend_is_told_bye_and_leaves_it(void **state)
{
    uint32_t id;

    (void)state;
    begin_usual();
    id = reaches_backend(&client, &backend);
    say_kick(id, KICK_MOVED);
    assert_ended(id, CLOSE_MOVED);
    assert_string_equal(strstr(hears_end(&client), "* BYE"), moved);
    hears_end(&backend);
    done();
}

static void test_a_login_that_the_backend_has_let_in_never_begins(void **state)
{
    uint32_t id;

    (void)state;
    begin_usual();
    id = is_let_in(&client, &backend);
    say_kick(id, KICK_MOVED);
    say_done(id); /* they have crossed */
    assert_ended(id, CLOSE_MOVED);
    assert_string_equal(strstr(hears_end(&client), "* BYE"), moved);
    hears_end(&backend);
    done();
}

static void test_a_connection_that_control_has_not_let_in_is_closed(void **state)
{
    uint32_t id;

    (void)state;
    begin_usual();
    id = opens(&client);
    say_kick(id, KICK_OPERATOR);
    assert_ended(id, CLOSE_KICKED);
    assert_string_equal(hears_end(&client), "");
    done();
}

/* --- around ----------------------------------------------------------------------------------- */

static void test_the_answer_to_the_login_comes_before_the_bye(void **state)
{
    uint32_t id;

    (void)state;
    begin_usual();
    id = is_let_in(&client, &backend);
    say_done(id);
    say_kick(id, KICK_OPERATOR);
    hears(&client, "a OK [CAPABILITY IMAP4rev1 IDLE] In\r\n");
    assert_ended(id, CLOSE_KICKED);
    assert_string_equal(hears_end(&client), kicked);
    done();
}

static void test_a_kick_of_nobody_is_harmless(void **state)
{
    uint32_t id;

    (void)state;
    begin_usual();
    id = logs_in(&client, &backend);
    say_kick(id + 1, KICK_OPERATOR);
    assert_relays(&client, &backend);
    done();
}

/* The new control is told of a session that goes on; its end needs no second kick. */
static void test_a_kick_outlives_its_control(void **state)
{
    uint32_t id;

    (void)state;
    begin("kick_grace = 5m", "", "");
    id = logs_in(&client, &backend);
    says(&backend, "* 1 FETCH (BODY[] {10}\r\n01234");
    hears(&client, "01234");
    say_kick(id, KICK_MOVED);
    settle();
    lose_control();
    new_control();
    assert_replayed(id, REPLAY_RELAY);
    control_hears(MSG_REPLAYED);
    says(&backend, "56789)\r\n");
    assert_ended(id, CLOSE_MOVED);
    hears(&client, "56789)\r\n");
    assert_string_equal(hears_end(&client), moved);
    done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_idle_session_ends_at_once_with_a_bye),
        cmocka_unit_test(test_a_response_under_way_is_passed_on_whole),
        cmocka_unit_test(test_an_answer_that_is_here_is_not_lost),
        cmocka_unit_test(test_a_command_that_is_half_sent_does_not_hold_it_up),
        cmocka_unit_test(test_a_response_that_does_not_end_is_cut_after_kick_grace),
        cmocka_unit_test(test_traffic_does_not_prolong_the_grace),
        cmocka_unit_test(test_without_grace_a_session_ends_at_once),
        cmocka_unit_test(test_a_compressed_session_is_not_waited_for),
        cmocka_unit_test(test_a_client_that_has_said_logout_is_left_to_it),
        cmocka_unit_test(test_a_client_that_does_not_read_is_cut_after_kick_grace),
        cmocka_unit_test(test_who_has_not_logged_in_is_told_bye),
        cmocka_unit_test(test_a_login_that_waits_for_control_is_told_bye),
        cmocka_unit_test(test_a_login_at_the_backend_is_told_bye_and_leaves_it),
        cmocka_unit_test(test_a_login_that_the_backend_has_let_in_never_begins),
        cmocka_unit_test(test_a_connection_that_control_has_not_let_in_is_closed),
        cmocka_unit_test(test_the_answer_to_the_login_comes_before_the_bye),
        cmocka_unit_test(test_a_kick_of_nobody_is_harmless),
        cmocka_unit_test(test_a_kick_outlives_its_control),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
