/* What the worker makes of its configuration once, for all sessions: TLS contexts, networks, source
 * addresses.
 *
 * There is one TLS context for the listeners, and one towards backends for each different way to
 * trust, since a bundle of CAs is large and many backends are trusted alike. */
#ifndef USHER_WORKER_CONTEXTS_H
#define USHER_WORKER_CONTEXTS_H

#include "base/addr.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct contexts;
struct dial_sources;
struct tls_context;
struct worker;

/* Makes w->contexts from the configuration and the files that the parent gave. */
int contexts_make(struct worker *w, struct err *err) MUST_CHECK;

/* Clears w->contexts; harmless when it is NULL. */
void contexts_free(struct worker *w);

/* For listeners; NULL when none has TLS. */
struct tls_context *contexts_server(const struct worker *w);

/* For a backend; NULL when it has tls = off. One with tls_pin does not verify: its key is compared
 * after the handshake. */
struct tls_context *contexts_backend(const struct worker *w, size_t pool, size_t backend);

/* Where to connect to a backend from; NULL: the kernel's choice. */
struct dial_sources *contexts_sources(const struct worker *w, size_t pool, size_t backend);

/* A backend has told its capabilities at a login. What usher promises before login is kept by the
 * backend afterwards, so LITERAL+ is announced only when every backend of the pool is known to have
 * it. */
void contexts_learn(struct worker *w, size_t pool, size_t backend, bool has_literal_plus);

/* Whether the address is in trusted_networks. */
bool contexts_trusts(const struct worker *w, const struct addr *a);

#endif
