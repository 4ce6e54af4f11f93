/* A whole dialogue before login, told as one text: what was sent to the client, and in braces what
 * came of it. The password says which verdict the login gets. */
#ifndef USHER_TESTS_UNIT_LOGIN_TALK_H
#define USHER_TESTS_UNIT_LOGIN_TALK_H

#include "pieces.h"

#include "worker/login.h"

static const struct login_params usual = {
    .can_starttls = true,
    .allows_cleartext = true,
    .offers_literal_plus = true,
    .max_line = 200,
    .max_literal = 64,
    .max_pipeline = 40,
    .max_bytes = 100000,
    .max_tries = 3,
    .max_bad = 20,
};

static const struct login_params strict = {
    .can_starttls = true,
    .allows_cleartext = false,
    .offers_literal_plus = true,
    .max_line = 200,
    .max_literal = 64,
    .max_pipeline = 40,
    .max_bytes = 100000,
    .max_tries = 3,
    .max_bad = 20,
};

/* ---- The talk. The password says which verdict the login gets ---- */

static const struct {
    const char *password;
    struct login_verdict verdict;
} verdicts[] = {
    {"no", {.kind = LOGIN_NO, .text = SLICE("[AUTHENTICATIONFAILED] Wrong.")}},
    {"noted-no",
     {.kind = LOGIN_NO, .text = SLICE("Wrong."), .untagged = SLICE("* NO [ALERT] Caps lock?\r\n")}},
    {"silent-no", {.kind = LOGIN_NO}},
    {"down", {.kind = LOGIN_UNAVAILABLE}},
    {"held", {.kind = LOGIN_INUSE}},
    {"over", {.kind = LOGIN_LIMIT, .text = SLICE("Too many connections")}},
    {"bare", {.kind = LOGIN_OK, .text = SLICE("Hello")}},
    {"silent", {.kind = LOGIN_OK}},
    {"caps", {.kind = LOGIN_OK, .text = SLICE("Hello"), .capabilities = SLICE("IMAP4rev1 IDLE")}},
    {"code",
     {.kind = LOGIN_OK,
      .text = SLICE("[CAPABILITY IMAP4rev1 X] Hello"),
      .capabilities = SLICE("IMAP4rev1 X")}},
    {"other",
     {.kind = LOGIN_OK,
      .text = SLICE("[REFERRAL imap://x/] Hello"),
      .untagged = SLICE("* OK [ALERT] Disk full\r\n* ID NIL\r\n"),
      .capabilities = SLICE("IMAP4rev1 IDLE")}},
    {"odd", {.kind = LOGIN_OK, .text = SLICE("[no code"), .capabilities = SLICE("IMAP4rev1")}},
};

static inline const struct login_verdict *verdict_for(struct slice password)
{
    static const struct login_verdict ok = {.kind = LOGIN_OK, .text = SLICE("Logged in.")};

    for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
        if (slice_eq(password, slice_str(verdicts[i].password)))
            return &verdicts[i].verdict;
    }
    return &ok;
}

struct setting {
    const struct login_params *params;
    bool is_tls;
    bool has_greeting; /* tell it too */
};

static inline void tell_id(struct buf *told, struct id id)
{
    for (size_t i = 0; i < id.n; i++) {
        const struct id_pair *pair = &id.pairs[i];

        tell(told, "%s%.*s=", i == 0 ? " id " : ",", SLICE_ARG(pair->key));
        if (pair->is_nil)
            tell(told, "NIL");
        else
            tell(told, "\"%.*s\"", SLICE_ARG(pair->value));
    }
}

/* Answers LOGIN_ADMIT. Says whether the dialogue is over. */
static inline bool talk_admit(struct login *l, struct pieces *p, struct buf *told)
{
    const struct login_request *r = login_request(l);
    const struct login_verdict *v = verdict_for(r->password);

    tell(told, "{%s %.*s/%.*s/%.*s", r->mech, SLICE_ARG(r->user), SLICE_ARG(r->authzid),
         SLICE_ARG(r->password));
    tell_id(told, r->id);
    tell(told, "}");
    assert_int_equal(login_verdict(l, v), 0);
    tell_sent(told, login_out(l));
    if (v->kind != LOGIN_OK)
        return false;
    while (pieces_feed(p, login_in(l)))
        ;
    tell(told, "{rest %.*s}", SLICE_ARG(buf_slice(login_in(l))));
    return true;
}

static inline char *talk(const void *arg, struct pieces *p)
{
    const struct setting *s = arg;
    struct login *l = login_new(s->params, s->is_tls);
    struct buf told;
    bool is_over = false;

    assert_non_null(l);
    told_init(&told);
    if (!s->has_greeting)
        buf_take(login_out(l), buf_len(login_out(l)));
    while (!is_over) {
        enum login_outcome outcome = login_step(l);

        tell_sent(&told, login_out(l));
        switch (outcome) {
        case LOGIN_MORE:
            assert_int_not_equal(buf_left(login_in(l)), 0);
            is_over = !pieces_feed(p, login_in(l));
            break;
        case LOGIN_STARTTLS:
            tell(&told, "{tls}");
            login_tls_started(l);
            break;
        case LOGIN_ADMIT:
            is_over = talk_admit(l, p, &told);
            break;
        case LOGIN_CLOSE:
            tell(&told, "{%s}", close_reason_name(login_close_reason(l)));
            is_over = true;
            break;
        }
    }
    login_free(&l);
    assert_null(l);
    return told_done(&told);
}

struct row {
    struct slice input;
    const char *told;
};

#define ROWS(rows) rows, sizeof(rows) / sizeof((rows)[0])

static inline void check(const struct login_params *params, bool is_tls, const struct row *rows,
                         size_t n)
{
    const struct setting s = {.params = params, .is_tls = is_tls};

    for (size_t i = 0; i < n; i++)
        assert_talk(talk, &s, rows[i].input, rows[i].told);
}

#endif
