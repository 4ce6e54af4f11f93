/* The dialogue with a client from the greeting to the verdict on its login. Pure: no socket, clock
 * or global.
 *
 * The caller puts what the client sent into login_in(), calls login_step() until it says
 * LOGIN_MORE, and sends what lies in login_out() after every call. The other outcomes each wait for
 * one answer of the caller:
 *
 *     LOGIN_MORE      send out, read more
 *     LOGIN_STARTTLS  send out (the OK line) in clear, shake hands, then login_tls_started()
 *     LOGIN_ADMIT     login_request() is ready: find a backend, log in there, then login_verdict()
 *     LOGIN_CLOSE     send out, then close with login_close_reason()
 *
 * While LOGIN_ADMIT is open nothing more is parsed; what the client pipelines stays in login_in().
 * After a verdict LOGIN_OK those bytes are the backend's to read, in order; after any other verdict
 * login_step() goes on with them.
 *
 * How much the client may send is bounded by buf_left(login_in()): read no more than that, and when
 * it is 0, do not read until it has grown again. While commands are read it can always hold what a
 * command still needs; while LOGIN_ADMIT is open it is what max_pipeline leaves, so that a client
 * that sends more is not closed but made to wait by its own TCP window.
 *
 * Commands served (RFC 9051 section 6.1 and 6.2, RFC 3501): CAPABILITY NOOP ID (RFC 2971) LOGOUT
 * STARTTLS LOGIN AUTHENTICATE with the mechanisms of sasl/ (with and without SASL-IR, RFC 4959;
 * literals of RFC 7888). All else gets a tagged BAD that says to log in first.
 */
#ifndef USHER_WORKER_LOGIN_H
#define USHER_WORKER_LOGIN_H

#include "base/buf.h"
#include "base/slice.h"
#include "imap/id.h"
#include "tables/tables.h"

#include <stdbool.h>
#include <stddef.h>

struct login;

/* What does not change in the life of a session; the caller keeps it for as long. */
struct login_params {
    bool can_starttls;        /* STARTTLS is offered while not encrypted */
    bool allows_cleartext;    /* passwords are taken without TLS */
    bool offers_literal_plus; /* LITERAL+ is announced: a client may hold the backend to it after
                                 login. Such literals are taken here in any case. May change at any
                                 time: it counts when capabilities are told */
    size_t max_line;          /* bytes of a command's lines with their ends, literals not counted */
    size_t max_literal;       /* bytes of a literal, and of all literals of one command */
    size_t max_pipeline;      /* bytes that may wait in login_in() while LOGIN_ADMIT is open */
    size_t max_bytes;         /* of all commands together; who sends more is told BYE */
    unsigned max_tries;       /* at the max_tries-th refused login the client is told BYE */
    unsigned max_bad; /* the same for commands that are bad, needless (NOOP, CAPABILITY, ID), or
                         whose login was answered by other than LOGIN_OK and LOGIN_NO */
};

enum login_outcome { LOGIN_MORE, LOGIN_STARTTLS, LOGIN_ADMIT, LOGIN_CLOSE };

/* Slices into memory of the login, valid until login_verdict() or login_free(). */
struct login_request {
    struct slice user;     /* authentication identity: 1 to 512 bytes, no NUL, CR or LF */
    struct slice authzid;  /* empty when none was given or it equals user */
    struct slice password; /* no NUL, CR or LF; may be empty */
    const char *mech;      /* "LOGIN" (the command), or the title of a mechanism: "PLAIN",
                              "SASL-LOGIN" */
    struct id id;          /* the client's last ID on the connection as it is now (what was said
                              before STARTTLS is forgotten); empty when there was none */
};

enum login_verdict_kind {
    LOGIN_OK,          /* the backend said OK: text, untagged, capabilities */
    LOGIN_NO,          /* the backend said NO: text, untagged; counts as a try */
    LOGIN_UNAVAILABLE, /* no backend could be reached: NO [UNAVAILABLE] (RFC 5530) */
    LOGIN_INUSE,       /* the user is on hold: NO [INUSE] */
    LOGIN_LIMIT,       /* a limit of ours: NO [LIMIT] */
    LOGIN_DISABLED     /* the directory says that the user may not log in: NO [CONTACTADMIN] */
};

struct login_verdict {
    enum login_verdict_kind kind;
    struct slice text; /* what stood behind the backend's "tag OK " or "tag NO ", without CRLF; of
                          other kinds: words behind the response code; empty: ours */
    struct slice untagged;     /* whole lines that the backend sent before it, to be passed on */
    struct slice capabilities; /* the backend's after login, "IMAP4rev1 IDLE ..."; put into a
                                  CAPABILITY response code when text does not begin with one (as
                                  untagged line if text has another code) */
};

/* NULL when memory is out. `is_tls`: the connection is encrypted from its start. The greeting lies
 * in login_out(). */
struct login *login_new(const struct login_params *params, bool is_tls);

/* Wipes and frees; clears *l. */
void login_free(struct login **l);

/* Input: read into buf_room(login_in(l), n) with n of at most buf_left(login_in(l)). */
struct buf *login_in(struct login *l);
struct buf *login_out(struct login *l);

/* Bytes of memory that it takes, buffers, credentials and ID included. */
size_t login_weight(const struct login *l);

enum login_outcome login_step(struct login *l);

/* After the handshake that LOGIN_STARTTLS asked for. Nothing from before it is remembered (RFC 9051
 * section 6.2.1) but the counts against the limits. Plain bytes that lay behind STARTTLS are found
 * by login_step(): LOGIN_CLOSE with CLOSE_CLIENT_INJECTED, no OK sent. Between LOGIN_STARTTLS and
 * this call nothing may be put into login_in(). */
void login_tls_started(struct login *l);

const struct login_request *login_request(const struct login *l);

/* Answers the open LOGIN_ADMIT; the client's tagged line lies in login_out(). After LOGIN_OK only
 * login_in(), login_out() and login_free() may be used; after another, call login_step(), also when
 * nothing has come in. The credentials are wiped. -1 when memory is out: the answer is not whole,
 * close with CLOSE_LIMIT (login_step() says so too after any verdict but LOGIN_OK). */
int login_verdict(struct login *l, const struct login_verdict *v);

enum close_reason login_close_reason(const struct login *l);

/* Puts a BYE with `text` into login_out(), for timeouts and stops; nothing where a client could not
 * read it (LOGIN_STARTTLS is open) or was told one already. Must not be called after a verdict
 * LOGIN_OK. `text` may begin with a response code in brackets. */
void login_bye(struct login *l, const char *text);

#endif
