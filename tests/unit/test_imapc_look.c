/* The dialogue of an IMAP client that only looks: all that is told without a login, and that there
 * never is one. */
#include "imapc_talk.h"
#include "no_memory.h"

static const struct id_pair usher[] = {{SLICE("name"), SLICE("usher"), false}};
static const struct id_pair umlaut[] = {{SLICE("name"), SLICE("\xe4"), false}};

static struct imapc_params looks(void)
{
    return (struct imapc_params){
        .only_looks = true, .id = {usher, 1}, .max_line = 120, .max_untagged = 160};
}

static struct imapc_params looks_within_tls(void)
{
    struct imapc_params params = looks();

    params.wants_starttls = true;
    return params;
}

/* Tells what was found, also on the way to a failure. */
static char *look(const void *arg, struct pieces *p)
{
    struct imapc *c = imapc_new(arg);
    struct buf told;
    bool is_over = false;

    assert_non_null(c);
    told_init(&told);
    while (!is_over) {
        enum imapc_outcome outcome = imapc_step(c);

        tell_sent(&told, imapc_out(c));
        is_over = outcome == IMAPC_DONE || outcome == IMAPC_FAILED;
        if (outcome == IMAPC_STARTTLS) {
            tell(&told, "{tls}");
            imapc_tls_started(c);
        } else if (outcome == IMAPC_MORE && !pieces_feed(p, imapc_in(c))) {
            imapc_closed(c);
        }
        if (outcome == IMAPC_FAILED)
            tell(&told, "{failed in %s: %s}", imapc_stage_name(imapc_stage(c)), imapc_failure(c));
    }
    tell(&told, "{%.*s}{%.*s}%s", SLICE_ARG(imapc_capabilities(c)), SLICE_ARG(imapc_id(c)),
         imapc_is_preauth(c) ? "{preauth}" : "");
    imapc_free(&c);
    return told_done(&told);
}

static void check_look(struct imapc_params params, const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_talk(look, &params, rows[i].input, rows[i].told);
}

#define ASK_ID_1 "U1 ID (\"name\" \"usher\")\r\n"
#define ASK_ID_2 "U2 ID (\"name\" \"usher\")\r\n"
#define HELLO_ID "* OK [CAPABILITY IMAP4rev1 ID] Hi\r\n"

static void test_capabilities_and_id_are_asked_for_and_no_login_follows(void **state)
{
    static const struct row rows[] = {
        {SLICE("* OK Hi\r\n* CAPABILITY IMAP4rev1 ID\r\nU1 OK done\r\n"
               "* ID (\"name\" \"Dovecot\")\r\nU2 OK done\r\n"),
         ASK_CAPS ASK_ID_2 "{IMAP4rev1 ID}{(\"name\" \"Dovecot\")}"},
        {SLICE(HELLO_ID "* ID NIL\r\nU1 OK done\r\n"), ASK_ID_1 "{IMAP4rev1 ID}{NIL}"},
        {SLICE(HELLO_ID "* ID (\"name\" {3}\r\na\"b)\r\nU1 OK done\r\n"),
         ASK_ID_1 "{IMAP4rev1 ID}{(\"name\" {3}\r\na\"b)}"},
        /* What cannot log in can be looked at. */
        {SLICE("* OK [CAPABILITY LOGINDISABLED STARTTLS] Hi\r\n"), "{LOGINDISABLED STARTTLS}{}"},
        {SLICE("* OK [CAPABILITY AUTH=PLAIN LOGINDISABLED SASL-IR] Hi\r\n"),
         "{AUTH=PLAIN LOGINDISABLED SASL-IR}{}"},
        /* Told by the answer alone. */
        {SLICE("* OK Hi\r\nU1 OK [CAPABILITY IMAP4rev1] done\r\n"), ASK_CAPS "{IMAP4rev1}{}"},
    };

    (void)state;
    check_look(looks(), ROWS(rows));
}

static void test_id_that_was_not_answered_is_empty(void **state)
{
    static const struct row rows[] = {
        {SLICE(HELLO_ID "U1 OK done\r\n"), ASK_ID_1 "{IMAP4rev1 ID}{}"},
        {SLICE(HELLO_ID "U1 BAD no\r\n"), ASK_ID_1 "{IMAP4rev1 ID}{}"},
        {SLICE(HELLO_ID "U1 NO no\r\n"), ASK_ID_1 "{IMAP4rev1 ID}{}"},
        /* What looks like an answer before there was a question is none. */
        {SLICE("* OK Hi\r\n* ID (\"name\" \"X\")\r\n* CAPABILITY IMAP4rev1\r\nU1 OK done\r\n"),
         ASK_CAPS "{IMAP4rev1}{}"},
        {SLICE(HELLO_ID "* NO [CAPABILITY X] ID\r\nU1 OK done\r\n"), ASK_ID_1 "{IMAP4rev1 ID}{}"},
    };

    (void)state;
    check_look(looks(), ROWS(rows));
}

static void test_of_several_answers_the_last_counts(void **state)
{
    static const struct row rows[] = {
        {SLICE(HELLO_ID "* ID NIL\r\n* id (\"a\" \"b\")\r\n* OK [CAPABILITY A] x\r\n* 3 EXISTS\r\n"
                        "U1 OK [CAPABILITY B] done\r\n"),
         ASK_ID_1 "{B}{(\"a\" \"b\")}"},
        {SLICE(HELLO_ID "* ID (\"a\" \"b\")\r\n* ID\r\nU1 OK done\r\n"),
         ASK_ID_1 "{IMAP4rev1 ID}{}"},
    };

    (void)state;
    check_look(looks(), ROWS(rows));
}

static void test_nothing_is_said_with_id_when_there_is_nothing_to_say(void **state)
{
    struct imapc_params params = looks();
    static const struct row rows[] = {{SLICE(HELLO_ID), "{IMAP4rev1 ID}{}"}};

    (void)state;
    params.id = (struct id){0};
    check_look(params, ROWS(rows));
}

static void test_id_that_the_server_has_to_ask_for(void **state)
{
    struct imapc_params params = looks();
    static const struct row rows[] = {
        {SLICE(HELLO_ID "+ go\r\n* ID NIL\r\nU1 OK done\r\n"),
         "U1 ID (\"name\" {1}\r\n\xe4)\r\n{IMAP4rev1 ID}{NIL}"},
        {SLICE(HELLO_ID "U1 NO no\r\n"), "U1 ID (\"name\" {1}\r\n{IMAP4rev1 ID}{}"},
        {SLICE(HELLO_ID "U1 OK what\r\n"),
         "U1 ID (\"name\" {1}\r\n{failed in id: the server says OK to half an ID: "
         "what}{IMAP4rev1 ID}{}"},
    };

    (void)state;
    params.id = (struct id){umlaut, 1};
    check_look(params, ROWS(rows));
}

static void test_within_tls_all_is_asked_anew(void **state)
{
    static const struct row rows[] = {
        {SLICE("* OK [CAPABILITY IMAP4rev1 ID STARTTLS] Hi\r\nU1 OK go\r\n\f"
               "* CAPABILITY IMAP4rev1 ID AUTH=PLAIN\r\nU2 OK done\r\n"
               "* ID NIL\r\nU3 OK done\r\n"),
         "U1 STARTTLS\r\n{tls}U2 CAPABILITY\r\nU3 ID (\"name\" \"usher\")\r\n"
         "{IMAP4rev1 ID AUTH=PLAIN}{NIL}"},
        /* The capabilities in clear are not believed. */
        {SLICE("* OK [CAPABILITY IMAP4rev1 ID STARTTLS] Hi\r\nU1 OK go\r\n\fU2 BAD no\r\n"),
         "U1 STARTTLS\r\n{tls}U2 CAPABILITY\r\n"
         "{failed in capability: the server refuses CAPABILITY: no}{}{}"},
        {SLICE("* OK [CAPABILITY IMAP4rev1] Hi\r\n"),
         "{failed in starttls: STARTTLS is not offered: IMAP4rev1}{IMAP4rev1}{}"},
        {SLICE("* OK [CAPABILITY STARTTLS] Hi\r\nU1 BAD no\r\n"),
         "U1 STARTTLS\r\n{failed in starttls: the server refuses STARTTLS: no}{STARTTLS}{}"},
    };

    (void)state;
    check_look(looks_within_tls(), ROWS(rows));
}

/* Which of the bytes come together is what it is about, so this one is not cut. */
static void test_bytes_behind_the_answer_to_starttls_are_a_failure(void **state)
{
    const struct imapc_params params = looks_within_tls();
    struct slice input = SLICE("* OK [CAPABILITY STARTTLS] Hi\r\nU1 OK go\r\n* CAPABILITY X\r\n");

    (void)state;
    assert_talk_once(look, &params, (struct pieces){input, input.n, input.n, 0},
                     "U1 STARTTLS\r\n{failed in starttls: bytes in clear lie behind the answer to "
                     "STARTTLS}{STARTTLS}{}");
}

static void test_preauth_can_be_looked_at(void **state)
{
    static const struct row rows[] = {
        {SLICE("* PREAUTH [CAPABILITY IMAP4rev1 ID STARTTLS] ann\r\n* ID NIL\r\nU1 OK done\r\n"),
         ASK_ID_1 "{IMAP4rev1 ID STARTTLS}{NIL}{preauth}"},
        {SLICE("* PREAUTH ann\r\n* CAPABILITY IMAP4rev1\r\nU1 OK done\r\n"),
         ASK_CAPS "{IMAP4rev1}{}{preauth}"},
    };
    static const struct row late[] = {
        {SLICE("* PREAUTH [CAPABILITY STARTTLS] ann\r\n"),
         "{failed in greeting: the greeting is PREAUTH: it is too late for STARTTLS: [CAPABILITY "
         "STARTTLS] ann}{}{}{preauth}"}};

    (void)state;
    check_look(looks(), ROWS(rows));
    check_look(looks_within_tls(), ROWS(late));
}

static void test_hostile_servers(void **state)
{
    static char endless[200], many[400];
    const struct row floods[] = {
        {slice_of(endless, sizeof(endless)), "{failed in greeting: the greeting has no end: "},
        {slice_of(many, sizeof(many)), ASK_ID_1 "{failed in id: too many untagged responses: "},
    };
    static const struct row rows[] = {
        {SLICE("* OK Hi\r\n* CAPABILITY {3}\r\nabc\r\n"),
         ASK_CAPS "{failed in capability: the capabilities hold a literal: * CAPABILITY "
                  "{3}\r\nabc}{}{}"},
        {SLICE("* OK Hi\r\n* CAPABILITY {1000}\r\n"),
         ASK_CAPS "{failed in capability: a literal is too large: * CAPABILITY {1000}}{}{}"},
        {SLICE("* OK Hi\r\n* CAPABILITY A\0B\r\n"),
         ASK_CAPS "{failed in capability: this is not IMAP: * CAPABILITY A}{}{}"},
        {SLICE(HELLO_ID "* ID (\"a\" {1}\r\n\0)\r\n"),
         ASK_ID_1 "{failed in id: this is not IMAP: * ID (\"a\" {1}\r\n}{IMAP4rev1 ID}{}"},
        {SLICE(HELLO_ID "U7 OK done\r\n"),
         ASK_ID_1 "{failed in id: the server answers what was not asked: U7 OK done}"
                  "{IMAP4rev1 ID}{}"},
        {SLICE(HELLO_ID "* ID (\"a\" \"b\")\r\nPROXY BAD what\r\n"),
         ASK_ID_1 "{failed in id: the server takes the PROXY header for a command: PROXY BAD "
                  "what}{IMAP4rev1 ID}{(\"a\" \"b\")}"},
        {SLICE(HELLO_ID "+ go on\r\n"),
         ASK_ID_1 "{failed in id: the server asks to go on where there is nothing to go on with: "
                  "+ go on}{IMAP4rev1 ID}{}"},
        {SLICE(HELLO_ID "* BYE enough\r\n"),
         ASK_ID_1 "{failed in id: the server says BYE: enough}{IMAP4rev1 ID}{}"},
        {SLICE(HELLO_ID "* PREAUTH\r\n"),
         ASK_ID_1 "{failed in id: PREAUTH after the greeting}{IMAP4rev1 ID}{}"},
        {SLICE("* BYE no\r\n"), "{failed in greeting: the server greets with BYE: no}{}{}"},
        {SLICE("* OK Hi\r\nU1 OK done\r\n"),
         ASK_CAPS "{failed in capability: the server answers CAPABILITY without telling any: "
                  "done}{}{}"},
        {SLICE(HELLO_ID), ASK_ID_1 "{failed in id: the server closed the connection}"
                                   "{IMAP4rev1 ID}{}"},
        {SLICE(HELLO_ID "* ID (\"na"),
         ASK_ID_1 "{failed in id: the server closed the connection within a line}"
                  "{IMAP4rev1 ID}{}"},
    };

    (void)state;
    check_look(looks(), ROWS(rows));
    memset(endless, 'x', sizeof(endless));
    memcpy(endless, "* OK ", 5);
    strcpy(many, HELLO_ID);
    while (strlen(many) + 20 < sizeof(many))
        strcat(many, "* ID (\"a\" \"b\")\r\n");
    for (size_t i = 0; i < 2; i++) {
        const struct imapc_params params = looks();
        struct pieces whole = {floods[i].input, floods[i].input.n, floods[i].input.n, 0};
        char *told = look(&params, &whole);

        assert_memory_equal(told, floods[i].told, strlen(floods[i].told));
        free(told);
    }
}

/* Each request for memory fails in turn. */
static void test_memory_that_is_out_is_a_failure_of_ours(void **state)
{
    const struct imapc_params params = looks();
    static const char input[] = HELLO_ID "* ID (\"name\" \"X\")\r\nU1 OK x\r\n";
    size_t fails_at = 0;

    (void)state;
    do {
        struct imapc *c;

        memory.is_on = true;
        memory.n = 0;
        memory.fails_at = ++fails_at;
        c = imapc_new(&params);
        memory.is_on = false;
        if (c) {
            assert_int_equal(buf_puts(imapc_in(c), input), 0);
            memory.is_on = true;
            if (imapc_step(c) == IMAPC_FAILED)
                assert_string_equal(imapc_failure(c), "memory is out");
            else
                assert_int_equal(imapc_id(c).n, strlen("(\"name\" \"X\")"));
            memory.is_on = false;
        }
        imapc_free(&c);
    } while (memory.n >= fails_at);
    assert_true(fails_at > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_capabilities_and_id_are_asked_for_and_no_login_follows),
        cmocka_unit_test(test_id_that_was_not_answered_is_empty),
        cmocka_unit_test(test_of_several_answers_the_last_counts),
        cmocka_unit_test(test_nothing_is_said_with_id_when_there_is_nothing_to_say),
        cmocka_unit_test(test_id_that_the_server_has_to_ask_for),
        cmocka_unit_test(test_within_tls_all_is_asked_anew),
        cmocka_unit_test(test_bytes_behind_the_answer_to_starttls_are_a_failure),
        cmocka_unit_test(test_preauth_can_be_looked_at),
        cmocka_unit_test(test_hostile_servers),
        cmocka_unit_test(test_memory_that_is_out_is_a_failure_of_ours),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
