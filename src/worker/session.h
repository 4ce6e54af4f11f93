/* A session: one client connection from accept to close. States, deadlines, and the way between the
 * client, control and a backend. Private to worker/.
 *
 *     PROXY     the header of a proxy before us is awaited (worker/proxied.h)
 *     OPEN      control is asked whether the connection may be
 *     GREET     TLS handshake with the client, before the greeting or after STARTTLS
 *     AUTH      the login dialogue (worker/login.h)
 *     ADMIT     control is asked for a backend, or for the next one
 *     VERIFY    lookup is asked whether the password is right (worker/verifying.h)
 *     DIAL      connecting to it
 *     UPSTREAM  TLS and login there (imapc/imapc.h), then control's word that the user may stay
 *     RELAY     bytes both ways (worker/relay.h)
 *     CLOSING   the last bytes go out to the client, what it still sends is read away
 *
 * session_enter() changes the state and sets its deadline; session_close() ends the session for one
 * reason. After session_close() the session may be gone: a caller returns at once.
 *
 * What only the way to the login needs lives in `phase`, which dies when relaying begins.
 */
#ifndef USHER_WORKER_SESSION_H
#define USHER_WORKER_SESSION_H

#include "base/addr.h"
#include "base/buf.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "conf/conf.h"
#include "imapc/imapc.h"
#include "ipc/message.h"
#include "net/dial.h"
#include "net/stream.h"
#include "tables/tables.h"
#include "worker/lease.h"
#include "worker/login.h"
#include "worker/relay.h"
#include "worker/worker.h"

#include <stdbool.h>
#include <stdint.h>

enum session_state {
    SESSION_PROXY,
    SESSION_OPEN,
    SESSION_GREET,
    SESSION_AUTH,
    SESSION_ADMIT,
    SESSION_VERIFY,
    SESSION_DIAL,
    SESSION_UPSTREAM,
    SESSION_RELAY,
    SESSION_CLOSING
};

struct session_phase {
    struct login *login;     /* NULL until the greeting */
    struct imapc *imapc;     /* while UPSTREAM */
    struct dial *dial;       /* while DIAL */
    struct forward *forward; /* while UPSTREAM: what the backend is told by ID */
    struct leased leased;    /* from ADMIT on: what the leases of this login say */
    struct addr reached;
    struct addr local; /* where the client connected to, as it saw it */
    struct buf header; /* PROXY: what has come of it */
    uint64_t login_until_ms;
    bool is_handshaking; /* UPSTREAM: TLS with the backend is not up yet */
    bool is_trusted;     /* the client is in trusted_networks */
    uint8_t ttl;         /* x-proxy-ttl for the backend */
    bool is_unnamed;     /* the proxy before us does not say who the client is */
    bool is_tls_before;  /* the proxy before us speaks TLS with the client */
    bool has_asked;      /* UPSTREAM: the backend said OK, control's DONE is awaited */
    bool wants_tls;      /* AUTH: the OK to STARTTLS must leave before the handshake begins */
    bool has_client_eof; /* the client has finished sending; what it sent before counts */
    uint32_t weight;     /* bytes of memory, as counted in worker.login_memory */
};

struct session {
    struct list all; /* in worker.sessions */
    struct map_node by_id;
    struct worker *worker;
    struct stream client, backend;
    struct deadline deadline;
    struct session_phase *phase;
    char *user;            /* from ADMIT on, NUL-terminated, as the client gave it, and as control
                              has it from the first lease on; NULL before */
    struct relay up, down; /* to the backend, to the client */
    struct follow follow;  /* of both, while RELAY */
    uint64_t accepted_ms, active_ms;
    struct lease_id lease; /* while VERIFY, DIAL, UPSTREAM, RELAY */
    uint32_t id;
    uint32_t told; /* the channel by which control was told of this session; 0: none */
    struct addr peer;
    uint16_t pool, backend_index;
    uint8_t listener;
    uint8_t state;  /* enum session_state */
    uint8_t reason; /* enum close_reason, from CLOSING on, or from a kick */
    uint8_t mech;   /* enum mech */
    uint8_t attempt;
    bool is_kicked;       /* RELAY: ends at the next boundary, or by its deadline, for `reason` */
    bool has_finished;    /* CLOSING: our FIN is out */
    bool is_pumped_again; /* RELAY: stands in worker.again_ids */
};

const char *session_state_name(enum session_state state);

/* "instance.id", the same in log and messages. */
enum { SESSION_ID_TEXT = 24 };
const char *session_id_text(const struct session *s, char out[SESSION_ID_TEXT]);

/* Takes over an accepted descriptor. Closes it when memory is out. */
void session_accept(struct worker *w, int fd, const struct addr *peer, const struct addr *local,
                    unsigned listener);

/* Tells control, if it does not know yet, all that it must know of the session: after accept, and
 * when control is new. */
void session_tell(struct session *s);

/* Control's words. Those that do not fit the state are dropped: they crossed an END or a new
 * control. */
void session_on_go(struct session *s);
void session_on_lease(struct session *s, const struct msg_lease *lease, struct slice tail);
void session_on_done(struct session *s);
void session_on_refuse(struct session *s, const struct msg_refuse *m, struct slice tail);

/* pump.c: ends the session with a BYE. While relaying, where a response of the backend does, now or
 * within kick_grace, else without; and at once where no such place can be known any more. False: it
 * is ending already, for another reason or this one. */
bool session_kick(struct session *s, enum close_reason reason);
void session_on_kick(struct session *s, enum kick why);

/* Counts anew what the way to the login takes of memory, while there is such a way. */
void session_weigh(struct session *s);

/* The worker stops: says BYE where a line may stand, and ends. */
void session_stop(struct session *s);

/* Descriptors or memory are out: says BYE if that goes at once, and frees the session. */
void session_shed(struct session *s, enum close_reason reason, const char *detail);

/* What a connection is told that there is no room for. */
#define SESSION_NO_ROOM "[UNAVAILABLE] Too many connections, please try again later."

/* What a client is told that is kicked, whose user is moved, whose backend has gone down, or whose
 * worker is of an earlier generation. */
#define SESSION_KICKED  "[UNAVAILABLE] This connection was ended by an operator; please come again"
#define SESSION_MOVED   "[UNAVAILABLE] The mailbox is moving to another server; please come again"
#define SESSION_DOWN    "[UNAVAILABLE] The mail server does not answer any more; please come again"
#define SESSION_RETIRED "[UNAVAILABLE] This connection has ended for maintenance; please come again"

/* --- between session.c, client.c, lease.c, verifying.c and upstream.c
 * ------------------------------------------------------------------ */

void session_enter(struct session *s, enum session_state state);

/* Ends the session. What lies in the login's output is still sent. `detail` may be NULL. */
void session_close(struct session *s, enum close_reason reason, const char *detail);

/* What a client is told then, once it is logged in: a response, or "". */
const char *session_bye(enum close_reason reason);

/* The login under way ends without a verdict; `stage` and `why` are for the log. The client may try
 * again. */
void session_refuse(struct session *s, enum login_verdict_kind kind, const char *stage,
                    struct slice why);

/* What only the way to the login needed is given back. */
void session_free_phase(struct session *s);

/* As session_close with the words of a broken stream. */
void session_close_broken(struct session *s, struct stream *broken);

/* The client's address is known: asks control whether the connection may be. */
void session_open(struct session *s);

/* The login is over: the phase dies, bytes flow. What lies in both relays goes first. */
void session_relay(struct session *s);

/* The callback of the backend's stream. */
void session_on_backend(struct watch *watch, unsigned events);

/* pump.c: RELAY. Its deadline has come; and a BYE, where one may stand. */
void session_on_relay_deadline(struct session *s);
void session_say_bye(struct session *s, enum close_reason reason);

/* Goes on with one direction of the relay or both. */
void session_pump(struct session *s, bool is_up, bool is_down);

/* Whether the control that is connected knows this session; if not, it will be told all later. */
bool session_is_told(const struct session *s);

const struct conf_listener *session_listener(const struct session *s);
const struct conf_backend *session_backend(const struct session *s);

/* A line with id, user, client and listener as far as they are known. */
void session_log_begin(const struct session *s, struct log_line *l, enum log_event event,
                       enum log_level level);

/* client.c: the client's side until the login is answered. */
void client_begin(struct session *s); /* GO came */
void client_turn_away(struct session *s, enum close_reason reason, const char *bye,
                      const char *why);  /* no GO: a limit */
void client_on_event(struct session *s); /* in GREET, AUTH, ADMIT, VERIFY, DIAL, UPSTREAM */
bool client_flush(struct session *s);    /* sends the login's output; false: the session is gone */
void client_ask(struct session *s);      /* sends ADMIT */
void client_go_on(struct session *s); /* a verdict was given that was not LOGIN_OK: back to AUTH */

/* upstream.c: the backend's side until relaying. */
void upstream_begin(struct session *s); /* dials for the lease */
void upstream_on_event(struct session *s);
void upstream_late(struct session *s); /* backend_login_timeout has passed */
void upstream_ask(struct session *s);  /* sends RESULT_OK */
void upstream_tell(struct session *s, enum result result, enum fault fault); /* the lease is over */
void upstream_done(struct session *s);                                       /* DONE came */
void upstream_drop(
    struct session *s); /* gives up dial and dialogue, closes the backend's connection */

#endif
