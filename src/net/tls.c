/* TLS contexts: what all have in common, and those towards backends. Listeners' are in
 * tls_server.c, connections in tls_stream.c. */
#include "net/tls.h"

#include "net/tls_parts.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>

struct tls_context *tls_context_new(bool is_server, struct err *err)
{
    struct tls_context *ctx = calloc(1, sizeof *ctx);

    if (!ctx) {
        (void)err_sys(err, ENOMEM, "TLS");
        return NULL;
    }
    ctx->refs = 1;
    ctx->is_server = is_server;
    return ctx;
}

struct tls_context *tls_context_of(const SSL *ssl)
{
    return SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
}

void tls_context_ref(struct tls_context *ctx)
{
    (void)__atomic_add_fetch(&ctx->refs, 1, __ATOMIC_RELAXED);
}

void tls_context_free(struct tls_context **ctx)
{
    struct tls_context *c = *ctx;

    *ctx = NULL;
    if (!c || __atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    for (size_t i = 0; i < c->others_n; i++)
        SSL_CTX_free(c->others[i]);
    free(c->others);
    tls_names_done(&c->names);
    SSL_CTX_free(c->ssl);
    free(c);
}

SSL_CTX *tls_ssl_new(struct tls_context *ctx, const struct tls_policy *policy, struct err *err)
{
    SSL_CTX *ssl;

    ERR_clear_error();
    ssl = SSL_CTX_new(ctx->is_server ? TLS_server_method() : TLS_client_method());
    if (!ssl) {
        (void)tls_error(err, tls_take_error(), "TLS");
        return NULL;
    }
    SSL_CTX_set_app_data(ssl, ctx);
    /* A bare end of the connection is an ordinary one: see stream.h. */
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_CLEANSE_PLAINTEXT);
    /* openssl.cnf may ask for TLS in the kernel, whose options of sockets no sandbox allows. */
    SSL_CTX_clear_options(ssl, SSL_OP_ENABLE_KTLS);
    /* Retried writes come from buffers that may have moved or grown meanwhile. Chains are shown as
     * they are written, not completed with what is there for verifying others. */
    SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
    /* Header and body of a record in one system call. */
    SSL_CTX_set_read_ahead(ssl, 1);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    if (tls_policy_apply(ssl, policy, err) != 0) {
        SSL_CTX_free(ssl);
        return NULL;
    }
    return ssl;
}

int tls_ssl_show(SSL_CTX *ssl, const struct tls_pair *pair, const char *name, struct err *err)
{
    if (SSL_CTX_use_cert_and_key(ssl, pair->cert, pair->key, pair->chain, 1) == 1)
        return 0;
    return tls_error(err, tls_take_error(), "%s", name);
}

/* ---- towards backends ---- */

static int show_own(SSL_CTX *ssl, const struct tls_identity *identity, struct err *err)
{
    struct tls_pair pair;
    int ret;

    if (tls_pem_pair(identity, true, &pair, err) != 0)
        return -1;
    ret = tls_ssl_show(ssl, &pair, identity->name, err);
    tls_pair_done(&pair);
    return ret;
}

/* Nothing is offered by ALPN: a server that takes it seriously and was not told of "imap" must end
 * the handshake (RFC 7301 section 3.2), and there are such on IMAP's ports; none needs it. */
int tls_client_new(const struct tls_client_params *params, struct tls_context **out_ctx,
                   struct err *err)
{
    struct tls_context *ctx;
    bool verifies = params->verifies;

    if (tls_policy_check(&params->policy, err) != 0)
        return -1;
    ctx = tls_context_new(false, err);
    if (!ctx)
        return -1;
    ctx->ssl = tls_ssl_new(ctx, &params->policy, err);
    /* Who does not verify must not look for the system's files either. */
    if (!ctx->ssl ||
        ((verifies || params->ca_pem.n > 0) &&
         tls_trust_backends(ctx->ssl, params->ca_pem, err) != 0) ||
        (params->identity.certificate_pem.n > 0 &&
         show_own(ctx->ssl, &params->identity, err) != 0)) {
        tls_context_free(&ctx);
        return -1;
    }
    SSL_CTX_set_verify(ctx->ssl, verifies ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    *out_ctx = ctx;
    return 0;
}
