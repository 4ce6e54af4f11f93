/* The dialogue of an IMAP client with a server, from the greeting to the verdict on the login.
 * Pure: no socket, clock or global. Used by a session towards its backend, by probes of backends
 * and by the port inspector, later by sync.
 *
 * The caller puts what the server sent into imapc_in(), calls imapc_step(), and sends what lies in
 * imapc_out() after every call:
 *
 *     IMAPC_MORE      send out, read more
 *     IMAPC_STARTTLS  shake hands now (nothing is to be sent), then imapc_tls_started()
 *     IMAPC_DONE      the server has answered the login: imapc_answer(). What lies in imapc_in()
 *                     behind the answer belongs to the session. For those who only look: all was
 *                     asked
 *     IMAPC_FAILED    no verdict was reached: imapc_failure()
 *
 * The way: greeting; STARTTLS if asked for (never without; never back to clear); CAPABILITY where
 * neither the greeting nor another answer told; ID, if the caller has something to say and the
 * server offers it; login; CAPABILITY after login if the server did not tell by itself. What was
 * told before STARTTLS is forgotten then, and what was told before the login does not count for
 * after it.
 *
 * The login is the first of these that the server offers: AUTHENTICATE PLAIN (with SASL-IR where
 * offered); LOGIN, unless LOGINDISABLED forbids it, with quoted strings or literals as the bytes
 * need (without waiting where LITERAL+ or LITERAL- allow it); AUTHENTICATE LOGIN. A NO is the
 * verdict: the others are not tried. An authzid needs PLAIN.
 *
 * ID (RFC 2971) goes out together with the login where both are whole without the server's "+";
 * else the login follows its answer. A NO or BAD to it is no failure, and its untagged answer is
 * not passed on. A server that answers the login first has failed: RFC 9051 section 5.5 would let
 * it, but none does.
 *
 * Those who only look (`only_looks`) go the same way up to ID, whose answer they wait for, and end
 * there: no login is ever sent. PREAUTH is no failure then, but in the way of STARTTLS, which
 * RFC 9051 section 6.2.1 does not allow any more.
 *
 * Those who only try the login (`wants_noop`) send NOOP when it was accepted, and are done when the
 * server has said OK to that too. Whoever ends there or looks no further says imapc_log_out().
 *
 * Failures, never a refused password (RFC 5530): a greeting that is PREAUTH, BYE or no IMAP at all;
 * BYE at any time; a BAD to the login; a NO or BAD to NOOP; lines, literals and untagged data above
 * the limits; lines that end without CR, or hold NUL or a bare CR; answers under a tag that is not
 * out; "+" where nothing waits for it; bytes in clear behind the STARTTLS answer; the connection's
 * end; memory being out.
 */
#ifndef USHER_IMAPC_IMAPC_H
#define USHER_IMAPC_IMAPC_H

#include "base/buf.h"
#include "base/slice.h"
#include "imap/id.h"

#include <stdbool.h>
#include <stddef.h>

struct imapc;

struct imapc_params {
    bool wants_starttls;
    bool only_looks;                      /* user, authzid and password do not count */
    bool wants_noop;                      /* not for those who only look */
    struct slice user, authzid, password; /* the caller keeps the bytes until IMAPC_DONE or
                                             IMAPC_FAILED. NUL in them is a failure, since no IMAP
                                             can carry it; authzid may be empty, password too */
    struct id id;    /* what to say with ID; empty: nothing. Kept as long; must not hold NUL */
    size_t max_line; /* bytes of one response of the server with its end, literals not counted */
    size_t max_untagged; /* bytes of all untagged responses together, kept or not; also the most
                            bytes of a literal */
};

enum imapc_outcome { IMAPC_MORE, IMAPC_STARTTLS, IMAPC_DONE, IMAPC_FAILED };

/* How far it came; for the log (imapc_stage_name) and for blame. */
enum imapc_stage {
    IMAPC_STAGE_GREETING,
    IMAPC_STAGE_STARTTLS,
    IMAPC_STAGE_CAPABILITY,
    IMAPC_STAGE_ID,          /* waiting for its answer before the login is sent */
    IMAPC_STAGE_LOGIN,       /* sent, maybe with ID before it */
    IMAPC_STAGE_AFTER_LOGIN, /* waiting for capabilities; the server has accepted the login */
    IMAPC_STAGE_NOOP
};

/* Told to the client, hence without the capabilities that a relayed session cannot have:
 * UNAUTHENTICATE (RFC 8437), behind which nobody here would know whose session it is. */
struct imapc_answer {
    bool is_ok;            /* else the server said NO */
    struct slice text;     /* behind "tag OK " or "tag NO ", no CR, LF or NUL; less than max_line
                              bytes, may be empty. Of a NO without the code CAPABILITY: a client that
                              was refused would take it for what the door can do */
    struct slice untagged; /* whole responses with CRLF that came since the login was sent, those
                              that tell capabilities or answer ID left out; at most max_untagged
                              bytes */
    struct slice capabilities; /* after login: "IMAP4rev1 IDLE ..."; empty after NO, or when the
                                  server does not tell */
};

/* NULL when memory is out. */
struct imapc *imapc_new(const struct imapc_params *params);

/* Wipes and frees; clears *c. */
void imapc_free(struct imapc **c);

/* Input: read into buf_room(imapc_in(c), n) with n of at most buf_left(imapc_in(c)), which is never
 * 0 after IMAPC_MORE. */
struct buf *imapc_in(struct imapc *c);
struct buf *imapc_out(struct imapc *c);

/* An outcome other than IMAPC_MORE is repeated by further calls. */
enum imapc_outcome imapc_step(struct imapc *c);

/* After the handshake that IMAPC_STARTTLS asked for; imapc_in() must be empty. imapc_step() is to
 * be called next, or imapc_out() to be sent: a command lies there. */
void imapc_tls_started(struct imapc *c);

/* The server has closed the connection, after imapc_step() said IMAPC_MORE. It is IMAPC_FAILED from
 * now on, and imapc_failure() says in the midst of what. */
void imapc_closed(struct imapc *c);

/* After IMAPC_DONE, for those whom nobody takes over from: puts LOGOUT into imapc_out(). What the
 * server says to it is nobody's any more. With memory out nothing is put, and the connection just
 * ends. */
void imapc_log_out(struct imapc *c);

/* After IMAPC_DONE, but not for those who only look; slices live until imapc_free(). */
const struct imapc_answer *imapc_answer(const struct imapc *c);

/* After IMAPC_DONE: the answer's text for the log, which may hold any byte of the server's but not
 * the password in any form in which the server could have echoed it; words of ours instead then. */
struct slice imapc_log_text(const struct imapc *c);

/* Whether the server offered it before the login, as far as it has told: after STARTTLS, within
 * TLS. At any time, also after IMAPC_DONE and IMAPC_FAILED. */
bool imapc_offers(const struct imapc *c, const char *capability);

/* All of these, as they were told: "IMAP4rev1 STARTTLS ..."; empty when none were. At any time;
 * lives until the next call. */
struct slice imapc_capabilities(const struct imapc *c);

/* For those who only look: the list that the server answered ID with (imap/id.h reads it; it may be
 * none), empty when it gave no answer. Any bytes but NUL. At any time; lives until the next call.
 */
struct slice imapc_id(const struct imapc *c);

/* Whether the server has not said a byte yet. At any time. */
bool imapc_is_unheard(const struct imapc *c);

/* For those who only look: whether the greeting was PREAUTH. At any time. */
bool imapc_is_preauth(const struct imapc *c);

/* From IMAPC_STAGE_LOGIN on: by which command it logs in, as in "AUTHENTICATE PLAIN". */
const char *imapc_way(const struct imapc *c);

enum imapc_stage imapc_stage(const struct imapc *c);
const char *imapc_stage_name(enum imapc_stage stage);

/* After IMAPC_FAILED: what the server did, in words for the log; may hold the server's bytes (the
 * log escapes), cut, but never the password, also where the server echoes it. */
const char *imapc_failure(const struct imapc *c);

/* After IMAPC_FAILED: whether the server has said BYE. Its words stand in imapc_failure(), behind
 * the first ": ". */
bool imapc_is_bye(const struct imapc *c);

/* After IMAPC_FAILED: whether that was for want of our own memory, which says nothing of the
 * server. */
bool imapc_lacks_memory(const struct imapc *c);

/* After IMAPC_FAILED: whether that may be for what was to be logged in with: a server that answers
 * the login with BAD, or takes no authorization identity. Whoever gave the credentials could have
 * any server fail so. */
bool imapc_is_about_login(const struct imapc *c);

#endif
