/* TLS contexts: what many connections share. Certificates come as PEM text, since only the parent
 * reads files.
 *
 * Policy: TLS 1.2 and above, no renegotiation, no compression, OpenSSL's security level 2; of TLS
 * 1.2 only suites with forward secrecy and authenticated encryption, unless `ciphers` says
 * otherwise. DHE is spoken with backends only, since it costs a listener much (CVE-2002-20001); it
 * takes part where `ciphers` names it. A stricter policy of the machine (openssl.cnf) stays, but
 * for suites that are named. Listeners go by their own order of suites, except for clients that
 * prefer ChaCha20. Buffers are released while a connection is idle. Listeners choose the protocol
 * "imap" when a client offers it by ALPN; one that offers only others is not here by its own will
 * (ALPACA) and is refused with no_application_protocol (RFC 7301). Backends are offered nothing by
 * ALPN. No early data.
 *
 * Certificates are chosen by SNI (RFC 6066 section 3): those for exactly the name, else those for
 * its wildcard (`*.` and one label, RFC 6125 section 6.4.3), else the default. For each name there
 * may be one key of each kind (RSA, RSA-PSS, ECDSA, Ed25519, Ed448); OpenSSL takes what the client
 * can verify. Of two certificates with the same name and kind of key the first is shown and the
 * other is not. The default is the first certificate of all, and for each other kind of key the
 * first that covers one of its names. Names are compared in lower case, without a dot at the end;
 * an SNI that is no name is as one that is not known.
 *
 * Resumption: stateless tickets only, one a connection. A ticket is taken only by a listener of the
 * same name, for the same SNI, with the same rules, CAs and CRLs for clients; anything else is a
 * full handshake. However often its tickets are renewed, a session ends one lifetime after its full
 * handshake; one with a client's certificate also with that, and with the first of the CRLs.
 *
 * Certificates of clients: a CRL makes one necessary for each CA that has signed one, as who is not
 * known to be good does not pass; where each CA has one, they are asked about the CAs' certificates
 * too. A CRL that is out of date is taken, but lets nobody with a certificate pass: whoever shows
 * none comes in as before where it is optional. See tls_look_crls().
 *
 * A context is kept by the connections that use it: it may be freed while they live. Connections of
 * several threads may use one of backends at the same time.
 */
#ifndef USHER_NET_TLS_H
#define USHER_NET_TLS_H

#include "base/err.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tls_context;

enum tls_min_version { TLS_MIN_1_2, TLS_MIN_1_3 };

/* Texts are OpenSSL's words; NULL or "": ours. */
struct tls_policy {
    enum tls_min_version min_version;
    const char *ciphers;      /* of TLS 1.2 */
    const char *ciphersuites; /* of TLS 1.3 */
};

/* A certificate, first in its text, with its chain, and its key. `name` stands for it in errors:
 * the files. An empty certificate_pem: none. */
struct tls_identity {
    const char *name;
    struct slice certificate_pem, key_pem;
};

/* --- tickets ---------------------------------------------------------------------------------- */

/* The keys of all listeners of a process, kept by the contexts that use them. */
struct tls_tickets;

enum { TLS_TICKET_KEYS = 3, TLS_TICKET_KEY = 80 /* name 16, AES-256 32, HMAC 32 */ };

/* NULL when memory is out. Without keys no tickets are given or taken. */
struct tls_tickets *tls_tickets_new(void);

/* [0] is the next key, [1] the one in use, [2] the one before; tickets under all three are taken.
 * One that is not under [1] is renewed; in TLS 1.3 every one is, as it serves once. `lifetime_s` is
 * how long a session may be resumed; clients are told. */
void tls_tickets_set(struct tls_tickets *t,
                     const unsigned char keys[TLS_TICKET_KEYS][TLS_TICKET_KEY],
                     uint32_t lifetime_s);

/* Wipes. Clears *t; harmless when it is NULL. */
void tls_tickets_free(struct tls_tickets **t);

/* Fills a key with random bytes. */
int tls_ticket_key(unsigned char out_key[TLS_TICKET_KEY], struct err *err) MUST_CHECK;

/* --- contexts --------------------------------------------------------------------------------- */

enum tls_client_certificate { TLS_CLIENT_OFF, TLS_CLIENT_OPTIONAL, TLS_CLIENT_REQUIRED };

struct tls_server_params {
    const char *listener; /* its name */
    struct tls_policy policy;
    const struct tls_identity *identities; /* at least one; the first is the default */
    size_t identities_n;
    struct tls_tickets *tickets; /* NULL: no resumption */
    enum tls_client_certificate client_certificate;
    struct slice client_ca_pem;  /* one or more CAs; ignored when OFF */
    struct slice client_crl_pem; /* of these CAs; empty: none is asked */
};

/* For a listener. Says which text is wrong and why: also a key that does not belong to its
 * certificate or is protected by a passphrase (nobody is ever asked for one), a CRL of none of the
 * CAs, a suite that OpenSSL does not know. What the params point to is not needed afterwards, but
 * for the tickets, which must outlive the context and its connections. */
int tls_server_new(const struct tls_server_params *params, struct tls_context **out_ctx,
                   struct err *err) MUST_CHECK;

struct tls_client_params {
    struct tls_policy policy;
    /* The certificates to trust, CAs or the backends' own, intermediate ones too. Empty: the
     * system's, which OpenSSL reads from files at the time of a handshake; a process that cannot
     * open files is given the text of tls_system_ca_file() instead. */
    struct slice ca_pem;
    /* False: any certificate will do, and no CAs are needed; those that are named all the same
     * serve stream_tls_distrust() alone. */
    bool verifies;
    struct tls_identity identity; /* what to show when asked */
};

/* Towards backends. */
int tls_client_new(const struct tls_client_params *params, struct tls_context **out_ctx,
                   struct err *err) MUST_CHECK;

/* The file in which this machine keeps all CAs that it trusts; NULL when it has none. */
const char *tls_system_ca_file(void);

/* Clears *ctx; harmless when it is NULL. */
void tls_context_free(struct tls_context **ctx);

/* --- looking at certificates ------------------------------------------------------------------ */

enum { TLS_NAMES_MAX = 256, TLS_NAME_TEXT = 256 };

/* What a certificate (the first of its text) says of itself. */
struct tls_facts {
    int64_t not_before, not_after; /* seconds since 1970 */
    const char *key_kind;          /* "RSA", "ECDSA", "Ed25519", or OpenSSL's word; static */
    size_t names_n;                /* the dNSName entries; without any, the common name */
    char names[TLS_NAMES_MAX][TLS_NAME_TEXT]; /* in lower case; those beyond are left out */
};

/* Reads a certificate and checks that its key belongs to it (an empty key is not checked). */
int tls_look(const struct tls_identity *identity, struct tls_facts *out_facts,
             struct err *err) MUST_CHECK;

/* Whether one of the names stands for `name`, exactly or as a wildcard. */
bool tls_covers(const struct tls_facts *facts, const char *name);

/* When the first of these CRLs is out of date, in seconds since 1970; INT64_MAX: never. `name` is
 * for the error. */
int tls_look_crls(struct slice crl_pem, const char *name, int64_t *out_next_update,
                  struct err *err) MUST_CHECK;

#endif
