/* TLS contexts of listeners: which certificate is shown for which name, and which session may be
 * resumed. */
#include "net/tls_parts.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>

/* ---- what a client says ---- */

/* As ALPN writes it: a list of one name, each after its length (RFC 7301). */
static const unsigned char alpn_imap[] = {4, 'i', 'm', 'a', 'p'};

/* Asked only when the client has offered something. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n,
                   const unsigned char *offered, unsigned offered_n, void *arg)
{
    unsigned char *chosen;

    (void)ssl;
    (void)arg;
    if (SSL_select_next_proto(&chosen, out_n, alpn_imap, sizeof alpn_imap, offered, offered_n) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* The choice was made at the hello; here it is only owned up to (RFC 6066 section 3). */
static int on_name(SSL *ssl, int *alert, void *arg)
{
    (void)ssl;
    (void)alert;
    (void)arg;
    return SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name) ? SSL_TLSEXT_ERR_OK
                                                              : SSL_TLSEXT_ERR_NOACK;
}

/* Binds the connection's session, and so its ticket, to listener and name. */
static bool set_scope(SSL *ssl, const struct tls_context *ctx, const char *name)
{
    unsigned char text[sizeof ctx->scope + 1 + TLS_NAME_TEXT], digest[32];
    size_t n = sizeof ctx->scope;

    memcpy(text, ctx->scope, n);
    text[n++] = name != NULL;
    if (name) {
        memcpy(text + n, name, strlen(name));
        n += strlen(name);
    }
    return EVP_Digest(text, n, digest, NULL, EVP_sha256(), NULL) == 1 &&
           SSL_set_session_id_context(ssl, digest, sizeof digest) == 1;
}

/* This early, since OpenSSL opens a ticket before it looks at the name for which it is offered. */
static int on_hello(SSL *ssl, int *alert, void *arg)
{
    const struct tls_context *ctx = arg;
    char name[TLS_NAME_TEXT];
    bool has_name = tls_names_asked(ssl, name);
    SSL_CTX *chosen = has_name ? tls_names_find(&ctx->names, name) : NULL;

    if (!SSL_set_SSL_CTX(ssl, chosen ? chosen : ctx->ssl) ||
        !set_scope(ssl, ctx, has_name ? name : NULL)) {
        *alert = SSL_AD_INTERNAL_ERROR;
        return SSL_CLIENT_HELLO_ERROR;
    }
    tls_tickets_begin(ssl, ctx->tickets);
    return SSL_CLIENT_HELLO_SUCCESS;
}

/* ---- making ---- */

/* Of these a name may have one each; OpenSSL keeps them apart the same way. */
enum kind { KIND_RSA, KIND_RSA_PSS, KIND_ECDSA, KIND_ED25519, KIND_ED448, KINDS };

/* The certificates of one SSL_CTX: indices of identities plus 1; 0: none. */
struct tuple {
    size_t of[KINDS];
};

struct making {
    const struct tls_server_params *params;
    struct tls_context *ctx;
    struct tls_trust trust;
    struct tls_pair *pairs; /* of the identities */
    enum kind *kinds;       /* likewise */
    struct tuple *tuples;   /* of ctx->ssl, then of ctx->others */
    size_t rank;            /* of the identity whose names are added */
};

static int no_memory(struct err *err)
{
    return err_sys(err, ENOMEM, "TLS");
}

static int kind_of(const struct tls_pair *pair, const char *name, enum kind *out_kind,
                   struct err *err)
{
    const EVP_PKEY *key = X509_get0_pubkey(pair->cert);

    switch (key ? EVP_PKEY_get_base_id(key) : EVP_PKEY_NONE) {
    case EVP_PKEY_RSA:
        *out_kind = KIND_RSA;
        return 0;
    case EVP_PKEY_RSA_PSS:
        *out_kind = KIND_RSA_PSS;
        return 0;
    case EVP_PKEY_EC:
        *out_kind = KIND_ECDSA;
        return 0;
    case EVP_PKEY_ED25519:
        *out_kind = KIND_ED25519;
        return 0;
    case EVP_PKEY_ED448:
        *out_kind = KIND_ED448;
        return 0;
    default:
        return err_set(err, 0, "%s: a key of this kind is of no use for TLS", name);
    }
}

static int add_name(void *arg, const char *name)
{
    struct making *m = arg;

    return tls_names_add(&m->ctx->names, name, m->rank);
}

static int read_identities(struct making *m, struct err *err)
{
    for (size_t i = 0; i < m->params->identities_n; i++) {
        const struct tls_identity *identity = &m->params->identities[i];

        if (tls_pem_pair(identity, true, &m->pairs[i], err) != 0 ||
            kind_of(&m->pairs[i], identity->name, &m->kinds[i], err) != 0)
            return -1;
        m->rank = i;
        if (tls_names_each(m->pairs[i].cert, add_name, m) != 0)
            return no_memory(err);
    }
    return 0;
}

static int verify_clients(SSL_CTX *ssl, const struct making *m, struct err *err)
{
    bool must_show = m->params->client_certificate == TLS_CLIENT_REQUIRED;
    struct stack_st_X509_NAME *names;

    if (m->params->client_certificate == TLS_CLIENT_OFF)
        return 0;
    names = SSL_dup_CA_list(m->trust.names);
    if (!names)
        return no_memory(err);
    SSL_CTX_set_client_CA_list(ssl, names);
    SSL_CTX_set1_cert_store(ssl, m->trust.store);
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | (must_show ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                       NULL);
    return 0;
}

/* A new SSL_CTX; NULL with the error set. */
static SSL_CTX *make_ssl(const struct making *m, const struct tuple *tuple, struct err *err)
{
    SSL_CTX *ssl = tls_ssl_new(m->ctx, &m->params->policy, err);

    if (!ssl)
        return NULL;
    SSL_CTX_set_options(ssl, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_client_hello_cb(ssl, on_hello, m->ctx);
    SSL_CTX_set_tlsext_servername_callback(ssl, on_name);
    SSL_CTX_set_alpn_select_cb(ssl, on_alpn, NULL);
    tls_tickets_use(ssl, m->params->tickets);
    if (verify_clients(ssl, m, err) != 0) {
        SSL_CTX_free(ssl);
        return NULL;
    }
    for (size_t kind = 0; kind < KINDS; kind++) {
        size_t at = tuple->of[kind];

        if (at > 0 &&
            tls_ssl_show(ssl, &m->pairs[at - 1], m->params->identities[at - 1].name, err) != 0) {
            SSL_CTX_free(ssl);
            return NULL;
        }
    }
    return ssl;
}

/* The context for these certificates, made if it is not there yet. */
static SSL_CTX *ssl_for(struct making *m, const struct tuple *tuple, struct err *err)
{
    struct tls_context *ctx = m->ctx;
    SSL_CTX *ssl;

    if (ctx->ssl && memcmp(tuple, &m->tuples[0], sizeof *tuple) == 0)
        return ctx->ssl;
    for (size_t i = 0; i < ctx->others_n; i++)
        if (memcmp(tuple, &m->tuples[i + 1], sizeof *tuple) == 0)
            return ctx->others[i];
    ssl = make_ssl(m, tuple, err);
    if (!ssl)
        return NULL;
    if (!ctx->ssl) {
        m->tuples[0] = *tuple;
        ctx->ssl = ssl;
    } else {
        m->tuples[ctx->others_n + 1] = *tuple;
        ctx->others[ctx->others_n++] = ssl;
    }
    return ssl;
}

/* Those of one name stand together, in the order of the identities. */
static size_t end_of_run(const struct tls_names *names, size_t from)
{
    size_t to = from + 1;

    while (to < names->n && strcmp(names->all[from].name, names->all[to].name) == 0)
        to++;
    return to;
}

static void put(struct tuple *tuple, const struct making *m, size_t identity)
{
    size_t *of = &tuple->of[m->kinds[identity]];

    if (*of == 0)
        *of = identity + 1;
}

/* The first certificate, and for each other kind the first that covers one of its names. */
static struct tuple default_tuple(const struct making *m)
{
    const struct tls_names *names = &m->ctx->names;
    size_t best[KINDS];
    struct tuple tuple = {0};

    for (size_t kind = 0; kind < KINDS; kind++)
        best[kind] = SIZE_MAX;
    for (size_t i = 0; i < names->n; i++) {
        if (names->all[i].rank != 0)
            continue;
        for (size_t k = 0; k < names->n; k++) {
            size_t *b = &best[m->kinds[names->all[k].rank]];

            if (names->all[k].rank < *b && tls_name_matches(names->all[k].name, names->all[i].name))
                *b = names->all[k].rank;
        }
    }
    put(&tuple, m, 0);
    for (size_t kind = 0; kind < KINDS; kind++)
        if (best[kind] != SIZE_MAX)
            put(&tuple, m, best[kind]);
    return tuple;
}

static int make_contexts(struct making *m, struct err *err)
{
    struct tls_names *names = &m->ctx->names;
    struct tuple tuple;

    m->tuples = calloc(names->n + 1, sizeof *m->tuples);
    m->ctx->others = calloc(names->n + 1, sizeof(SSL_CTX *));
    if (!m->tuples || !m->ctx->others)
        return no_memory(err);
    tls_names_sort(names);
    tuple = default_tuple(m);
    if (!ssl_for(m, &tuple, err))
        return -1;
    for (size_t from = 0, to; from < names->n; from = to) {
        SSL_CTX *ssl;

        to = end_of_run(names, from);
        tuple = (struct tuple){0};
        for (size_t i = from; i < to; i++)
            put(&tuple, m, names->all[i].rank);
        ssl = ssl_for(m, &tuple, err);
        if (!ssl)
            return -1;
        for (size_t i = from; i < to; i++)
            names->all[i].ssl = ssl;
    }
    return 0;
}

/* With its length before it, so that no two lists of texts look alike. */
static bool add_text(EVP_MD_CTX *md, struct slice text)
{
    uint64_t n = text.n;

    return EVP_DigestUpdate(md, &n, sizeof n) == 1 && EVP_DigestUpdate(md, text.p, text.n) == 1;
}

/* Who may come in is part of it: a session without a certificate must not be resumed where one has
 * become required. */
static int make_scope(const struct making *m, struct err *err)
{
    const struct tls_server_params *params = m->params;
    const unsigned char mode = (unsigned char)params->client_certificate;
    bool asks = params->client_certificate != TLS_CLIENT_OFF;
    struct slice none = slice_of("", 0);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool ok = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 &&
              add_text(md, slice_str(params->listener)) && add_text(md, slice_of(&mode, 1)) &&
              add_text(md, asks ? params->client_ca_pem : none) &&
              add_text(md, asks ? params->client_crl_pem : none) &&
              EVP_DigestFinal_ex(md, m->ctx->scope, NULL) == 1;

    EVP_MD_CTX_free(md);
    return ok ? 0 : tls_error(err, tls_take_error(), "TLS");
}

/* Who has a certificate is asked for it again when a CRL is out of date. */
static int look_at_crls(struct making *m, struct err *err)
{
    struct slice crls = m->params->client_crl_pem;

    return crls.n > 0 ? tls_look_crls(crls, "the CRLs for clients", &m->ctx->crls_end, err) : 0;
}

static int make(struct making *m, struct err *err)
{
    const struct tls_server_params *params = m->params;

    m->ctx = tls_context_new(true, err);
    if (!m->ctx)
        return -1;
    m->ctx->tickets = params->tickets;
    m->ctx->crls_end = INT64_MAX;
    m->pairs = calloc(params->identities_n, sizeof *m->pairs);
    m->kinds = calloc(params->identities_n, sizeof *m->kinds);
    if (!m->pairs || !m->kinds)
        return no_memory(err);
    if (read_identities(m, err) != 0)
        return -1;
    if (params->client_certificate != TLS_CLIENT_OFF &&
        (tls_trust_clients(params->client_ca_pem, params->client_crl_pem, &m->trust, err) != 0 ||
         look_at_crls(m, err) != 0))
        return -1;
    if (make_scope(m, err) != 0)
        return -1;
    return make_contexts(m, err);
}

int tls_server_new(const struct tls_server_params *params, struct tls_context **out_ctx,
                   struct err *err)
{
    struct making m = {.params = params};
    int ret;

    INSIST(params->identities_n > 0);
    if (tls_policy_check(&params->policy, err) != 0)
        return -1;
    ret = make(&m, err);
    for (size_t i = 0; m.pairs && i < params->identities_n; i++)
        tls_pair_done(&m.pairs[i]);
    free(m.pairs);
    free(m.kinds);
    free(m.tuples);
    tls_trust_done(&m.trust);
    if (ret == 0)
        *out_ctx = m.ctx;
    else
        tls_context_free(&m.ctx);
    return ret;
}
