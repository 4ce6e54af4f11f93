/* Who the client is, told to a backend by the ID command (RFC 2971) as Dovecot reads it:
 * x-originating-ip and -port, x-connected-ip and -port, x-proxy-ttl, x-session-id; and believed
 * from web mails and proxies of our own. Private to worker/.
 *
 * What else the client has said of itself is passed on. Fields of that kind from a client that is
 * not in trusted_networks are left out, so that nobody can make himself another. */
#ifndef USHER_WORKER_FORWARD_H
#define USHER_WORKER_FORWARD_H

#include "base/err.h"
#include "imap/id.h"

struct session;
struct forward;

/* Before a login is admitted: a client in trusted_networks may speak for another, and that is who
 * the session is of from then on, in the log too. -1: x-proxy-ttl has run out, the proxies pass the
 * login around in a loop. */
int forward_believe(struct session *s, struct id said, struct err *err) MUST_CHECK;

/* What to say to the session's backend, from what the client said. The slices live in *out_forward
 * or in `said`; NULL when there is nothing to say. -1 when memory is out. */
int forward_new(const struct session *s, struct id said, struct forward **out_forward,
                struct err *err) MUST_CHECK;

/* Clears *f; harmless when it is NULL. */
void forward_free(struct forward **f);

struct id forward_id(const struct forward *f);

#endif
