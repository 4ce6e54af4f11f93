/* The inside of the dialogue with a server, shared by the files of this folder; see imapc/imapc.h.
 * Of pipeline.c only its words.
 *
 *     imapc.c     what the server says, and what is to be done next
 *     commands.c  what we say
 *     words.c     failures, and keeping the password out of the log
 */
#ifndef USHER_IMAPC_STATE_H
#define USHER_IMAPC_STATE_H

#include "imap/frame.h"
#include "imapc/imapc.h"
#include "sasl/sasl.h"

/* The most bytes of a server's line that go into the words of a failure, and of those words. */
enum { IMAPC_MAX_SAID = 120, IMAPC_MAX_FAILURE = IMAPC_MAX_SAID + 120 };

enum phase {
    PHASE_GREETING,
    PHASE_STARTTLS,     /* sent */
    PHASE_TLS,          /* IMAPC_STARTTLS is open */
    PHASE_CAPABILITY,   /* sent, before login */
    PHASE_ID,           /* sent by itself, up to where the server has to say "+", or whole */
    PHASE_AUTHENTICATE, /* sent; ID may be out before it */
    PHASE_LOGIN,        /* the same, up to where the server has to say "+", or whole */
    PHASE_AFTER_LOGIN,  /* CAPABILITY sent */
    PHASE_NOOP,         /* sent; the login was accepted */
    PHASE_DONE,
    PHASE_FAILED,
};

struct known_caps {
    bool is_told;
    struct buf list; /* "IMAP4rev1 ..." */
};

struct imapc {
    struct imapc_params params;
    enum phase phase;
    enum imapc_stage stage;
    struct frame frame;
    struct buf in, out;
    unsigned tag;    /* the number of the last command */
    unsigned id_tag; /* the number of our ID, until it is answered; else 0 */
    bool is_id_sent;
    bool is_plus_due;             /* the server has to say "+" before more is sent */
    struct slice due;             /* LOGIN and ID: the literal that is to be sent then */
    size_t part;                  /* LOGIN and ID: how many of their strings are sent or due */
    const struct sasl_mech *mech; /* the way to log in; NULL: the command LOGIN */
    unsigned step;                /* how many messages of `mech` are sent */
    bool is_tls;                  /* by STARTTLS */
    bool is_greeted;              /* by whatever line */
    bool is_preauth;
    bool is_bye;                     /* PHASE_FAILED for that */
    bool lacks_memory;               /* the same */
    bool is_about_login;             /* PHASE_FAILED, maybe for the credentials */
    struct known_caps before, after; /* the login; `before`: told since TLS began */
    struct buf id_answer;            /* for those who only look */
    struct buf untagged;             /* for the answer */
    size_t untagged_seen;            /* bytes of all untagged lines, kept or not */
    char *text;                      /* for the answer */
    struct imapc_answer answer;
    struct slice log_text;
    char failure[IMAPC_MAX_FAILURE];
};

static inline void imapc_enter(struct imapc *c, enum phase phase, enum imapc_stage stage)
{
    if (c->phase == PHASE_FAILED)
        return;
    c->phase = phase;
    c->stage = stage;
}

/* ---- commands.c ---- */

void imapc_put_starttls(struct imapc *c);
void imapc_put_capability(struct imapc *c);
void imapc_put_noop(struct imapc *c);

/* Sends ID, up to where the server has to say "+", if there is something to say, it is offered and
 * was not sent before. Says whether it has. */
bool imapc_put_id(struct imapc *c);

/* Sends ID if it is still to be sent, and the login with it or, where that has to wait for ID's
 * answer, not yet. */
void imapc_put_login(struct imapc *c);

/* After "+". */
void imapc_go_on(struct imapc *c);

/* ---- words.c ---- */

/* `said`: words of the server that explain, or empty. */
void imapc_fail(struct imapc *c, const char *words, struct slice said);
void imapc_fail_memory(struct imapc *c);
void imapc_fail_about_login(struct imapc *c, const char *words, struct slice said);

/* Words of a failure and, behind them, what the server said, cut, without its line's end. */
void imapc_put_words(char to[IMAPC_MAX_FAILURE], const char *words, struct slice said);

/* The greeting in `line` is none of IMAP: says what it looks like. */
void imapc_fail_foreign(struct imapc *c, struct slice line);

/* What may be logged of words of the server: they, or a note that they hold the password. */
struct slice imapc_without_password(const struct imapc *c, struct slice said);

#endif
