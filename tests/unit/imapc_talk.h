/* A whole dialogue with a server, told as one text: what was sent to it, and in braces what came of
 * it. */
#ifndef USHER_TESTS_UNIT_IMAPC_TALK_H
#define USHER_TESTS_UNIT_IMAPC_TALK_H

#include "pieces.h"

#include "imapc/imapc.h"

static inline struct imapc_params with(const char *user, const char *password)
{
    return (struct imapc_params){
        .user = slice_str(user),
        .password = slice_str(password),
        .max_line = 120,
        .max_untagged = 160,
    };
}

static inline char *talk(const void *arg, struct pieces *p)
{
    struct imapc *c = imapc_new(arg);
    struct buf told;
    bool is_over = false;

    assert_non_null(c);
    told_init(&told);
    while (!is_over) {
        enum imapc_outcome outcome = imapc_step(c);

        tell_sent(&told, imapc_out(c));
        switch (outcome) {
        case IMAPC_MORE:
            assert_int_not_equal(buf_left(imapc_in(c)), 0);
            is_over = !pieces_feed(p, imapc_in(c));
            if (is_over)
                tell(&told, "{more in %s}", imapc_stage_name(imapc_stage(c)));
            break;
        case IMAPC_STARTTLS:
            tell(&told, "{tls}");
            imapc_tls_started(c);
            break;
        case IMAPC_DONE:
            while (pieces_feed(p, imapc_in(c)))
                ;
            tell(&told, "{%s %.*s}", imapc_answer(c)->is_ok ? "ok" : "no",
                 SLICE_ARG(imapc_answer(c)->text));
            tell(&told, "{%.*s}{%.*s}{rest %.*s}", SLICE_ARG(imapc_answer(c)->untagged),
                 SLICE_ARG(imapc_answer(c)->capabilities), SLICE_ARG(buf_slice(imapc_in(c))));
            is_over = true;
            break;
        case IMAPC_FAILED:
            tell(&told, "{failed in %s: %s}", imapc_stage_name(imapc_stage(c)), imapc_failure(c));
            is_over = true;
            break;
        }
    }
    imapc_free(&c);
    assert_null(c);
    return told_done(&told);
}

struct row {
    struct slice input;
    const char *told;
};

#define ROWS(rows) rows, sizeof(rows) / sizeof((rows)[0])

static inline void check(struct imapc_params params, const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_talk(talk, &params, rows[i].input, rows[i].told);
}

/* What usual servers begin with, and what they are asked then. \0ann\0secret in base 64. */
#define HELLO       "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] Hi\r\n"
#define HELLO_LOGIN "* OK [CAPABILITY IMAP4rev1] Hi\r\n"
#define ASK_PLAIN   "U1 AUTHENTICATE PLAIN AGFubgBzZWNyZXQ=\r\n"
#define ASK_LOGIN   "U1 LOGIN \"ann\" \"secret\"\r\n"
#define OK_CAPS     "U1 OK [CAPABILITY IMAP4rev1 IDLE] In\r\n"
#define DONE_CAPS   "{ok [CAPABILITY IMAP4rev1 IDLE] In}{}{IMAP4rev1 IDLE}{rest }"
#define ASK_CAPS    "U1 CAPABILITY\r\n"

#endif
