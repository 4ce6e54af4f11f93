/* What the worker makes of its configuration, for all sessions and probes: TLS contexts
 * (tls_set.h), networks, source addresses, passwords of probes. Only what is made from files is
 * ever made anew: see contexts_renew(). */
#ifndef USHER_WORKER_CONTEXTS_H
#define USHER_WORKER_CONTEXTS_H

#include "base/addr.h"
#include "base/err.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>

struct contexts;
struct dial_sources;
struct msg_tickets;
struct tls_context;
struct worker;

/* Makes w->contexts, empty. */
void contexts_init(struct worker *w);

/* Fills them from the configuration and the files that the parent gave, which are dropped then. */
int contexts_make(struct worker *w, struct err *err) MUST_CHECK;

/* The parent's keys for tickets: before contexts_make(), and whenever they change. */
void contexts_take_tickets(struct worker *w, const struct msg_tickets *m);

/* TLS contexts and passwords from the files that the parent has given since, for handshakes and
 * logins from now on; connections that live keep their contexts. The parent has made the same
 * before, so that only memory can fail; then all old ones stay, and the log says so. */
void contexts_renew(struct worker *w);

/* Clears w->contexts; harmless when it is NULL. */
void contexts_free(struct worker *w);

/* For a listener; NULL when it has tls = off. As long as nothing is renewed: ask again for each
 * connection. */
struct tls_context *contexts_server(const struct worker *w, size_t listener);

/* For a backend, likewise. */
struct tls_context *contexts_backend(const struct worker *w, size_t pool, size_t backend);

/* With what a pool's probes log in (check = login; else empty). As long as nothing is renewed. */
struct slice contexts_check_password(const struct worker *w, size_t pool);

/* Where to connect to a backend from; NULL: the kernel's choice. */
struct dial_sources *contexts_sources(const struct worker *w, size_t pool, size_t backend);

/* A backend has told its capabilities at a login. What usher promises before login is kept by the
 * backend afterwards, so LITERAL+ is announced only when every backend of the pool is known to have
 * it. */
void contexts_learn(struct worker *w, size_t pool, size_t backend, bool has_literal_plus);

/* Whether the address is in trusted_networks. */
bool contexts_trusts(const struct worker *w, const struct addr *a);

#endif
