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
 * behind the answer is already the session's IMAPC_FAILED    no verdict was reached:
 * imapc_failure()
 *
 * The way: greeting; STARTTLS if asked for (never without; never back to clear); CAPABILITY where
 * neither the greeting nor another answer told; login by AUTHENTICATE PLAIN (with SASL-IR where
 * offered) if the server offers AUTH=PLAIN or an authzid must be passed, else by LOGIN with quoted
 * strings or literals as the bytes need; CAPABILITY after login if the server did not tell by
 * itself. LOGINDISABLED is obeyed. A PREAUTH greeting, BYE, a BAD to the login, lines and literals
 * above the limits, bytes in clear behind the STARTTLS answer are failures, never a refused
 * password (RFC 5530).
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
    struct slice user, authzid,
        password;        /* the caller keeps the bytes until IMAPC_DONE or IMAPC_FAILED */
    size_t max_line;     /* bytes of one line of the server */
    size_t max_untagged; /* bytes of untagged lines kept for passing on; more is a failure */
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
    struct slice text;     /* behind "tag OK " or "tag NO ", no CRLF; at most max_line bytes */
    struct slice untagged; /* whole lines with CRLF before the answer to the login, CAPABILITY lines
                              left out */
    struct slice
        capabilities; /* after login: "IMAP4rev1 IDLE ..."; empty when the server does not tell */
};

/* NULL when memory is out. */
struct imapc *imapc_new(const struct imapc_params *params);

/* Wipes and frees; clears *c. */
void imapc_free(struct imapc **c);

struct buf *imapc_in(struct imapc *c);
struct buf *imapc_out(struct imapc *c);

enum imapc_outcome imapc_step(struct imapc *c);
void imapc_tls_started(struct imapc *c);

/* After IMAPC_DONE; slices live until imapc_free(). */
const struct imapc_answer *imapc_answer(const struct imapc *c);

enum imapc_stage imapc_stage(const struct imapc *c);
const char *imapc_stage_name(enum imapc_stage stage);

/* After IMAPC_FAILED: what the server did, in words for the log; may hold the server's bytes (the
 * log escapes). */
const char *imapc_failure(const struct imapc *c);

#endif
