/* The worker's TLS contexts: one for its listeners, and one towards backends for each different way
 * to trust, since a bundle of CAs is large and many backends are trusted alike. */
#ifndef USHER_WORKER_CONTEXTS_H
#define USHER_WORKER_CONTEXTS_H

#include "base/err.h"

#include <stddef.h>

struct contexts;
struct tls_context;
struct worker;

/* Makes w->tls from the configuration and the files that the parent gave. */
int contexts_make(struct worker *w, struct err *err) MUST_CHECK;

/* Clears w->tls; harmless when it is NULL. */
void contexts_free(struct worker *w);

/* For listeners; NULL when none has TLS. */
struct tls_context *contexts_server(const struct worker *w);

/* For a backend; NULL when it has tls = off. */
struct tls_context *contexts_backend(const struct worker *w, size_t pool, size_t backend);

#endif
