/* What the files of TLS share among themselves, in OpenSSL's own types. Only tls*.c include it.
 *
 *     tls.c           contexts, those towards backends
 *     tls_server.c    contexts of listeners: certificates by name, sessions, ALPN
 *     tls_policy.c    versions and suites
 *     tls_pem.c       from PEM texts to certificates, keys and CRLs
 *     tls_names.c     the names in certificates and in client hellos
 *     tls_trust.c     whom to believe: CAs and CRLs
 *     tls_tickets.c   sessions that are resumed
 *     tls_look.c      for those who only look at certificates, texts and peers' ones
 *     tls_stream.c    connections
 *
 * STACK_OF(X509) is written out as what it is, struct stack_st_X509: clang-format takes the macro
 * for a product.
 */
#ifndef USHER_NET_TLS_PARTS_H
#define USHER_NET_TLS_PARTS_H

#include "base/err.h"
#include "base/slice.h"
#include "net/tls.h"
#include "net/tls_internal.h"

#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>

/* --- tls_pem.c -------------------------------------------------------------------------------- */

/* A certificate with what belongs to it. */
struct tls_pair {
    X509 *cert;
    struct stack_st_X509 *chain; /* behind the certificate; may be empty */
    EVP_PKEY *key;               /* NULL: none was asked for */
};

/* Reads certificate and chain, and the key, which must be the certificate's; an empty key_pem is an
 * error only if the key `is_needed`. */
int tls_pem_pair(const struct tls_identity *identity, bool is_needed, struct tls_pair *out_pair,
                 struct err *err) MUST_CHECK;

/* Harmless on zeros. */
void tls_pair_done(struct tls_pair *pair);

/* All certificates (CRLs) of a text, at least one. `what` is for the error. */
int tls_pem_certificates(struct slice pem, const char *what, struct stack_st_X509 **out_certs,
                         struct err *err) MUST_CHECK;
int tls_pem_crls(struct slice pem, const char *what, struct stack_st_X509_CRL **out_crls,
                 struct err *err) MUST_CHECK;

/* --- tls_policy.c ----------------------------------------------------------------------------- */

/* Whether all words of the policy are OpenSSL's. */
int tls_policy_check(const struct tls_policy *policy, struct err *err) MUST_CHECK;

/* For a policy that was checked. What openssl.cnf has set on `ssl` is only made stricter. */
int tls_policy_apply(SSL_CTX *ssl, const struct tls_policy *policy, struct err *err) MUST_CHECK;

/* --- tls_names.c ------------------------------------------------------------------------------ */

/* A name as it is compared: in lower case, without the dot at the end of a rooted one. False for
 * what is no name of a host, or longer than TLS_NAME_TEXT; an asterisk is one only for
 * certificates. */
bool tls_name_normal(struct slice name, bool is_pattern, char out_name[TLS_NAME_TEXT]);

/* Calls each() with each normal dNSName of a certificate; with its common name when it has no
 * dNSName at all. Ends at the first -1 and returns it. */
int tls_names_each(X509 *cert, int (*each)(void *arg, const char *name), void *arg);

/* Whether `pattern` (of a certificate) stands for `name`; both are normal. */
bool tls_name_matches(const char *pattern, const char *name);

/* In the form of RFC 2253, in printable ASCII: the rest of it is escaped. Cut to `cap` (at least
 * 1).
 */
void tls_name_text(const X509_NAME *name, char *out, size_t cap);

/* The name in a client hello, as tls_name_normal() makes it. False when there is none, or garbage.
 */
bool tls_names_asked(SSL *ssl, char out_name[TLS_NAME_TEXT]);

/* Which context shows what belongs to a name. Adding is for the time of making; then
 * tls_names_sort(), then only finding. The contexts are not owned. */
struct tls_names {
    struct tls_name *all;
    size_t n;
};

struct tls_name {
    char *name;
    size_t rank; /* the order of adding, for the one who makes the table */
    SSL_CTX *ssl;
};

int tls_names_add(struct tls_names *names, const char *name, size_t rank) MUST_CHECK;
void tls_names_sort(struct tls_names *names);

/* For exactly the name, else for its wildcard; NULL: for neither. */
SSL_CTX *tls_names_find(const struct tls_names *names, const char *name);
void tls_names_done(struct tls_names *names);

/* --- tls_trust.c ------------------------------------------------------------------------------ */

/* Whose certificates a listener believes, shared by its contexts. */
struct tls_trust {
    X509_STORE *store;
    struct stack_st_X509_NAME *names; /* told to clients */
};

/* For backends: `ca_pem` empty means the system's. */
int tls_trust_backends(SSL_CTX *ssl, struct slice ca_pem, struct err *err) MUST_CHECK;

/* For clients, with a CRL text that may be empty. */
int tls_trust_clients(struct slice ca_pem, struct slice crl_pem, struct tls_trust *out_trust,
                      struct err *err) MUST_CHECK;

/* Harmless on zeros. */
void tls_trust_done(struct tls_trust *trust);

/* --- tls_tickets.c ---------------------------------------------------------------------------- */

/* NULL: no tickets at all. */
void tls_tickets_use(SSL_CTX *ssl, struct tls_tickets *t);

/* For a client hello: none for this connection as long as there is no key. */
void tls_tickets_begin(SSL *ssl, const struct tls_tickets *t);

/* --- tls.c ------------------------------------------------------------------------------------ */

/* Freed by the last of the owner and the connections. */
struct tls_context {
    SSL_CTX *ssl; /* a listener's: the default one */
    size_t refs;
    bool is_server;

    /* a listener's */
    SSL_CTX **others; /* one for each set of certificates beside the default */
    size_t others_n;
    struct tls_names names;
    struct tls_tickets *tickets;
    unsigned char scope[32]; /* a digest of what all tickets of the listener are bound to */
    int64_t crls_end;        /* when the first of the CRLs is out of date; INT64_MAX: never */
};

/* NULL with the error set; no SSL_CTX yet. */
struct tls_context *tls_context_new(bool is_server, struct err *err) MUST_CHECK;

/* An SSL_CTX of this context, with what is common to all; NULL with the error set. */
SSL_CTX *tls_ssl_new(struct tls_context *ctx, const struct tls_policy *policy,
                     struct err *err) MUST_CHECK;

/* Shows this certificate. `name` is for the error. */
int tls_ssl_show(SSL_CTX *ssl, const struct tls_pair *pair, const char *name,
                 struct err *err) MUST_CHECK;

/* The context that a connection was begun with, and its share in it; tls_context_free() gives that
 * back. */
struct tls_context *tls_context_of(const SSL *ssl);
void tls_context_ref(struct tls_context *ctx);

#endif
