/* The inside of the dialogue with a client before its login, shared by the files login*.c of this
 * folder; see worker/login.h.
 *
 *     login.c           frames of the input, outcomes, verdicts
 *     login_command.c   the commands
 *     login_auth.c      credentials: LOGIN, AUTHENTICATE
 */
#ifndef USHER_WORKER_LOGIN_STATE_H
#define USHER_WORKER_LOGIN_STATE_H

#include "imap/frame.h"
#include "imap/id.h"
#include "imap/lex.h"
#include "sasl/sasl.h"
#include "worker/login.h"

enum phase {
    PHASE_COMMAND,  /* the next frame is a command */
    PHASE_RESPONSE, /* the next line answers our challenge */
    PHASE_TLS,      /* LOGIN_STARTTLS is open */
    PHASE_ADMIT,    /* LOGIN_ADMIT is open */
    PHASE_SESSION,  /* logged in */
    PHASE_CLOSED,
};

struct secret;
struct known_id;

struct login {
    const struct login_params *params;
    bool is_tls;
    enum phase phase;
    enum close_reason reason;
    unsigned tries, bad; /* counted against max_tries, max_bad */
    size_t bytes;        /* of commands taken so far, against max_bytes */
    struct frame frame;
    struct buf in, out;
    char tag[LEX_TAG]; /* of the command that is being answered */
    size_t tag_n;
    const struct sasl_mech *mech; /* AUTHENTICATE: the mechanism, how many messages it has had */
    unsigned step;                /* and what the client claims so far */
    struct sasl_identity claim;
    struct secret *secrets; /* hold what `claim` and `request` point to */
    struct login_request request;
    struct known_id *id; /* the client's last ID, how many pairs it had, and the bytes that it
                            takes; NULL: none */
    size_t id_n, id_weight;
    size_t secrets_weight; /* bytes that `secrets` take */
};

/* ---- login.c: writing and ending. What does not fit ends the session ---- */

void login_put(struct login *l, struct slice s);
void login_puts(struct login *l, const char *s);

/* The tagged line: `text` stands behind the tag. */
void login_answer(struct login *l, const char *text);

/* The same, and counts the command as bad or needless. */
void login_refuse(struct login *l, const char *text);

/* Counts a refused login, after its answer. */
void login_count_try(struct login *l);

void login_close_silently(struct login *l, enum close_reason reason);
void login_close_with(struct login *l, enum close_reason reason, const char *bye);

/* ---- login_command.c ---- */

void login_put_capabilities(struct login *l);

/* Reads the tag into l->tag. Without one there is nothing to answer under: "* BAD" then. */
bool login_read_tag(struct login *l, struct lex *at);

/* A whole command, or one whose literal we do not ask for. */
void login_on_command(struct login *l, struct slice frame);

/* Whether "+" is to be said to a literal at the end of `line`: only where it can come to any good.
 */
bool login_wants_literal(const struct login *l, struct slice line);

/* What the client has said of itself, valid until its next ID. */
struct id login_known_id(const struct login *l);
void login_forget_id(struct login *l);

/* ---- login_auth.c: `args` stands behind the command's name ---- */

static inline bool login_may_starttls(const struct login *l)
{
    return l->params->can_starttls && !l->is_tls;
}

static inline bool login_may_take_passwords(const struct login *l)
{
    return l->is_tls || l->params->allows_cleartext;
}

void login_on_login(struct login *l, struct lex args);
void login_on_authenticate(struct login *l, struct lex args);

/* The line that answers our challenge. */
void login_on_response(struct login *l, struct slice line);

/* Wipes the credentials. */
void login_forget(struct login *l);

#endif
