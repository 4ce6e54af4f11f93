/* TLS contexts: policy, certificates, trust. Connections are tls_stream.c's. */
#include "net/tls.h"

#include "net/tls_internal.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <stdlib.h>
#include <unistd.h>

/* As ALPN writes it: a list of one name, each after its length (RFC 7301). */
static const unsigned char alpn_imap[] = {4, 'i', 'm', 'a', 'p'};

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n,
                   const unsigned char *offered, unsigned offered_n, void *arg)
{
    unsigned char *chosen;

    (void)ssl;
    (void)arg;
    if (SSL_select_next_proto(&chosen, out_n, alpn_imap, sizeof alpn_imap, offered, offered_n) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static void set_policy(SSL_CTX *ssl)
{
    if (SSL_CTX_get_min_proto_version(ssl) < TLS1_2_VERSION)
        SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION);
    if (SSL_CTX_get_security_level(ssl) < 2)
        SSL_CTX_set_security_level(ssl, 2);
    /* A bare end of the connection is an ordinary one: see stream.h. */
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_IGNORE_UNEXPECTED_EOF);
    /* Retried writes come from buffers that may have moved or grown meanwhile. */
    SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    /* Header and body of a record in one system call. */
    SSL_CTX_set_read_ahead(ssl, 1);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ssl, 1);
}

static struct tls_context *context_new(bool is_server, struct err *err)
{
    struct tls_context *ctx = calloc(1, sizeof *ctx);

    if (!ctx) {
        (void)err_sys(err, ENOMEM, "TLS");
        return NULL;
    }
    ERR_clear_error();
    ctx->is_server = is_server;
    ctx->ssl = SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method());
    if (!ctx->ssl) {
        (void)tls_error(err, tls_take_error(), "TLS");
        free(ctx);
        return NULL;
    }
    set_policy(ctx->ssl);
    return ctx;
}

void tls_context_free(struct tls_context **ctx)
{
    if (!*ctx)
        return;
    SSL_CTX_free((*ctx)->ssl);
    free(*ctx);
    *ctx = NULL;
}

/* ---- PEM ---- */

/* In place of OpenSSL's, which would ask on the terminal. */
static int on_passphrase(char *out, int cap, int is_writing, void *arg)
{
    bool *is_protected = arg;

    (void)out;
    (void)cap;
    (void)is_writing;
    *is_protected = true;
    return -1;
}

/* NULL for an empty text, with the error set. */
static BIO *pem_open(struct slice pem, const char *what, struct err *err)
{
    BIO *bio;

    ERR_clear_error();
    if (pem.n == 0 || pem.n > INT_MAX) {
        (void)err_set(err, 0, "%s: the text is %s", what, pem.n ? "too long" : "empty");
        return NULL;
    }
    bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    if (!bio)
        (void)tls_error(err, tls_take_error(), "%s", what);
    return bio;
}

/* The next certificate; NULL at the end (0) or for a broken one (-1). */
static int read_certificate(BIO *bio, X509 **out_cert, const char *what, struct err *err)
{
    bool is_protected = false;
    unsigned long code;

    *out_cert = PEM_read_bio_X509(bio, NULL, on_passphrase, &is_protected);
    if (*out_cert)
        return 0;
    code = ERR_peek_last_error();
    if (ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE) {
        ERR_clear_error();
        return 0;
    }
    return tls_error(err, tls_take_error(), "%s: a certificate in it cannot be read", what);
}

static EVP_PKEY *read_key(struct slice pem, struct err *err)
{
    static const char what[] = "the TLS key";
    bool is_protected = false;
    EVP_PKEY *key;
    BIO *bio = pem_open(pem, what, err);

    if (!bio)
        return NULL;
    key = PEM_read_bio_PrivateKey(bio, NULL, on_passphrase, &is_protected);
    BIO_free(bio);
    if (!key && is_protected)
        (void)err_set(err, 0,
                      "%s is protected by a passphrase; store it without one (openssl pkey -in "
                      "protected.pem -out key.pem) and guard the file instead",
                      what);
    else if (!key)
        (void)tls_error(err, tls_take_error(), "%s: no private key in PEM is found there", what);
    ERR_clear_error();
    return key;
}

/* ---- a listener's ---- */

/* Takes the chain behind the certificate; what is in `bio` is owned by the caller. */
static int use_chain(SSL_CTX *ssl, BIO *bio, const char *what, struct err *err)
{
    X509 *cert;

    for (;;) {
        if (read_certificate(bio, &cert, what, err) != 0)
            return -1;
        if (!cert)
            return 0;
        if (SSL_CTX_add0_chain_cert(ssl, cert) != 1) {
            X509_free(cert);
            return tls_error(err, tls_take_error(), "%s: its chain", what);
        }
    }
}

static int use_key(SSL_CTX *ssl, X509 *cert, struct slice key_pem, struct err *err)
{
    EVP_PKEY *key = read_key(key_pem, err);
    int ret = 0;

    if (!key)
        return -1;
    if (X509_check_private_key(cert, key) != 1)
        ret =
            err_set(err, 0,
                    "the TLS key does not belong to the certificate (of several certificates in a "
                    "file, the server's own must be the first)");
    else if (SSL_CTX_use_PrivateKey(ssl, key) != 1)
        ret = tls_error(err, tls_take_error(), "the TLS key");
    ERR_clear_error();
    EVP_PKEY_free(key);
    return ret;
}

static int use_identity(SSL_CTX *ssl, struct slice certificate_pem, struct slice key_pem,
                        struct err *err)
{
    static const char what[] = "the TLS certificate";
    X509 *cert = NULL;
    int ret = -1;
    BIO *bio = pem_open(certificate_pem, what, err);

    if (!bio)
        return -1;
    if (read_certificate(bio, &cert, what, err) != 0)
        goto out;
    if (!cert)
        (void)err_set(err, 0, "%s: no certificate in PEM is found there", what);
    else if (SSL_CTX_use_certificate(ssl, cert) != 1)
        (void)tls_error(err, tls_take_error(), "%s", what);
    else if (use_chain(ssl, bio, what, err) == 0)
        ret = use_key(ssl, cert, key_pem, err);
out:
    X509_free(cert);
    BIO_free(bio);
    return ret;
}

int tls_server_new(struct slice certificate_pem, struct slice key_pem, struct tls_context **out_ctx,
                   struct err *err)
{
    struct tls_context *ctx = context_new(true, err);

    if (!ctx)
        return -1;
    if (use_identity(ctx->ssl, certificate_pem, key_pem, err) != 0) {
        tls_context_free(&ctx);
        return -1;
    }
    SSL_CTX_set_alpn_select_cb(ctx->ssl, on_alpn, NULL);
    *out_ctx = ctx;
    return 0;
}

/* ---- towards backends ---- */

static int trust(SSL_CTX *ssl, struct slice ca_pem, struct err *err)
{
    static const char what[] = "the CA certificates";
    X509_STORE *store = SSL_CTX_get_cert_store(ssl);
    BIO *bio = pem_open(ca_pem, what, err);
    X509 *cert = NULL;
    size_t n = 0;
    int ret;

    if (!bio)
        return -1;
    while ((ret = read_certificate(bio, &cert, what, err)) == 0 && cert) {
        int ok = X509_STORE_add_cert(store, cert);

        X509_free(cert);
        if (ok != 1) {
            ret = tls_error(err, tls_take_error(), "%s", what);
            break;
        }
        n++;
    }
    BIO_free(bio);
    if (ret == 0 && n == 0)
        ret = err_set(err, 0, "%s: no certificate in PEM is found there", what);
    /* Whoever names an intermediate CA or a backend's own certificate means just that one. */
    if (ret == 0)
        X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
    return ret;
}

const char *tls_system_ca_file(void)
{
    static const char *const known[] = {
        "/etc/ssl/certs/ca-certificates.crt", /* Debian, Ubuntu, Arch, Alpine */
        "/etc/pki/tls/certs/ca-bundle.crt",   /* Fedora, RHEL */
        "/etc/ssl/ca-bundle.pem",             /* SUSE */
    };
    const char *named = secure_getenv(X509_get_default_cert_file_env());

    if (named && access(named, R_OK) == 0)
        return named;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (access(known[i], R_OK) == 0)
            return known[i];
    named = X509_get_default_cert_file();
    return access(named, R_OK) == 0 ? named : NULL;
}

static int trust_system(SSL_CTX *ssl, struct err *err)
{
    if (SSL_CTX_set_default_verify_paths(ssl) == 1)
        return 0;
    return tls_error(err, tls_take_error(), "the CA certificates of the system");
}

int tls_client_new(struct slice ca_pem, bool verifies, struct tls_context **out_ctx,
                   struct err *err)
{
    struct tls_context *ctx = context_new(false, err);

    if (!ctx)
        return -1;
    if ((ca_pem.n ? trust(ctx->ssl, ca_pem, err) : trust_system(ctx->ssl, err)) != 0) {
        tls_context_free(&ctx);
        return -1;
    }
    SSL_CTX_set_verify(ctx->ssl, verifies ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    *out_ctx = ctx;
    return 0;
}
