/* The dialogue of an IMAP client with a server, from the greeting to the verdict on the login.
 * Pure: no socket, clock or global. Used by a session towards its backend, later by probes, sync
 * and the port inspector.
 *
 * The caller puts what the server sent into imapc_in(), calls imapc_step(), and sends what lies in
 * imapc_out() after every call:
 *
 *     IMAPC_MORE      send out, read more
 *     IMAPC_STARTTLS  shake hands now (nothing is to be sent), then imapc_tls_started()
 *     IMAPC_DONE      the server has answered the login: imapc_answer(). What lies in imapc_in()
 *                     behind the answer belongs to the session
 *     IMAPC_FAILED    no verdict was reached: imapc_failure()
 *
 * The way: greeting; STARTTLS if asked for (never without; never back to clear); CAPABILITY where
 * neither the greeting nor another answer told; login by AUTHENTICATE PLAIN (with SASL-IR where
 * offered) if the server offers AUTH=PLAIN, else by LOGIN with quoted strings or literals as the
 * bytes need (without waiting where LITERAL+ or LITERAL- allow it); CAPABILITY after login if the
 * server did not tell by itself. A NO to either is the verdict: the other is not tried. An authzid
 * needs AUTH=PLAIN, and LOGINDISABLED is obeyed. What was told before STARTTLS or before the login
 * is forgotten then.
 *
 * Failures, never a refused password (RFC 5530): a greeting that is PREAUTH, BYE or no IMAP at all;
 * BYE at any time; a BAD to the login; lines, literals and untagged data above the limits; lines
 * that end without CR, or hold NUL or a bare CR; answers under a tag that is not out; "+" where
 * nothing waits for it; bytes in clear behind the STARTTLS answer; memory being out.
 */
#ifndef USHER_IMAPC_IMAPC_H
#define USHER_IMAPC_IMAPC_H

#include "base/buf.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>

struct imapc;

struct imapc_params {
    bool wants_starttls;
    struct slice user, authzid, password; /* the caller keeps the bytes until IMAPC_DONE or
                                             IMAPC_FAILED. NUL in them is a failure, since no IMAP
                                             can carry it; authzid may be empty, password too */
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
    IMAPC_STAGE_LOGIN,
    IMAPC_STAGE_AFTER_LOGIN /* waiting for capabilities; the server has accepted the login */
};

struct imapc_answer {
    bool is_ok;            /* else the server said NO */
    struct slice text;     /* behind "tag OK " or "tag NO ", no CR, LF or NUL; less than max_line
                              bytes, may be empty */
    struct slice untagged; /* whole responses with CRLF that came since the login was sent, those
                              that tell capabilities left out; at most max_untagged bytes */
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

/* After IMAPC_DONE; slices live until imapc_free(). */
const struct imapc_answer *imapc_answer(const struct imapc *c);

enum imapc_stage imapc_stage(const struct imapc *c);
const char *imapc_stage_name(enum imapc_stage stage);

/* After IMAPC_FAILED: what the server did, in words for the log; may hold the server's bytes (the
 * log escapes), cut, but never the password, also where the server echoes it. */
const char *imapc_failure(const struct imapc *c);

#endif
