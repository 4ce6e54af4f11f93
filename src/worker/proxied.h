/* The PROXY protocol at both ends of a session: the header that a proxy before us sends, and the
 * one that we send to a backend. What it looks like is net/proxy.h's. Private to worker/. */
#ifndef USHER_WORKER_PROXIED_H
#define USHER_WORKER_PROXIED_H

#include "base/err.h"

struct session;

/* A listener with proxy = yes has accepted: waits for the header, then goes on as any other session
 * does. */
void proxied_begin(struct session *s);
void proxied_on_event(struct session *s);

/* Sends the header that the backend wants, the first bytes of its connection. -1 when it could not
 * go. */
int proxied_send(struct session *s, struct err *err) MUST_CHECK;

#endif
