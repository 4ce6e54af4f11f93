/* The dialogue of an IMAP client: what it says of itself, and what others are told of a server. */
#include "imapc_talk.h"

/* ---- ID ---- */

#define HELLO_ID       "* OK [CAPABILITY IMAP4rev1 ID SASL-IR AUTH=PLAIN] Hi\r\n"
#define HELLO_ID_LOGIN "* OK [CAPABILITY IMAP4rev1 ID] Hi\r\n"
#define ASK_ID         "U1 ID (\"name\" \"X\" \"os\" NIL)\r\n"
#define ASK_PLAIN_2    "U2 AUTHENTICATE PLAIN AGFubgBzZWNyZXQ=\r\n"
#define OK_CAPS_2      "U2 OK [CAPABILITY IMAP4rev1 IDLE] In\r\n"

static const struct id_pair name_and_os[] = {{SLICE("name"), SLICE("X"), false},
                                             {SLICE("os"), {0}, true}};

static const struct id_pair umlaut[] = {{SLICE("name"), SLICE("\xe4"), false}};

static struct imapc_params with_id(const char *user, const char *password)
{
    struct imapc_params params = with(user, password);

    params.id = (struct id){name_and_os, 2};
    return params;
}

static void test_id_is_sent_together_with_a_login_of_one_piece(void **state)
{
#define BOTH ASK_ID ASK_PLAIN_2
    static const struct row rows[] = {
        {SLICE(HELLO_ID "* ID (\"name\" \"Y\")\r\nU1 OK done\r\n" OK_CAPS_2), BOTH DONE_CAPS},
        {SLICE(HELLO_ID "* ID NIL\r\nU1 OK done\r\n* OK [ALERT] x\r\n* id NIL\r\n" OK_CAPS_2),
         BOTH "{ok [CAPABILITY IMAP4rev1 IDLE] In}{* OK [ALERT] x\r\n}{IMAP4rev1 IDLE}{rest }"},
        /* A refusal of ID is no failure of the login. */
        {SLICE(HELLO_ID "U1 NO no\r\n" OK_CAPS_2), BOTH DONE_CAPS},
        {SLICE(HELLO_ID "U1 BAD no\r\n" OK_CAPS_2), BOTH DONE_CAPS},
        {SLICE(HELLO_ID "U1 BAD no\r\nU2 NO Wrong\r\n"), BOTH "{no Wrong}{}{}{rest }"},
        /* Told before the answer to ID: not about the time after the login. */
        {SLICE(HELLO_ID "* CAPABILITY A\r\nU1 OK [CAPABILITY B] done\r\nU2 OK In\r\n"),
         BOTH "U3 CAPABILITY\r\n{more in after_login}"},
        {SLICE(HELLO_ID "U1 OK done\r\n* CAPABILITY A\r\nU2 OK In\r\n"),
         BOTH "{ok In}{}{A}{rest }"},
        {SLICE(HELLO_ID "U1 OK done\r\n"), BOTH "{more in login}"},
        {SLICE(HELLO_ID "U2 OK In\r\nU1 OK done\r\n"),
         BOTH "{failed in login: the server answers the login before ID: U2 OK In}"},
        {SLICE(HELLO_ID "U1 OK done\r\nU1 OK done\r\n"),
         BOTH "{failed in login: the server answers what was not asked: U1 OK done}"},
        {SLICE(HELLO_ID "+ \r\n"), BOTH "{failed in login: the server asks to go on where there is "
                                        "nothing to go on with: + }"},
        {SLICE(HELLO_ID "* BYE no\r\n"), BOTH "{failed in login: the server says BYE: no}"},
        /* Capabilities are asked for first. */
        {SLICE("* OK Hi\r\n* CAPABILITY IMAP4rev1 ID\r\nU1 OK done\r\n* ID NIL\r\nU2 OK done\r\n"
               "U3 NO Wrong\r\n"),
         ASK_CAPS "U2 ID (\"name\" \"X\" \"os\" NIL)\r\nU3 LOGIN \"ann\" \"secret\"\r\n"
                  "{no Wrong}{}{}{rest }"},
        /* Not offered. */
        {SLICE(HELLO OK_CAPS), ASK_PLAIN DONE_CAPS},
        {SLICE(HELLO "* ID NIL\r\nU1 NO x\r\n"), ASK_PLAIN "{no x}{* ID NIL\r\n}{}{rest }"},
    };

    (void)state;
    check(with_id("ann", "secret"), ROWS(rows));
}

static void test_id_is_not_sent_when_there_is_nothing_to_say(void **state)
{
    static const struct row rows[] = {
        {SLICE(HELLO_ID "* ID NIL\r\nU1 NO x\r\n"), ASK_PLAIN "{no x}{* ID NIL\r\n}{}{rest }"}};

    (void)state;
    check(with("ann", "secret"), ROWS(rows));
}

static void test_login_that_waits_follows_the_answer_to_id(void **state)
{
    static const struct row plain[] = {
        {SLICE("* OK [CAPABILITY IMAP4rev1 ID AUTH=PLAIN] Hi\r\n* ID NIL\r\nU1 OK done\r\n+ "
               "\r\n" OK_CAPS_2),
         ASK_ID "U2 AUTHENTICATE PLAIN\r\nAGFubgBzZWNyZXQ=\r\n" DONE_CAPS},
        {SLICE("* OK [CAPABILITY IMAP4rev1 ID AUTH=PLAIN] Hi\r\n* NO x\r\nU1 BAD no\r\n+ "
               "\r\n" OK_CAPS_2),
         ASK_ID "U2 AUTHENTICATE PLAIN\r\nAGFubgBzZWNyZXQ=\r\n" DONE_CAPS},
        {SLICE("* OK [CAPABILITY ID LOGINDISABLED AUTH=LOGIN] Hi\r\nU1 OK done\r\n"),
         ASK_ID "U2 AUTHENTICATE LOGIN\r\n{more in login}"},
        {SLICE("* OK [CAPABILITY IMAP4rev1 ID AUTH=PLAIN] Hi\r\n"), ASK_ID "{more in id}"},
        {SLICE("* OK [CAPABILITY IMAP4rev1 ID AUTH=PLAIN] Hi\r\n+ \r\n"), ASK_ID
         "{failed in id: the server asks to go on where there is nothing to go on with: + }"},
        {SLICE("* OK [CAPABILITY IMAP4rev1 ID AUTH=PLAIN] Hi\r\nU2 OK x\r\n"),
         ASK_ID "{failed in id: the server answers what was not asked: U2 OK x}"},
        /* The answer may tell something new. */
        {SLICE("* OK [CAPABILITY ID AUTH=PLAIN] Hi\r\nU1 OK [CAPABILITY ID] done\r\n"),
         ASK_ID "U2 LOGIN \"ann\" \"secret\"\r\n{more in login}"},
        {SLICE("* OK [CAPABILITY ID AUTH=PLAIN] Hi\r\nU1 OK [CAPABILITY LOGINDISABLED] done\r\n"),
         ASK_ID "{failed in login: none of AUTH=PLAIN, LOGIN and AUTH=LOGIN is offered: "
                "LOGINDISABLED}"},
    };
    static const struct row literal[] = {
        {SLICE(HELLO_ID_LOGIN "U1 OK done\r\n+ \r\n" OK_CAPS_2),
         ASK_ID "U2 LOGIN \"ann\" {1}\r\n\xe4\r\n" DONE_CAPS},
        {SLICE("* OK [CAPABILITY ID LITERAL+] Hi\r\nU1 OK done\r\n" OK_CAPS_2),
         ASK_ID "U2 LOGIN \"ann\" {1+}\r\n\xe4\r\n" DONE_CAPS},
    };

    static const struct row user[] = {
        {SLICE(HELLO_ID_LOGIN "U1 OK done\r\n+ \r\n" OK_CAPS_2),
         ASK_ID "U2 LOGIN {1}\r\n\xe4 \"secret\"\r\n" DONE_CAPS},
    };

    (void)state;
    check(with_id("ann", "secret"), ROWS(plain));
    check(with_id("ann", "\xe4"), ROWS(literal));
    check(with_id("\xe4", "secret"), ROWS(user));
}

static void test_id_with_literals(void **state)
{
    struct imapc_params params = with("ann", "secret");
    static const struct row rows[] = {
        {SLICE(HELLO_ID "+ \r\nU1 OK done\r\n" OK_CAPS_2),
         "U1 ID (\"name\" {1}\r\n\xe4)\r\n" ASK_PLAIN_2 DONE_CAPS},
        {SLICE("* OK [CAPABILITY ID LITERAL- SASL-IR AUTH=PLAIN] Hi\r\nU1 OK done\r\n" OK_CAPS_2),
         "U1 ID (\"name\" {1+}\r\n\xe4)\r\n" ASK_PLAIN_2 DONE_CAPS},
        {SLICE(HELLO_ID "U1 BAD no literals\r\n" OK_CAPS_2),
         "U1 ID (\"name\" {1}\r\n" ASK_PLAIN_2 DONE_CAPS},
        {SLICE(HELLO_ID "U1 OK what\r\n"),
         "U1 ID (\"name\" {1}\r\n{failed in id: the server says OK to half an ID: what}"},
    };

    (void)state;
    params.id = (struct id){umlaut, 1};
    check(params, ROWS(rows));
}

static void test_id_that_does_not_fit_is_a_failure(void **state)
{
    const struct imapc_params params = with_id("ann", "secret");

    (void)state;
    for (uint32_t most = 0; most < strlen(ASK_ID ASK_PLAIN_2); most++) {
        struct imapc *c = imapc_new(&params);

        imapc_out(c)->max = most;
        assert_int_equal(buf_puts(imapc_in(c), HELLO_ID), 0);
        assert_int_equal(imapc_step(c), IMAPC_FAILED);
        assert_string_equal(imapc_failure(c), "memory is out");
        imapc_free(&c);
    }
}

static void test_id_is_only_sent_within_tls(void **state)
{
    struct imapc_params params = with_id("ann", "secret");
    static const struct row rows[] = {
        {SLICE("* OK [CAPABILITY IMAP4rev1 ID STARTTLS] Hi\r\nU1 OK go\r\n\f"
               "* CAPABILITY IMAP4rev1 ID\r\nU2 OK done\r\n"),
         "U1 STARTTLS\r\n{tls}U2 CAPABILITY\r\nU3 ID (\"name\" \"X\" \"os\" NIL)\r\n"
         "U4 LOGIN \"ann\" \"secret\"\r\n{more in login}"}};

    (void)state;
    params.wants_starttls = true;
    check(params, ROWS(rows));
}

/* ---- What the client is told, and what the log ---- */

static void test_unauthenticate_is_not_told(void **state)
{
    static const struct row rows[] = {
        {SLICE(HELLO "U1 OK [CAPABILITY A UNAUTHENTICATE  B] In\r\n"),
         ASK_PLAIN "{ok [CAPABILITY A  B] In}{}{A  B}{rest }"},
        {SLICE(HELLO "U1 OK [capability unauthenticate] UNAUTHENTICATE\r\n"),
         ASK_PLAIN "{ok [capability ] UNAUTHENTICATE}{}{}{rest }"},
        {SLICE(HELLO "U1 OK [X UNAUTHENTICATE] In\r\n* CAPABILITY UNAUTHENTICATE=X A "
                     "UNAUTHENTICATE\r\nU2 OK x\r\n"),
         ASK_PLAIN "U2 CAPABILITY\r\n{ok [X UNAUTHENTICATE] In}{}{UNAUTHENTICATE=X A}{rest }"},
        {SLICE(HELLO "* OK [CAPABILITY UNAUTHENTICATE A] x\r\nU1 OK In\r\n"),
         ASK_PLAIN "{ok In}{}{A}{rest }"},
        {SLICE(HELLO "U1 OK [CAPABILITY] In\r\n"), ASK_PLAIN "{ok [CAPABILITY] In}{}{}{rest }"},
        {SLICE(HELLO "U1 NO [CAPABILITY A UNAUTHENTICATE] no\r\n"), ASK_PLAIN "{no no}{}{}{rest }"},
    };

    (void)state;
    check(with("ann", "secret"), ROWS(rows));
}

static void test_offers_are_those_from_before_the_login(void **state)
{
    const struct imapc_params params = with("ann", "secret");
    struct imapc *c = imapc_new(&params);

    (void)state;
    assert_false(imapc_offers(c, "LITERAL+"));
    assert_int_equal(buf_puts(imapc_in(c), "* OK [CAPABILITY IMAP4rev1 LITERAL+ "
                                           "UNAUTHENTICATE] Hi\r\nU1 OK [CAPABILITY X] In\r\n"),
                     0);
    assert_int_equal(imapc_step(c), IMAPC_DONE);
    assert_true(imapc_offers(c, "LITERAL+"));
    assert_true(imapc_offers(c, "literal+"));
    assert_true(imapc_offers(c, "UNAUTHENTICATE"));
    assert_false(imapc_offers(c, "LITERAL"));
    assert_false(imapc_offers(c, "X"));
    imapc_free(&c);
}

static void assert_log_text(struct imapc_params params, const char *hello, const char *text,
                            const char *expected)
{
    struct imapc *c = imapc_new(&params);
    struct slice got;

    assert_int_equal(buf_puts(imapc_in(c), hello), 0);
    assert_int_equal(buf_printf(imapc_in(c), "U1 NO %s\r\n", text), 0);
    assert_int_equal(imapc_step(c), IMAPC_DONE);
    got = imapc_log_text(c);
    assert_int_equal(got.n, strlen(expected));
    assert_memory_equal(got.p, expected, got.n);
    assert_true(slice_eq(imapc_answer(c)->text, slice_str(text)));
    imapc_free(&c);
}

static void test_text_for_the_log_never_holds_the_password(void **state)
{
#define HIDDEN "(words that hold the password)"
    static const struct {
        const char *password, *text, *log;
    } rows[] = {
        {"secret", "[AUTHENTICATIONFAILED] Wrong", "[AUTHENTICATIONFAILED] Wrong"},
        {"secret", "Wrong: secret", HIDDEN},
        {"secret", "LOGIN ann \"secret\"?", HIDDEN},
        {"secret", "Secret, secre t", "Secret, secre t"},
        /* \0ann\0secret and secret in base 64, with and without padding. */
        {"secret", "AGFubgBzZWNyZXQ=?", HIDDEN},
        {"secret", "AGFubgBzZWNyZXQ", HIDDEN},
        {"secret", "c2VjcmV0", HIDDEN},
        {"secrets", "c2VjcmV0cw==", HIDDEN},
        {"secrets", "c2VjcmV0cw", HIDDEN},
        {"s\"t\\", "what is \"s\\\"t\\\\\"?", HIDDEN},
        {"s\"t\\", "what is s\"t\\?", HIDDEN},
        {"s\"t\\", "what is s\\\"t?", "what is s\\\"t?"},
        {"", "Wrong", "Wrong"},
        {"secret", "", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct imapc_params params = with("ann", rows[i].password);

        assert_log_text(params, HELLO, rows[i].text, rows[i].log);
        assert_log_text(params, HELLO_LOGIN, rows[i].text, rows[i].log);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_id_is_sent_together_with_a_login_of_one_piece),
        cmocka_unit_test(test_id_is_not_sent_when_there_is_nothing_to_say),
        cmocka_unit_test(test_login_that_waits_follows_the_answer_to_id),
        cmocka_unit_test(test_id_with_literals),
        cmocka_unit_test(test_id_that_does_not_fit_is_a_failure),
        cmocka_unit_test(test_id_is_only_sent_within_tls),
        cmocka_unit_test(test_unauthenticate_is_not_told),
        cmocka_unit_test(test_offers_are_those_from_before_the_login),
        cmocka_unit_test(test_text_for_the_log_never_holds_the_password),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
