/* TLS contexts: what many connections share. Certificates come as PEM text, since only the parent
 * reads files.
 *
 * Policy: TLS 1.2 and above, OpenSSL's default suites of security level 2, no renegotiation, no
 * compression; buffers are released while a connection is idle. A stricter policy of the machine
 * (openssl.cnf) stays. Resumption by stateless tickets only, one a connection: no cache is kept.
 * Listeners choose the protocol "imap" when a client offers it by ALPN, and refuse nobody who
 * offers something else.
 *
 * A context is kept by the connections that use it: it may be freed while they live.
 */
#ifndef USHER_NET_TLS_H
#define USHER_NET_TLS_H

#include "base/err.h"
#include "base/slice.h"

#include <stdbool.h>

struct tls_context;

/* For a listener: the certificate, first in its text, with its chain, and the key. Says which of
 * them is wrong and why, also when they do not belong together, and for a key that is protected by
 * a passphrase (nobody is ever asked for one). */
int tls_server_new(struct slice certificate_pem, struct slice key_pem, struct tls_context **out_ctx,
                   struct err *err) MUST_CHECK;

/* Towards backends: `ca_pem` are the certificates to trust, CAs or the backends' own, intermediate
 * ones too. Empty: the system's, which OpenSSL reads from files at the time of a handshake; a
 * process that cannot open files is given the text of tls_system_ca_file() instead. `verifies`
 * false: any certificate will do. */
int tls_client_new(struct slice ca_pem, bool verifies, struct tls_context **out_ctx,
                   struct err *err) MUST_CHECK;

/* The file in which this machine keeps all CAs that it trusts; NULL when it has none. */
const char *tls_system_ca_file(void);

/* Clears *ctx; harmless when it is NULL. */
void tls_context_free(struct tls_context **ctx);

#endif
