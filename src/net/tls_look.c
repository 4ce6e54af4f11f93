/* For those who only look at certificates: usher check, metrics, usher ports. */
#include "net/stream.h"
#include "net/tls_parts.h"

#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <time.h>

/* 0, or -1 for a date that is none. */
static int seconds_of(const ASN1_TIME *time, int64_t *out_seconds)
{
    struct tm tm;

    if (!time || ASN1_TIME_to_tm(time, &tm) != 1)
        return -1;
    *out_seconds = timegm(&tm);
    return 0;
}

static const char *kind_of(const EVP_PKEY *key)
{
    switch (key ? EVP_PKEY_get_base_id(key) : NID_undef) {
    case EVP_PKEY_RSA:
        return "RSA";
    case EVP_PKEY_EC:
        return "ECDSA";
    case EVP_PKEY_ED25519:
        return "Ed25519";
    case NID_undef:
        return "unknown";
    default:
        return OBJ_nid2sn(EVP_PKEY_get_base_id(key));
    }
}

static int add_name(void *arg, const char *name)
{
    struct tls_facts *facts = arg;

    if (facts->names_n < TLS_NAMES_MAX)
        memcpy(facts->names[facts->names_n++], name, strlen(name) + 1);
    return 0;
}

/* False when its dates cannot be read. */
static bool facts_of(X509 *cert, struct tls_facts *out_facts)
{
    int64_t before, after;
    bool has_dates = seconds_of(X509_get0_notBefore(cert), &before) == 0 &&
                     seconds_of(X509_get0_notAfter(cert), &after) == 0;

    if (has_dates) {
        out_facts->not_before = before;
        out_facts->not_after = after;
        out_facts->key_kind = kind_of(X509_get0_pubkey(cert));
        out_facts->names_n = 0;
        (void)tls_names_each(cert, add_name, out_facts);
    }
    ERR_clear_error();
    return has_dates;
}

int tls_look(const struct tls_identity *identity, struct tls_facts *out_facts, struct err *err)
{
    struct tls_pair pair;
    bool has_dates;

    if (tls_pem_pair(identity, false, &pair, err) != 0)
        return -1;
    has_dates = facts_of(pair.cert, out_facts);
    tls_pair_done(&pair);
    return has_dates ? 0 : err_set(err, 0, "%s: its dates cannot be read", identity->name);
}

bool tls_covers(const struct tls_facts *facts, const char *name)
{
    char normal[TLS_NAME_TEXT];

    if (!tls_name_normal(slice_str(name), false, normal))
        return false;
    for (size_t i = 0; i < facts->names_n; i++)
        if (tls_name_matches(facts->names[i], normal))
            return true;
    return false;
}

int tls_look_crls(struct slice crl_pem, const char *name, int64_t *out_next_update, struct err *err)
{
    struct stack_st_X509_CRL *crls = NULL;
    int64_t soonest = INT64_MAX, next;

    if (tls_pem_crls(crl_pem, name, &crls, err) != 0)
        return -1;
    for (int i = 0; i < sk_X509_CRL_num(crls); i++) {
        const ASN1_TIME *time = X509_CRL_get0_nextUpdate(sk_X509_CRL_value(crls, i));

        if (seconds_of(time, &next) == 0 && next < soonest)
            soonest = next;
    }
    sk_X509_CRL_pop_free(crls, X509_CRL_free);
    ERR_clear_error();
    *out_next_update = soonest;
    return 0;
}

/* ---- of a peer ---- */

bool stream_tls_facts(const struct stream *s, struct tls_facts *out_facts)
{
    X509 *cert = s->tls ? SSL_get0_peer_certificate(s->tls) : NULL;

    return cert && facts_of(cert, out_facts);
}

bool stream_tls_issuer(const struct stream *s, char *out, size_t cap)
{
    X509 *cert = s->tls ? SSL_get0_peer_certificate(s->tls) : NULL;

    INSIST(cap > 0);
    if (!cert)
        return false;
    tls_name_text(X509_get_issuer_name(cert), out, cap);
    return true;
}

struct reasons {
    char *out;
    size_t cap, n;
    int seen[8]; /* each is told once, however many certificates have it */
    size_t seen_n;
};

/* That no issuer is known says all; OpenSSL puts it in two ways. */
static bool is_said(const struct reasons *r, int reason)
{
    for (size_t i = 0; i < r->seen_n; i++)
        if (r->seen[i] == reason || (r->seen[i] == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY &&
                                     reason == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE))
            return true;
    return false;
}

static void add_reason(struct reasons *r, int reason)
{
    int n;

    if (is_said(r, reason))
        return;
    if (r->seen_n == sizeof r->seen / sizeof r->seen[0])
        return;
    r->seen[r->seen_n++] = reason;
    n = snprintf(r->out + r->n, r->cap - r->n, "%s%s", r->n > 0 ? ", " : "",
                 X509_verify_cert_error_string(reason));
    r->n = n < 0 || (size_t)n >= r->cap - r->n ? r->cap - 1 : r->n + (size_t)n;
}

/* Goes on behind what is wrong, so that all of it is found. */
static int on_verify(int is_good, X509_STORE_CTX *ctx)
{
    if (!is_good)
        add_reason(X509_STORE_CTX_get_app_data(ctx), X509_STORE_CTX_get_error(ctx));
    return 1;
}

/* As OpenSSL does within a handshake, but to the end. */
static bool verify_again(SSL *ssl, X509_STORE_CTX *ctx, struct reasons *r)
{
    X509 *cert = SSL_get0_peer_certificate(ssl);
    X509_STORE *store = SSL_CTX_get_cert_store(SSL_get_SSL_CTX(ssl));

    if (!cert || !ctx || X509_STORE_CTX_init(ctx, store, cert, SSL_get_peer_cert_chain(ssl)) != 1 ||
        X509_STORE_CTX_set_default(ctx, "ssl_server") != 1 ||
        X509_VERIFY_PARAM_set1(X509_STORE_CTX_get0_param(ctx), SSL_get0_param(ssl)) != 1 ||
        X509_STORE_CTX_set_app_data(ctx, r) != 1)
        return false;
    X509_VERIFY_PARAM_set_auth_level(X509_STORE_CTX_get0_param(ctx), SSL_get_security_level(ssl));
    X509_STORE_CTX_set_verify_cb(ctx, on_verify);
    /* What went wrong without a word for the callback: memory, a key that cannot be read. */
    if (X509_verify_cert(ctx) != 1 && r->seen_n == 0)
        add_reason(r, X509_STORE_CTX_get_error(ctx));
    return true;
}

void stream_tls_distrust(const struct stream *s, char *out, size_t cap)
{
    struct reasons r = {.out = out, .cap = cap};
    X509_STORE_CTX *ctx = s->tls ? X509_STORE_CTX_new() : NULL;

    INSIST(cap > 0);
    out[0] = '\0';
    if (s->tls && !verify_again(s->tls, ctx, &r))
        add_reason(&r, X509_V_ERR_UNSPECIFIED);
    X509_STORE_CTX_free(ctx);
    ERR_clear_error();
}
