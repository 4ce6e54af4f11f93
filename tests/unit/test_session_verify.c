/* Passwords that lookup verifies: what the worker asks, what becomes of its answers, and what
 * backends are shown because of them. */
#include "worker_world.h"

#include "base/secret.h"

static struct peer client, backend;

static void done(void)
{
    peer_close(&client);
    peer_close(&backend);
    finish();
}

static struct msg lookup_hears(uint32_t id)
{
    struct msg m = hears_at(&world.lookup, MSG_VERIFY);

    assert_int_equal(m.id, id);
    return m;
}

static uint32_t question_of(struct msg m)
{
    return ((const struct msg_verify *)m.body)->question;
}

/* A login that lookup is asked about. Returns the question. */
static uint32_t is_asked_about(uint32_t *out_id)
{
    *out_id = asks_to_log_in(&client);
    say_lease_of(*out_id, LEASE_VERIFY, "ann", "");
    return question_of(lookup_hears(*out_id));
}

static void say_verified_with(uint32_t id, struct msg_verified m, const char *tail)
{
    send_msg(&world.lookup, MSG_VERIFIED, id, &m, slice_str(tail), -1);
}

static void say_verified(uint32_t id, uint32_t question, enum verified verified)
{
    say_verified_with(
        id, (struct msg_verified){.verified = (uint16_t)verified, .question = question}, "");
}

/* What the backend is shown. */
static void is_shown(const char *capabilities, const char *login)
{
    char greeting[128];

    backend_accepts(&backend);
    snprintf(greeting, sizeof greeting, "* OK [CAPABILITY IMAP4rev1 %s] Hi\r\n", capabilities);
    says(&backend, greeting);
    hears(&backend, login);
}

static void assert_gave_up(uint32_t id, enum result result)
{
    const struct msg_result *r = control_hears_of(id, MSG_RESULT).body;

    assert_int_equal(r->result, result);
    assert_int_equal(r->lease.number, id);
}

static void begin_with_lookup(const char *settings)
{
    begin(settings, "", "");
    new_lookup();
}

/* --- answers ---------------------------------------------------------------------------------- */

static void test_a_right_password_is_shown_to_the_backend(void **state)
{
    uint32_t id;
    struct msg m;

    (void)state;
    begin_with_lookup("");
    id = asks_to_log_in(&client);
    say_lease_of(id, LEASE_VERIFY, "ann@example.org", "");
    m = lookup_hears(id);
    assert_int_equal(((const struct msg_verify *)m.body)->name_n, 15);
    assert_true(slice_eq(m.tail, SLICE("ann@example.orgsecret")));
    say_verified(id, question_of(m), VERIFIED_OK);
    is_shown("", "U1 LOGIN \"ann@example.org\" \"secret\"\r\n");
    says(&backend, "U1 OK [CAPABILITY IMAP4rev1] In\r\n");
    assert_result(id, RESULT_OK);
    say_done(id);
    hears(&client, "a OK ");
    assert_relays(&client, &backend);
    done();
}

static void test_the_backend_is_not_dialled_before_the_answer(void **state)
{
    uint32_t id, question;

    (void)state;
    begin_with_lookup("");
    question = is_asked_about(&id);
    turn_for(100);
    assert_int_equal(listen_accept(world.backend_fd, &(struct addr){0}, NULL), -1);
    say_verified(id, question, VERIFIED_OK);
    is_shown("", "U1 LOGIN");
    done();
}

static void test_a_wrong_password_is_refused_with_the_same_words_each_time(void **state)
{
    (void)state;
    begin_with_lookup("login_tries = 2");
    for (int i = 0; i < 2; i++) {
        uint32_t id, question = is_asked_about(&id);

        /* A trial too: lookup's word is the last. */
        say_verified(id, question, VERIFIED_REFUSED);
        assert_gave_up(id, RESULT_DENIED);
        hears(&client, "a NO [AUTHENTICATIONFAILED] Wrong user name or password\r\n");
        says(&client, "b NOOP\r\n");
        hears(&client, "b OK");
        peer_close(&client);
        assert_ended(id, CLOSE_CLIENT_CLOSED);
    }
    assert_logged("login_refused");
    assert_logged("code=AUTHENTICATIONFAILED");
    assert_not_logged("login_failed");
    finish();
}

static void test_a_wrong_password_counts_as_a_try(void **state)
{
    uint32_t id, question;

    (void)state;
    begin_with_lookup("login_tries = 1");
    question = is_asked_about(&id);
    say_verified(id, question, VERIFIED_REFUSED);
    assert_gave_up(id, RESULT_DENIED);
    hears(&client, "a NO [AUTHENTICATIONFAILED]");
    assert_ended(id, CLOSE_LOGIN_TRIES);
    done();
}

static void test_what_cannot_be_verified_is_unavailable(void **state)
{
    static const uint16_t verified[] = {VERIFIED_UNAVAILABLE, 77};

    (void)state;
    begin_with_lookup("");
    for (size_t i = 0; i < sizeof verified / sizeof *verified; i++) {
        uint32_t id, question = is_asked_about(&id);

        say_verified_with(id, (struct msg_verified){.verified = verified[i], .question = question},
                          "the directory is down");
        assert_gave_up(id, RESULT_WITHDRAWN);
        hears(&client, "a NO [UNAVAILABLE]");
        peer_close(&client);
        assert_ended(id, CLOSE_CLIENT_CLOSED);
    }
    assert_logged("stage=verify detail=\"the directory is down\"");
    assert_not_logged("login_refused");
    finish();
}

static void test_a_lookup_that_hangs_makes_it_unavailable(void **state)
{
    uint32_t id;

    (void)state;
    begin_with_lookup("directory_timeout = 100ms");
    is_asked_about(&id);
    turn_for(VERIFY_BEYOND_MS - 100);
    assert_not_logged("login_failed");
    assert_gave_up(id, RESULT_WITHDRAWN);
    hears(&client, "a NO [UNAVAILABLE]");
    assert_logged("within directory_timeout");
    done();
}

static void test_the_end_of_login_timeout_comes_first(void **state)
{
    uint32_t id;

    (void)state;
    begin_with_lookup("login_timeout = 1s");
    is_asked_about(&id);
    assert_ended(id, CLOSE_LOGIN_TIMEOUT);
    hears(&client, "a NO [UNAVAILABLE]");
    hears(&client, "* BYE Login took too long.\r\n");
    assert_logged("detail=verify");
    done();
}

/* The answer to one login must not let another pass. */
static void test_a_late_answer_is_not_that_of_the_next_login(void **state)
{
    uint32_t id, first, second;

    (void)state;
    begin_with_lookup("directory_timeout = 100ms");
    first = is_asked_about(&id);
    assert_gave_up(id, RESULT_WITHDRAWN);
    hears(&client, "a NO [UNAVAILABLE]");
    says(&client, "b LOGIN bob guess\r\n");
    control_hears_of(id, MSG_ADMIT);
    say_lease_of(id, LEASE_VERIFY, "bob", "");
    second = question_of(lookup_hears(id));
    assert_int_not_equal(first, second);
    say_verified(id, first, VERIFIED_OK);
    turn_for(100);
    assert_int_equal(listen_accept(world.backend_fd, &(struct addr){0}, NULL), -1);
    say_verified(id, second, VERIFIED_REFUSED);
    hears(&client, "b NO [AUTHENTICATIONFAILED]");
    done();
}

static void test_a_login_is_verified_once_for_all_its_leases(void **state)
{
    uint32_t id, question;

    (void)state;
    begin_with_lookup("");
    question = is_asked_about(&id);
    say_verified(id, question, VERIFIED_OK);
    backend_accepts(&backend);
    peer_close(&backend);
    assert_result(id, RESULT_FAILED);
    say_lease_of(id, LEASE_VERIFY, "ann", "");
    is_shown("", "U1 LOGIN \"ann\" \"secret\"\r\n");
    peer_close(&backend);
    assert_result(id, RESULT_FAILED);
    /* but of this user alone */
    say_lease_of(id, LEASE_VERIFY, "bob", "");
    assert_true(slice_eq(lookup_hears(id).tail, SLICE("bobsecret")));
    done();
}

static void test_the_next_login_is_verified_anew(void **state)
{
    uint32_t id, question;

    (void)state;
    begin_with_lookup("");
    question = is_asked_about(&id);
    say_verified(id, question, VERIFIED_OK);
    is_shown("", "U1 LOGIN \"ann\" \"secret\"\r\n");
    says(&backend, "U1 NO Not with me\r\n");
    assert_result(id, RESULT_REFUSED);
    hears(&client, "a NO Not with me\r\n");
    says(&client, "b LOGIN ann guess\r\n");
    control_hears_of(id, MSG_ADMIT);
    say_lease_of(id, LEASE_VERIFY, "ann", "");
    assert_true(slice_eq(lookup_hears(id).tail, SLICE("annguess")));
    done();
}

/* What was to be shown for one user neither is for another, nor stands in the way of what is. */
static void test_what_was_for_one_user_is_not_for_another(void **state)
{
    uint32_t id, question;

    (void)state;
    begin_with_lookup("");
    question = is_asked_about(&id);
    say_verified_with(
        id, (struct msg_verified){.password_n = 4, .is_replaced = 1, .question = question}, "deep");
    backend_accepts(&backend);
    peer_close(&backend);
    assert_result(id, RESULT_FAILED);
    say_lease_of(id, LEASE_VERIFY, "bob", "");
    question = question_of(lookup_hears(id));
    say_verified_with(
        id, (struct msg_verified){.password_n = 4, .is_replaced = 1, .question = question}, "bobs");
    is_shown("", "U1 LOGIN \"bob\" \"bobs\"\r\n");
    done();
}

/* --- what the backend is shown ---------------------------------------------------------------- */

static void is_verified_with(struct msg_verified m, const char *told, const char *tail)
{
    uint32_t id = asks_to_log_in(&client);

    say_lease_of(id, LEASE_VERIFY, "ann", told);
    m.question = question_of(lookup_hears(id));
    say_verified_with(id, m, tail);
}

static void test_the_backend_is_shown_another_password(void **state)
{
    (void)state;
    begin_with_lookup("");
    is_verified_with((struct msg_verified){.password_n = 4, .is_replaced = 1}, "", "deep");
    is_shown("", "U1 LOGIN \"ann\" \"deep\"\r\n");
    done();
}

static void test_the_backend_is_shown_another_user_too(void **state)
{
    (void)state;
    begin_with_lookup("");
    is_verified_with((struct msg_verified){.user_n = 5, .password_n = 4, .is_replaced = 1}, "",
                     "innerdeep");
    is_shown("", "U1 LOGIN \"inner\" \"deep\"\r\n");
    done();
}

static void test_a_master_logs_in_for_the_user(void **state)
{
    (void)state;
    begin_with_lookup("");
    is_verified_with(
        (struct msg_verified){
            .user_n = 6, .password_n = 3, .told_n = 3, .is_replaced = 1, .is_master = 1},
        "u42", "mastertopu42");
    is_shown("SASL-IR AUTH=PLAIN",
             "U1 AUTHENTICATE PLAIN dTQyAG1hc3RlcgB0b3A=\r\n"); /* u42 master top */
    done();
}

static void test_a_backend_that_takes_no_master_has_failed(void **state)
{
    uint32_t id, question;

    (void)state;
    begin_with_lookup("");
    question = is_asked_about(&id);
    say_verified_with(
        id,
        (struct msg_verified){
            .user_n = 6, .password_n = 3, .is_replaced = 1, .is_master = 1, .question = question},
        "mastertop");
    backend_accepts(&backend);
    says(&backend, "* OK [CAPABILITY IMAP4rev1] Hi\r\n");
    assert_result(id, RESULT_FAILED);
    assert_logged("backend_failed");
    assert_not_logged("login_refused");
    assert_not_logged("top");
    say_refuse(id, REFUSE_UNAVAILABLE);
    hears(&client, "a NO [UNAVAILABLE]");
    done();
}

/* The client has given the right password; what the backend says of another is not for it. */
static void test_a_no_to_another_password_is_nobody_elses_fault(void **state)
{
    const struct msg_result *r;
    uint32_t id, question;

    (void)state;
    begin_with_lookup("");
    question = is_asked_about(&id);
    say_verified_with(
        id, (struct msg_verified){.password_n = 4, .is_replaced = 1, .question = question}, "deep");
    is_shown("", "U1 LOGIN \"ann\" \"deep\"\r\n");
    says(&backend, "U1 NO \"deep\" is wrong\r\n");
    r = control_hears_of(id, MSG_RESULT).body;
    assert_int_equal(r->result, RESULT_FAILED);
    assert_int_equal(r->fault, FAULT_OURS);
    assert_not_logged("deep");
    assert_not_logged("login_refused");
    say_refuse(id, REFUSE_UNAVAILABLE);
    hears(&client, "a NO [UNAVAILABLE]");
    assert_null(strstr(client.got, "deep"));
    done();
}

static void test_nor_is_that_of_a_trial(void **state)
{
    uint32_t id;
    struct msg m;

    (void)state;
    begin_with_lookup("");
    id = asks_to_log_in(&client);
    say_lease_of(id, LEASE_VERIFY | LEASE_IS_TRIAL, "ann", "");
    m = lookup_hears(id);
    say_verified_with(
        id, (struct msg_verified){.password_n = 4, .is_replaced = 1, .question = question_of(m)},
        "deep");
    is_shown("", "U1 LOGIN \"ann\" \"deep\"\r\n");
    says(&backend, "U1 NO \"deep\" is wrong\r\n");
    assert_result(id, RESULT_REFUSED);
    say_refuse(id, REFUSE_CREDENTIALS);
    hears(&client, "a NO [UNAVAILABLE]");
    assert_not_logged("login_refused");
    done();
}

/* Whoever knows the user's password is the user, and nobody else. */
static void test_who_speaks_for_another_is_verified_as_that_one(void **state)
{
    uint32_t id;
    struct msg m;

    (void)state;
    begin_with_lookup("");
    id = is_greeted(&client);
    /* "Bob", "admin", "secret" */
    says(&client, "a AUTHENTICATE PLAIN Qm9iAGFkbWluAHNlY3JldA==\r\n");
    control_hears_of(id, MSG_ADMIT);
    say_lease_of(id, LEASE_VERIFY, "bob", "");
    m = lookup_hears(id);
    assert_true(slice_eq(m.tail, SLICE("bobsecret")));
    say_verified(id, question_of(m), VERIFIED_OK);
    is_shown("", "U1 LOGIN \"bob\" \"secret\"\r\n");
    done();
}

static void test_an_answer_that_makes_no_sense_is_unavailable(void **state)
{
    static const struct {
        struct msg_verified m;
        struct slice tail;
    } rows[] = {
        {{.user_n = 3, .password_n = 3, .is_replaced = 1}, SLICE("short")},
        {{.user_n = 65535, .password_n = 65535, .is_replaced = 1}, SLICE("short")},
        {{.password_n = 3, .is_replaced = 1}, SLICE("a\0b")},
        {{.password_n = 3, .is_replaced = 1}, SLICE("a\nb")},
        {{.password_n = 3, .is_replaced = 1, .is_master = 1}, SLICE("abc")},
        {{.user_n = 3, .is_master = 1}, SLICE("abc")},
    };

    (void)state;
    begin_with_lookup("");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint32_t id, question = is_asked_about(&id);
        struct msg_verified m = rows[i].m;

        m.question = question;
        send_msg(&world.lookup, MSG_VERIFIED, id, &m, rows[i].tail, -1);
        assert_gave_up(id, RESULT_WITHDRAWN);
        hears(&client, "a NO [UNAVAILABLE]");
        peer_close(&client);
        assert_ended(id, CLOSE_CLIENT_CLOSED);
    }
    finish();
}

/* The hash is of whoever has the name by now; the lease may be older than that. */
static void test_a_directory_that_has_changed_its_mind_about_the_name_lets_nobody_in(void **state)
{
    static const struct {
        const char *leased, *verified;
    } rows[] = {{"ann2", "bob2"}, {"ann2", ""}, {"", "bob2"}};

    (void)state;
    begin_with_lookup("");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint32_t id = asks_to_log_in(&client);
        struct msg_verified m = {.told_n = (uint16_t)strlen(rows[i].verified)};

        say_lease_of(id, LEASE_VERIFY, "ann", rows[i].leased);
        m.question = question_of(lookup_hears(id));
        say_verified_with(id, m, rows[i].verified);
        assert_gave_up(id, RESULT_WITHDRAWN);
        hears(&client, "a NO [UNAVAILABLE]");
        peer_close(&client);
        assert_ended(id, CLOSE_CLIENT_CLOSED);
    }
    assert_logged("the directory has another name for the backend by now");
    finish();
}

/* --- passwords -------------------------------------------------------------------------------- */

static void test_a_password_that_no_hash_can_be_of_is_wrong_at_once(void **state)
{
    char login[VERIFY_PASSWORD_MAX + 64];
    uint32_t id;

    (void)state;
    begin_with_lookup("");
    for (int more = 0; more < 2; more++) {
        id = is_greeted(&client);
        snprintf(login, sizeof login, "a LOGIN ann %0*d\r\n", VERIFY_PASSWORD_MAX + more, 0);
        says(&client, login);
        control_hears_of(id, MSG_ADMIT);
        say_lease_of(id, LEASE_VERIFY, "ann", "");
        if (more == 0) {
            assert_int_equal(lookup_hears(id).tail.n, 3 + VERIFY_PASSWORD_MAX);
            peer_reset(&client);
            control_hears_of(id, MSG_END);
        } else {
            assert_gave_up(id, RESULT_DENIED);
            hears(&client, "a NO [AUTHENTICATIONFAILED] Wrong user name or password\r\n");
        }
    }
    done();
}

static void test_no_secret_is_left_after_the_login(void **state)
{
    uint32_t id, question;
    size_t before, on_heap;

    (void)state;
    begin_with_lookup("");
    settle(); /* what was said to lookup has gone */
    before = secret_used();
    on_heap = secret_on_heap();
    question = is_asked_about(&id);
    assert_true(secret_used() > before);
    say_verified_with(
        id, (struct msg_verified){.password_n = 4, .is_replaced = 1, .question = question}, "deep");
    is_shown("", "U1 LOGIN \"ann\" \"deep\"\r\n");
    says(&backend, "U1 OK [CAPABILITY IMAP4rev1] In\r\n");
    assert_result(id, RESULT_OK);
    say_done(id);
    hears(&client, "a OK ");
    settle();
    assert_int_equal(secret_used(), before);
    assert_int_equal(secret_on_heap(), on_heap);
    done();
}

/* --- lookup and control come and go ----------------------------------------------------------- */

static void test_the_next_lookup_is_asked_again(void **state)
{
    uint32_t id, question;
    struct msg m;

    (void)state;
    begin_with_lookup("");
    question = is_asked_about(&id);
    new_lookup();
    m = lookup_hears(id);
    assert_int_equal(question_of(m), question);
    assert_true(slice_eq(m.tail, SLICE("annsecret")));
    say_verified(id, question, VERIFIED_OK);
    is_shown("", "U1 LOGIN \"ann\" \"secret\"\r\n");
    done();
}

static void test_the_parent_is_asked_for_a_lookup_as_long_as_there_is_none(void **state)
{
    uint32_t id;

    (void)state;
    begin_with_lookup("");
    close(world.lookup.fd);
    world.lookup.fd = -1;
    for (int i = 0; i < 2; i++) {
        struct msg m = hears_at(&world.parent, MSG_REJOIN);

        assert_int_equal(((const struct msg_rejoin *)m.body)->role, ROLE_LOOKUP);
    }
    id = asks_to_log_in(&client);
    say_lease_of(id, LEASE_VERIFY, "ann", "");
    settle();
    new_lookup();
    lookup_hears(id);
    done();
}

static void test_a_new_control_is_told_of_the_lease(void **state)
{
    const struct msg_replay *replay;
    uint32_t id, question;
    struct msg m;

    (void)state;
    begin_with_lookup("");
    question = is_asked_about(&id);
    lose_control();
    new_control();
    m = control_hears_of(id, MSG_REPLAY);
    replay = m.body;
    assert_int_equal(replay->stage, REPLAY_LEASED);
    assert_int_equal(replay->flags, LEASE_VERIFY);
    control_hears(MSG_REPLAYED);
    say_verified(id, question, VERIFIED_REFUSED);
    assert_gave_up(id, RESULT_DENIED);
    hears(&client, "a NO [AUTHENTICATIONFAILED]");
    done();
}

static void test_who_hangs_up_while_asked_about_has_guessed(void **state)
{
    uint32_t id;

    (void)state;
    begin_with_lookup("");
    is_asked_about(&id);
    peer_reset(&client);
    assert_true(((const struct msg_end *)control_hears_of(id, MSG_END).body)->is_sent);
    /* an answer to nobody */
    say_verified(id, 1, VERIFIED_OK);
    settle();
    finish();
}

static void test_who_hangs_up_after_a_right_password_has_not(void **state)
{
    uint32_t id, question;

    (void)state;
    begin_with_lookup("");
    question = is_asked_about(&id);
    say_verified(id, question, VERIFIED_OK);
    is_shown("", "U1 LOGIN \"ann\" \"secret\"\r\n");
    peer_reset(&client);
    assert_false(((const struct msg_end *)control_hears_of(id, MSG_END).body)->is_sent);
    done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_right_password_is_shown_to_the_backend),
        cmocka_unit_test(test_the_backend_is_not_dialled_before_the_answer),
        cmocka_unit_test(test_a_wrong_password_is_refused_with_the_same_words_each_time),
        cmocka_unit_test(test_a_wrong_password_counts_as_a_try),
        cmocka_unit_test(test_what_cannot_be_verified_is_unavailable),
        cmocka_unit_test(test_a_lookup_that_hangs_makes_it_unavailable),
        cmocka_unit_test(test_the_end_of_login_timeout_comes_first),
        cmocka_unit_test(test_a_late_answer_is_not_that_of_the_next_login),
        cmocka_unit_test(test_a_login_is_verified_once_for_all_its_leases),
        cmocka_unit_test(test_the_next_login_is_verified_anew),
        cmocka_unit_test(test_what_was_for_one_user_is_not_for_another),
        cmocka_unit_test(test_the_backend_is_shown_another_password),
        cmocka_unit_test(test_the_backend_is_shown_another_user_too),
        cmocka_unit_test(test_a_master_logs_in_for_the_user),
        cmocka_unit_test(test_a_backend_that_takes_no_master_has_failed),
        cmocka_unit_test(test_a_no_to_another_password_is_nobody_elses_fault),
        cmocka_unit_test(test_nor_is_that_of_a_trial),
        cmocka_unit_test(test_who_speaks_for_another_is_verified_as_that_one),
        cmocka_unit_test(test_an_answer_that_makes_no_sense_is_unavailable),
        cmocka_unit_test(test_a_directory_that_has_changed_its_mind_about_the_name_lets_nobody_in),
        cmocka_unit_test(test_a_password_that_no_hash_can_be_of_is_wrong_at_once),
        cmocka_unit_test(test_no_secret_is_left_after_the_login),
        cmocka_unit_test(test_the_next_lookup_is_asked_again),
        cmocka_unit_test(test_the_parent_is_asked_for_a_lookup_as_long_as_there_is_none),
        cmocka_unit_test(test_a_new_control_is_told_of_the_lease),
        cmocka_unit_test(test_who_hangs_up_while_asked_about_has_guessed),
        cmocka_unit_test(test_who_hangs_up_after_a_right_password_has_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
