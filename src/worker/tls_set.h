/* All TLS contexts that a configuration asks for, made from its files.
 *
 * A worker makes the set that it serves with; the parent makes one of the same files first, to see
 * whether they are good, so that nothing can be good there and bad here. Nobody opens files for it:
 * whoever makes a set has their content.
 *
 * There is one context for each listener with TLS, and one towards backends for each different way
 * to trust and to be known, since a bundle of CAs is large and many backends are alike.
 */
#ifndef USHER_WORKER_TLS_SET_H
#define USHER_WORKER_TLS_SET_H

#include "base/err.h"
#include "base/slice.h"
#include "conf/conf.h"
#include "net/tls.h"

#include <stdbool.h>
#include <stddef.h>

/* The name that stands for the file of tls_system_ca_file(), which only the parent can tell. */
#define TLS_SET_SYSTEM_CA "(the CAs of the system)"

/* Gives the content of a file by its name, for the time of the call that asks; empty when there is
 * none. */
struct tls_files {
    struct slice (*find)(const void *arg, const char *name);
    const void *arg;
};

struct tls_set;

/* Calls each(arg, name, err) for every file that the contexts are made from: a path of the
 * configuration or TLS_SET_SYSTEM_CA, some more than once. Ends at the first -1. */
int tls_set_names(const struct conf *conf,
                  int (*each)(void *arg, const char *name, struct err *err), void *arg,
                  struct err *err) MUST_CHECK;

/* What listeners show: that of tls { } first, then the certificate sections in their order. The
 * texts are those of `files`; tls_set_identities_free() frees the rest. */
int tls_set_identities(const struct conf *conf, const struct tls_files *files,
                       struct tls_identity **out_identities, size_t *out_n,
                       struct err *err) MUST_CHECK;
void tls_set_identities_free(struct tls_identity **identities, size_t n);

/* `tickets` may be NULL; else they must outlive the set and its connections. `conf` must outlive
 * the set. The error names the listener or backend, and *out_where (which may be NULL) is its
 * section.
 */
int tls_set_new(const struct conf *conf, const struct tls_files *files, struct tls_tickets *tickets,
                struct tls_set **out_set, const struct conf_where **out_where,
                struct err *err) MUST_CHECK;

/* Connections that use its contexts go on. Clears *set; harmless when it is NULL. */
void tls_set_free(struct tls_set **set);

/* NULL with tls = off. */
struct tls_context *tls_set_listener(const struct tls_set *set, size_t listener);
struct tls_context *tls_set_backend(const struct tls_set *set, size_t pool, size_t backend);

/* Whether OpenSSL verifies this backend's certificate. One with tls_pin does not: its key is
 * compared after the handshake. */
bool tls_set_verifies(const struct conf_backend *b);

/* The policies that the configuration writes. */
struct tls_policy tls_set_policy(const struct conf_tls *tls);
struct tls_policy tls_set_backend_policy(const struct conf_backend *b);

#endif
