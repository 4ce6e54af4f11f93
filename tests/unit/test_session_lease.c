/* Control's leases and refusals: whom the backend is told, trials whose NO may come to stand, words
 * for the client, whose fault a failure is. */
#include "worker_world.h"

static struct peer client, backend;

static void done(void)
{
    peer_close(&client);
    peer_close(&backend);
    finish();
}

/* The backend's greeting, and what it is sent then. */
static void backend_greets(const char *capabilities)
{
    char greeting[128];

    backend_accepts(&backend);
    snprintf(greeting, sizeof greeting, "* OK [CAPABILITY IMAP4rev1 %s] Hi\r\n", capabilities);
    says(&backend, greeting);
}

static void backend_says_no(const char *text)
{
    char line[128];

    backend_greets("");
    hears(&backend, "U1 LOGIN \"ann\" \"secret\"\r\n");
    snprintf(line, sizeof line, "U1 NO %s\r\n", text);
    says(&backend, line);
}

static void say_refuse_telling(uint32_t id, enum refuse code, const char *why, const char *told)
{
    struct msg_refuse m = {.code = code, .told_n = (uint32_t)strlen(told)};
    char tail[IPC_TEXT_MAX + 1];
    int n = snprintf(tail, sizeof tail, "%s%s", why, told);

    send_msg(&world.control, MSG_REFUSE, id, &m, slice_of(tail, (size_t)n), -1);
}

static uint32_t count_of(const char *words)
{
    uint32_t n = 0;

    for (const char *at = log_text(); (at = strstr(at, words)); at++)
        n++;
    return n;
}

/* --- names ------------------------------------------------------------------------------------ */

static void test_the_backend_and_the_log_have_the_name_of_the_lease(void **state)
{
    uint32_t id;

    (void)state;
    begin_usual();
    id = is_greeted(&client);
    says(&client, "a LOGIN Ann@Example.ORG secret\r\n");
    control_hears_of(id, MSG_ADMIT);
    say_lease_of(id, 0, "ann@example.org", "");
    backend_greets("");
    hears(&backend, "U1 LOGIN \"ann@example.org\" \"secret\"\r\n");
    says(&backend, "U1 OK [CAPABILITY IMAP4rev1] In\r\n");
    assert_result(id, RESULT_OK);
    say_done(id);
    hears(&client, "a OK ");
    assert_logged("user=ann@example.org");
    assert_not_logged("Ann");
    /* and so has the next control */
    lose_control();
    new_control();
    assert_true(slice_eq(control_hears_of(id, MSG_REPLAY).tail, SLICE("ann@example.org")));
    done();
}

static void test_the_backend_is_told_another_name_than_the_log(void **state)
{
    uint32_t id;

    (void)state;
    begin_usual();
    id = asks_to_log_in(&client);
    say_lease_of(id, 0, "ann", "u0042");
    backend_greets("");
    hears(&backend, "U1 LOGIN \"u0042\" \"secret\"\r\n");
    says(&backend, "U1 OK [CAPABILITY IMAP4rev1] In\r\n");
    assert_result(id, RESULT_OK);
    say_done(id);
    hears(&client, "a OK ");
    assert_logged("user=ann");
    assert_not_logged("u0042");
    done();
}

static uint32_t asks_for_another(void)
{
    uint32_t id = is_greeted(&client);

    /* "Bob", "admin", "secret" */
    says(&client, "a AUTHENTICATE PLAIN Qm9iAGFkbWluAHNlY3JldA==\r\n");
    assert_true(slice_eq(control_hears_of(id, MSG_ADMIT).tail, SLICE("Bob")));
    return id;
}

static void test_who_logs_in_for_another_stays_as_typed(void **state)
{
    (void)state;
    begin_usual();
    say_lease_of(asks_for_another(), 0, "bob", "u0043");
    backend_greets("SASL-IR AUTH=PLAIN");
    hears(&backend, "U1 AUTHENTICATE PLAIN dTAwNDMAYWRtaW4Ac2VjcmV0\r\n"); /* u0043 admin secret */
    done();
}

static void test_an_authorization_identity_that_says_nothing_is_left_out(void **state)
{
    (void)state;
    begin_usual();
    say_lease_of(asks_for_another(), 0, "admin", "");
    backend_greets("");
    hears(&backend, "U1 LOGIN \"admin\" \"secret\"\r\n");
    done();
}

static void test_a_lease_without_a_proper_name_ends_the_session(void **state)
{
    static char long_name[IPC_USER_MAX + 2];
    const struct {
        size_t name_n;
        struct slice tail;
    } rows[] = {{0, SLICE("")},
                {0, SLICE("ann")},
                {4, SLICE("ann")},
                {3, SLICE("a\0n")},
                {3, SLICE("a\rn")},
                {3, SLICE("ann\nx")},
                {3, SLICE("annx\0")},
                {IPC_USER_MAX + 1, slice_of(long_name, IPC_USER_MAX + 1)},
                {1, slice_of(long_name, IPC_USER_MAX + 2)}};

    (void)state;
    memset(long_name, 'x', sizeof long_name);
    begin_usual();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint32_t id = asks_to_log_in(&client);
        struct msg_lease lease = {.lease = {7, id},
                                  .attempt = 1,
                                  .addresses_n = 1,
                                  .name_n = (uint16_t)rows[i].name_n,
                                  .addresses = {world.backend}};

        send_msg(&world.control, MSG_LEASE, id, &lease, rows[i].tail, -1);
        assert_ended(id, CLOSE_INTERNAL);
        hears(&client, "a NO [UNAVAILABLE]");
        peer_close(&client);
    }
    finish();
}

/* --- trials ----------------------------------------------------------------------------------- */

static void test_the_no_of_the_last_trial_stands(void **state)
{
    uint32_t id;

    (void)state;
    begin("login_tries = 1", "", "");
    id = asks_to_log_in(&client);
    for (int i = 0; i < 2; i++) {
        say_lease_of(id, LEASE_IS_TRIAL, "ann", "");
        backend_says_no(i == 0 ? "[ALERT] First" : "[AUTHENTICATIONFAILED] Last");
        assert_result(id, RESULT_REFUSED);
        assert_string_equal(hears_end(&backend), "");
        peer_close(&backend);
        assert_not_logged("login_refused");
    }
    settle();
    peer_read(&client);
    assert_null(strstr(client.got, "a NO"));
    say_refuse(id, REFUSE_CREDENTIALS);
    hears(&client, "a NO [AUTHENTICATIONFAILED] Last\r\n");
    assert_string_equal(hears_end(&client), "* BYE Too many refused logins\r\n");
    assert_ended(id, CLOSE_LOGIN_TRIES);
    assert_int_equal(count_of(" login_refused "), 1);
    assert_logged("code=AUTHENTICATIONFAILED text=Last");
    assert_not_logged("First");
    done();
}

static void test_a_trial_that_is_taken_is_a_login(void **state)
{
    uint32_t id;

    (void)state;
    begin_usual();
    id = asks_to_log_in(&client);
    say_lease_of(id, LEASE_IS_TRIAL, "ann", "");
    backend_says_no("Not here");
    assert_result(id, RESULT_REFUSED);
    peer_close(&backend);
    say_lease_of(id, LEASE_IS_TRIAL, "ann", "");
    backend_accepts(&backend);
    backend_says_ok(&backend);
    assert_result(id, RESULT_OK);
    say_done(id);
    hears(&client, "a OK [CAPABILITY IMAP4rev1 IDLE] In\r\n");
    assert_not_logged("login_refused");
    assert_relays(&client, &backend);
    done();
}

static void test_after_a_trial_that_failed_no_password_is_wrong(void **state)
{
    uint32_t id;

    (void)state;
    begin_usual();
    id = asks_to_log_in(&client);
    say_lease_of(id, LEASE_IS_TRIAL, "ann", "");
    backend_says_no("Not here");
    assert_result(id, RESULT_REFUSED);
    peer_close(&backend);
    say_lease_of(id, LEASE_IS_TRIAL, "ann", "");
    backend_accepts(&backend);
    peer_close(&backend);
    assert_result(id, RESULT_FAILED);
    say_refuse(id, REFUSE_CREDENTIALS); /* which is no answer to that */
    hears(&client, "a NO [UNAVAILABLE]");
    assert_not_logged("login_refused");
    done();
}

static void test_another_refusal_than_credentials_hides_the_no_of_a_trial(void **state)
{
    uint32_t id;

    (void)state;
    begin_usual();
    id = asks_to_log_in(&client);
    say_lease_of(id, LEASE_IS_TRIAL, "ann", "");
    backend_says_no("Not here");
    assert_result(id, RESULT_REFUSED);
    say_refuse(id, REFUSE_UNAVAILABLE);
    hears(&client, "a NO [UNAVAILABLE]");
    assert_not_logged("login_refused");
    assert_logged("login_failed");
    done();
}

static void test_a_no_outside_of_a_trial_stands_at_once(void **state)
{
    uint32_t id;

    (void)state;
    begin_usual();
    id = asks_to_log_in(&client);
    say_lease_of(id, 0, "ann", "");
    backend_says_no("Never");
    assert_result(id, RESULT_REFUSED);
    hears(&client, "a NO Never\r\n");
    done();
}

/* --- a NO that is none to the password -------------------------------------------------------- */

static const char *const no_verdicts[] = {
    "[UNAVAILABLE] The database is down", "[LIMIT] Too many connections of this user",
    "[inuse] Another client has the mailbox", "[SERVERBUG] Internal error occurred"};

static void assert_fault(uint32_t id, enum fault fault)
{
    const struct msg_result *r = control_hears_of(id, MSG_RESULT).body;

    assert_int_equal(r->result, RESULT_FAILED);
    assert_int_equal(r->fault, fault);
}

/* The client is told what the backend says, and has not guessed wrong. */
static void test_a_no_that_says_nothing_of_the_password_charges_nobody(void **state)
{
    char heard[128];

    (void)state;
    begin_usual();
    for (size_t i = 0; i < sizeof no_verdicts / sizeof *no_verdicts; i++) {
        uint32_t id = asks_to_log_in(&client);

        say_lease_of(id, 0, "ann", "");
        backend_says_no(no_verdicts[i]);
        assert_result(id, RESULT_WITHDRAWN);
        snprintf(heard, sizeof heard, "a NO %s\r\n", no_verdicts[i]);
        hears(&client, heard);
        peer_close(&client);
        assert_ended(id, CLOSE_CLIENT_CLOSED);
        peer_close(&backend);
    }
    done();
}

/* It may be the one that knows the user: the NO of the next one must not stand. */
static void test_a_trial_whose_backend_cannot_say_now_has_failed(void **state)
{
    (void)state;
    begin_usual();
    for (size_t i = 0; i < sizeof no_verdicts / sizeof *no_verdicts; i++) {
        uint32_t id = asks_to_log_in(&client);

        say_lease_of(id, LEASE_IS_TRIAL, "ann", "");
        backend_says_no(no_verdicts[i]);
        assert_fault(id, FAULT_OURS);
        say_refuse(id, REFUSE_UNAVAILABLE);
        hears(&client, "a NO [UNAVAILABLE] No mail server");
        peer_close(&client);
        assert_ended(id, CLOSE_CLIENT_CLOSED);
        peer_close(&backend);
    }
    assert_logged("backend_failed");
    assert_not_logged("login_refused");
    done();
}

/* Else anybody could bring a backend down, without a password. */
static void test_what_a_client_logs_in_with_is_no_fault_of_the_backend(void **state)
{
    uint32_t id;

    (void)state;
    begin_usual();
    id = asks_to_log_in(&client);
    say_lease_of(id, 0, "ann", "");
    backend_greets("");
    hears(&backend, "U1 LOGIN \"ann\" \"secret\"\r\n");
    says(&backend, "U1 BAD What a password\r\n");
    assert_fault(id, FAULT_OURS);
    say_refuse(id, REFUSE_UNAVAILABLE);
    hears(&client, "a NO [UNAVAILABLE]");
    peer_close(&client);
    assert_ended(id, CLOSE_CLIENT_CLOSED);
    peer_close(&backend);
    /* "bob", "ann", "secret", where nobody may log in for another */
    id = is_greeted(&client);
    says(&client, "a AUTHENTICATE PLAIN Ym9iAGFubgBzZWNyZXQ=\r\n");
    control_hears_of(id, MSG_ADMIT);
    say_lease_of(id, 0, "bob", "");
    backend_greets("");
    assert_fault(id, FAULT_OURS);
    done();
}

/* Many servers hang up on a command of some kilobytes: Dovecot on one of eight. */
static void test_a_backend_that_hangs_up_on_an_odd_login_is_not_to_blame(void **state)
{
    static char long_login[1100], long_id[1100];
    static const struct {
        const char *before, *login;
        enum fault fault;
    } rows[] = {
        {"", "a LOGIN ann secret\r\n", FAULT_BACKEND},
        {"i ID (\"name\" \"Mail\")\r\n", "a LOGIN ann secret\r\n", FAULT_BACKEND},
        {"", long_login, FAULT_OURS},
        {long_id, "a LOGIN ann secret\r\n", FAULT_OURS},
        {"", "a LOGIN ann \"sec\x01ret\"\r\n", FAULT_OURS},
        {"", "a LOGIN \"a\tnn\" secret\r\n", FAULT_OURS},
    };

    (void)state;
    begin_usual();
    snprintf(long_login, sizeof long_login, "a LOGIN ann %01024d\r\n", 0);
    snprintf(long_id, sizeof long_id, "i ID (\"name\" \"%01024d\")\r\n", 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint32_t id = is_greeted(&client);

        says(&client, rows[i].before);
        says(&client, rows[i].login);
        control_hears_of(id, MSG_ADMIT);
        say_lease_of(id, 0, "ann", "");
        backend_greets("ID LITERAL+");
        hears(&backend, " LOGIN ");
        peer_close(&backend);
        assert_fault(id, rows[i].fault);
        say_refuse(id, REFUSE_UNAVAILABLE);
        hears(&client, "a NO [UNAVAILABLE]");
        peer_close(&client);
        assert_ended(id, CLOSE_CLIENT_CLOSED);
    }
    done();
}

static void test_a_new_control_tries_anew(void **state)
{
    uint32_t id;

    (void)state;
    begin_usual();
    id = asks_to_log_in(&client);
    say_lease_of(id, LEASE_IS_TRIAL, "ann", "");
    backend_accepts(&backend);
    lose_control();
    new_control();
    assert_int_equal(((const struct msg_replay *)control_hears_of(id, MSG_REPLAY).body)->flags,
                     LEASE_IS_TRIAL);
    control_hears(MSG_REPLAYED);
    says(&backend, "* OK [CAPABILITY IMAP4rev1] Hi\r\n");
    hears(&backend, "U1 LOGIN \"ann\" \"secret\"\r\n");
    says(&backend, "U1 NO Not here\r\n");
    assert_result(id, RESULT_REFUSED);
    peer_close(&backend);
    lose_control();
    new_control();
    assert_replayed(id, REPLAY_OPEN);
    control_hears_of(id, MSG_ADMIT);
    control_hears(MSG_REPLAYED);
    say_lease_of(id, LEASE_IS_TRIAL, "ann", "");
    backend_says_no("Nor here");
    assert_result(id, RESULT_REFUSED);
    say_refuse(id, REFUSE_CREDENTIALS);
    hears(&client, "a NO Nor here\r\n");
    done();
}

static bool is_sent(uint32_t id)
{
    return ((const struct msg_end *)control_hears_of(id, MSG_END).body)->is_sent;
}

static void test_who_hangs_up_after_a_trial_has_guessed(void **state)
{
    uint32_t id;

    (void)state;
    begin_usual();
    id = asks_to_log_in(&client);
    peer_reset(&client);
    assert_false(is_sent(id));
    id = asks_to_log_in(&client);
    say_lease_of(id, LEASE_IS_TRIAL, "ann", "");
    backend_says_no("Not here");
    assert_result(id, RESULT_REFUSED);
    peer_reset(&client);
    assert_true(is_sent(id));
    done();
}

/* --- refusals --------------------------------------------------------------------------------- */

static void test_refusals_have_words_of_their_own_or_those_of_control(void **state)
{
    static char too_long[600];
    static const struct {
        enum refuse code;
        const char *told, *answer;
    } rows[] = {
        {REFUSE_UNAVAILABLE, "", "a NO [UNAVAILABLE] No mail server can take the login now"},
        {REFUSE_UNAVAILABLE, "Back at 10.", "a NO [UNAVAILABLE] Back at 10.\r\n"},
        {REFUSE_UNAVAILABLE, "[ALERT] Back", "a NO [UNAVAILABLE] No mail server"},
        {REFUSE_UNAVAILABLE, "Back\r\n* BYE", "a NO [UNAVAILABLE] No mail server"},
        {REFUSE_UNAVAILABLE, too_long, "a NO [UNAVAILABLE] No mail server"},
        {REFUSE_DISABLED, "", "a NO [CONTACTADMIN] This account may not log in"},
        {REFUSE_DISABLED, "Moved; ask the help desk",
         "a NO [CONTACTADMIN] Moved; ask the help desk\r\n"},
        {REFUSE_INUSE, "", "a NO [INUSE] The mailbox is being worked on"},
        {REFUSE_CREDENTIALS, "", "a NO [UNAVAILABLE] No mail server"},
    };

    (void)state;
    memset(too_long, 'x', sizeof too_long - 1);
    begin("max_login_commands = 100", "", "");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint32_t id = asks_to_log_in(&client);

        say_refuse_telling(id, rows[i].code, "for the log", rows[i].told);
        hears(&client, rows[i].answer);
        says(&client, "b NOOP\r\n");
        hears(&client, "b OK ");
        peer_close(&client);
        assert_ended(id, CLOSE_CLIENT_CLOSED);
    }
    assert_int_equal(count_of("stage=admit detail=\"for the log\""), sizeof rows / sizeof *rows);
    finish();
}

static void test_a_refusal_that_tells_more_than_it_has_tells_nothing(void **state)
{
    const struct msg_refuse m = {.code = REFUSE_DISABLED, .told_n = 4};
    uint32_t id;

    (void)state;
    begin_usual();
    id = asks_to_log_in(&client);
    send_msg(&world.control, MSG_REFUSE, id, &m, SLICE("why"), -1);
    hears(&client, "a NO [CONTACTADMIN] This account may not log in");
    assert_logged("detail=why");
    done();
}

/* --- whose fault ------------------------------------------------------------------------------ */

static void test_a_backend_that_does_not_serve_is_to_blame(void **state)
{
    static const char *const greetings[] = {"", "220 smtp\r\n", "* BYE full\r\n"};
    uint32_t id;

    (void)state;
    begin_usual();
    id = asks_to_log_in(&client);
    for (size_t i = 0; i < sizeof greetings / sizeof *greetings; i++) {
        say_lease(id);
        backend_accepts(&backend);
        says(&backend, greetings[i]);
        peer_close(&backend);
        assert_fault(id, FAULT_BACKEND);
    }
    done();
}

static void test_a_source_that_cannot_be_bound_is_our_fault(void **state)
{
    uint32_t id;

    (void)state;
    begin("", "", "source = { \"192.0.2.1\" }");
    id = asks_to_log_in(&client);
    say_lease(id);
    assert_fault(id, FAULT_OURS);
    done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_backend_and_the_log_have_the_name_of_the_lease),
        cmocka_unit_test(test_the_backend_is_told_another_name_than_the_log),
        cmocka_unit_test(test_who_logs_in_for_another_stays_as_typed),
        cmocka_unit_test(test_an_authorization_identity_that_says_nothing_is_left_out),
        cmocka_unit_test(test_a_lease_without_a_proper_name_ends_the_session),
        cmocka_unit_test(test_the_no_of_the_last_trial_stands),
        cmocka_unit_test(test_a_trial_that_is_taken_is_a_login),
        cmocka_unit_test(test_after_a_trial_that_failed_no_password_is_wrong),
        cmocka_unit_test(test_another_refusal_than_credentials_hides_the_no_of_a_trial),
        cmocka_unit_test(test_a_no_outside_of_a_trial_stands_at_once),
        cmocka_unit_test(test_a_no_that_says_nothing_of_the_password_charges_nobody),
        cmocka_unit_test(test_a_trial_whose_backend_cannot_say_now_has_failed),
        cmocka_unit_test(test_what_a_client_logs_in_with_is_no_fault_of_the_backend),
        cmocka_unit_test(test_a_backend_that_hangs_up_on_an_odd_login_is_not_to_blame),
        cmocka_unit_test(test_a_new_control_tries_anew),
        cmocka_unit_test(test_who_hangs_up_after_a_trial_has_guessed),
        cmocka_unit_test(test_refusals_have_words_of_their_own_or_those_of_control),
        cmocka_unit_test(test_a_refusal_that_tells_more_than_it_has_tells_nothing),
        cmocka_unit_test(test_a_backend_that_does_not_serve_is_to_blame),
        cmocka_unit_test(test_a_source_that_cannot_be_bound_is_our_fault),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
