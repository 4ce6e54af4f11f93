/* Memory that is out, at each request for it in turn: dialogues end with a word for it, never in a
 * refused password, a crash or a leak. */
#include "login_talk.h"
#include "no_memory.h"

#include "imapc/imapc.h"

/* ---- The dialogue with a server ---- */

struct imapc_case {
    struct imapc_params params;
    struct slice input; /* a form feed: what follows comes after the handshake */
};

static const struct id_pair pairs[] = {{SLICE("name"), SLICE("\xe4"), false}};

#define WHO .user = SLICE("ann"), .password = SLICE("secret"), .max_line = 200, .max_untagged = 300

static const struct imapc_case imapc_cases[] = {
    {{WHO},
     SLICE("* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] Hi\r\n"
           "* NO [ALERT] Disk full\r\nU1 OK [CAPABILITY IMAP4rev1 IDLE] In\r\n")},
    {{WHO},
     SLICE("* OK Hi\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\nU1 OK Told\r\n+ \r\n"
           "U2 OK In\r\n* CAPABILITY IMAP4rev1 UNAUTHENTICATE\r\nU3 OK Told\r\n")},
    {{WHO},
     SLICE("* OK [CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=LOGIN] Hi\r\n+ \r\n+ \r\n"
           "U1 NO Wrong: secret\r\n")},
    {{WHO, .id = {pairs, 1}},
     SLICE("* OK [CAPABILITY IMAP4rev1 ID] Hi\r\n+ \r\n* ID NIL\r\nU1 OK Told\r\n"
           "U2 OK [CAPABILITY IMAP4rev1] In\r\n")},
    {{WHO, .wants_starttls = true},
     SLICE("* OK Hi\r\nU1 OK Begin\r\n\f* CAPABILITY IMAP4rev1\r\nU2 OK Told\r\nU3 NO No\r\n")},
};

/* Fed piece by piece; the pieces' own memory never fails. */
static char *imapc_talk(const struct imapc_case *row)
{
    struct pieces p = {row->input, 1, 20, 0};
    struct imapc *c;
    enum imapc_outcome outcome;
    struct buf told;

    told_init(&told);
    memory.is_on = true;
    c = imapc_new(&row->params);
    outcome = c ? imapc_step(c) : IMAPC_FAILED;
    while (outcome == IMAPC_MORE || outcome == IMAPC_STARTTLS) {
        memory.is_on = false;
        if (outcome == IMAPC_MORE)
            assert_true(pieces_feed(&p, imapc_in(c)));
        buf_take(imapc_out(c), buf_len(imapc_out(c)));
        memory.is_on = true;
        if (outcome == IMAPC_STARTTLS)
            imapc_tls_started(c);
        outcome = imapc_step(c);
    }
    memory.is_on = false;
    if (outcome == IMAPC_DONE)
        tell(&told, "%s %.*s|%.*s|%.*s", imapc_answer(c)->is_ok ? "ok" : "no",
             SLICE_ARG(imapc_answer(c)->text), SLICE_ARG(imapc_answer(c)->untagged),
             SLICE_ARG(imapc_answer(c)->capabilities));
    else
        tell(&told, "%s", c ? imapc_failure(c) : "memory is out");
    imapc_free(&c);
    return told_done(&told);
}

static void test_dialogue_with_a_server_fails_for_want_of_memory(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(imapc_cases) / sizeof(imapc_cases[0]); i++) {
        char *expected;
        size_t failed = 0, requests;

        memory.n = memory.fails_at = 0;
        expected = imapc_talk(&imapc_cases[i]);
        requests = memory.n;
        assert_true(requests > 3);
        for (size_t at = 1; at <= requests; at++) {
            char *told;

            memory.n = 0;
            memory.fails_at = at;
            told = imapc_talk(&imapc_cases[i]);
            failed += strcmp(told, "memory is out") == 0;
            /* What is only asked for the sake of the log does no harm. */
            if (strcmp(told, "memory is out") != 0)
                assert_string_equal(told, expected);
            free(told);
        }
        assert_true(failed > 3);
        free(expected);
    }
}

/* ---- The dialogue with a client ---- */

static const struct slice login_cases[] = {
    SLICE("a ID (\"name\" \"X\")\r\nb LOGIN ann {6+}\r\nsecret\r\n"),
    SLICE("a AUTHENTICATE PLAIN AGFubgBzZWNyZXQ=\r\n"),
    SLICE("a AUTHENTICATE LOGIN\r\nYW5u\r\nc2VjcmV0\r\n"),
    SLICE("a STARTTLS\r\n\fb LOGIN ann caps\r\n"),
    SLICE("a LOGIN ann noted-no\r\nb LOGIN ann other\r\n"),
};

enum ending { LOGGED_IN, NO_MEMORY, BAD_MESSAGE, OTHER };

/* The input is at its end, without a login. */
static enum ending ending_of(struct slice sent)
{
    static const struct slice bad =
        SLICE("a BAD This message is not what the mechanism asks for\r\n");

    return memmem(sent.p, sent.n, bad.p, bad.n) ? BAD_MESSAGE : OTHER;
}

static enum ending answer(struct login *l)
{
    const struct login_verdict *v = verdict_for(login_request(l)->password);

    if (login_verdict(l, v) < 0)
        return NO_MEMORY;
    return v->kind == LOGIN_OK ? LOGGED_IN : OTHER;
}

/* Goes on until the input is fed or the dialogue over; what was sent is added to `sent`. */
static enum ending login_run(struct login *l, struct pieces *p, struct buf *sent)
{
    for (;;) {
        enum login_outcome outcome = login_step(l);
        enum ending ending = OTHER;

        memory.is_on = false;
        tell_sent(sent, login_out(l));
        if (outcome == LOGIN_MORE && !pieces_feed(p, login_in(l)))
            return ending_of(buf_slice(sent));
        memory.is_on = true;
        if (outcome == LOGIN_CLOSE)
            return login_close_reason(l) == CLOSE_LIMIT ? NO_MEMORY : OTHER;
        if (outcome == LOGIN_STARTTLS)
            login_tls_started(l);
        if (outcome == LOGIN_ADMIT)
            ending = answer(l);
        if (ending != OTHER)
            return ending;
    }
}

static enum ending login_talk(struct slice input)
{
    struct pieces p = {input, 1, 20, 0};
    enum ending ending = NO_MEMORY;
    struct login *l;
    struct buf sent;

    told_init(&sent);
    memory.is_on = true;
    l = login_new(&usual, false);
    if (l)
        ending = login_run(l, &p, &sent);
    memory.is_on = false;
    login_free(&l);
    buf_release(&sent);
    return ending;
}

static void test_dialogue_with_a_client_ends_for_want_of_memory(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(login_cases) / sizeof(login_cases[0]); i++) {
        size_t requests;

        memory.n = memory.fails_at = 0;
        assert_int_equal(login_talk(login_cases[i]), LOGGED_IN);
        requests = memory.n;
        assert_true(requests > 2);
        for (size_t at = 1; at <= requests; at++) {
            enum ending ending;

            memory.n = 0;
            memory.fails_at = at;
            ending = login_talk(login_cases[i]);
            /* A mechanism cannot tell its own want of memory from a bad message. */
            assert_true(ending == NO_MEMORY || ending == BAD_MESSAGE);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dialogue_with_a_server_fails_for_want_of_memory),
        cmocka_unit_test(test_dialogue_with_a_client_ends_for_want_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
