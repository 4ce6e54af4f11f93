/* Sessions that are resumed by tickets (RFC 8446 section 2.2, RFC 5077). A ticket holds the state
 * of its session, sealed under keys that all workers share: AES-256-CBC, then HMAC-SHA256.
 *
 * A session is resumed for one lifetime from its full handshake, however often its ticket is
 * renewed meanwhile, so that a client's certificate is looked at that often (RFC 8446
 * section 4.6.1); the time of that handshake travels in the ticket. */
#include "net/tls_parts.h"

#include "base/secret.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <time.h>

enum { NEXT, CURRENT, PREVIOUS, NAME_N = 16, KEY_N = 32, IV_N = 16 };

_Static_assert(PREVIOUS + 1 == TLS_TICKET_KEYS && NAME_N + KEY_N + KEY_N == TLS_TICKET_KEY,
               "the shape of keys");

struct ticket_key {
    unsigned char name[NAME_N], aes[KEY_N], hmac[KEY_N];
};

struct tls_tickets {
    EVP_CIPHER *cipher; /* fetched once, not for each ticket */
    uint32_t lifetime_s;
    bool has_keys;
    struct ticket_key keys[TLS_TICKET_KEYS];
};

struct tls_tickets *tls_tickets_new(void)
{
    struct tls_tickets *t = secret_alloc(sizeof *t);

    if (!t)
        return NULL;
    memset(t, 0, sizeof *t);
    t->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    if (!t->cipher)
        tls_tickets_free(&t);
    ERR_clear_error();
    return t;
}

void tls_tickets_set(struct tls_tickets *t,
                     const unsigned char keys[TLS_TICKET_KEYS][TLS_TICKET_KEY], uint32_t lifetime_s)
{
    for (size_t i = 0; i < TLS_TICKET_KEYS; i++) {
        memcpy(t->keys[i].name, keys[i], NAME_N);
        memcpy(t->keys[i].aes, keys[i] + NAME_N, KEY_N);
        memcpy(t->keys[i].hmac, keys[i] + NAME_N + KEY_N, KEY_N);
    }
    t->lifetime_s = lifetime_s;
    t->has_keys = true;
}

void tls_tickets_free(struct tls_tickets **t)
{
    if (!*t)
        return;
    EVP_CIPHER_free((*t)->cipher);
    secret_free(*t, sizeof **t);
    *t = NULL;
}

int tls_ticket_key(unsigned char out_key[TLS_TICKET_KEY], struct err *err)
{
    ERR_clear_error();
    if (RAND_priv_bytes(out_key, TLS_TICKET_KEY) == 1)
        return 0;
    return tls_error(err, tls_take_error(), "random bytes for a key of TLS tickets");
}

/* ---- sealing and opening ---- */

static bool use_hmac(EVP_MAC_CTX *mac, struct ticket_key *key)
{
    char sha256[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->hmac, sizeof key->hmac),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, sha256, 0),
        OSSL_PARAM_construct_end(),
    };

    return EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* NULL: a key that is gone, or another machine's. */
static struct ticket_key *find_key(struct tls_tickets *t, const unsigned char *name)
{
    for (size_t i = 0; i < TLS_TICKET_KEYS; i++)
        if (memcmp(t->keys[i].name, name, NAME_N) == 0)
            return &t->keys[i];
    return NULL;
}

/* OpenSSL's terms: -1 fails, 0 no ticket, 1 good, 2 (opening only) good, but give a new one.
 * Sealing never says 0: OpenSSL 3.0 sends a broken message then, so tls_tickets_begin() sees to it
 * that it is not asked without keys. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int is_sealing)
{
    struct tls_tickets *t = tls_context_of(ssl)->tickets;
    struct ticket_key *key = is_sealing ? &t->keys[CURRENT] : find_key(t, name);

    if (is_sealing) {
        memcpy(name, key->name, NAME_N);
        if (RAND_bytes(iv, IV_N) != 1 ||
            EVP_EncryptInit_ex(cipher, t->cipher, NULL, key->aes, iv) != 1)
            return -1;
        return use_hmac(mac, key) ? 1 : -1;
    }
    if (!key)
        return 0;
    if (EVP_DecryptInit_ex(cipher, t->cipher, NULL, key->aes, iv) != 1 || !use_hmac(mac, key))
        return -1;
    /* In TLS 1.3 a client uses a ticket once (RFC 8446 appendix C.4). */
    return key == &t->keys[CURRENT] && SSL_version(ssl) < TLS1_3_VERSION ? 1 : 2;
}

/* ---- how long ---- */

/* When the full handshake was; -1: the session does not know. */
static int64_t begun_at(SSL_SESSION *session)
{
    int64_t begun;
    void *data;
    size_t n;

    if (SSL_SESSION_get0_ticket_appdata(session, &data, &n) != 1 || n != sizeof begun)
        return -1;
    memcpy(&begun, data, sizeof begun);
    return begun;
}

/* Before a ticket is sealed: it may be used as long as its session is resumed at all. */
static int on_seal(SSL *ssl, void *arg)
{
    const struct tls_tickets *t = arg;
    SSL_SESSION *session = SSL_get_session(ssl);
    int64_t now = time(NULL), begun = begun_at(session), left;

    if (begun < 0) {
        begun = now;
        if (SSL_SESSION_set1_ticket_appdata(session, &begun, sizeof begun) != 1)
            return 0;
    }
    left = begun + t->lifetime_s - now;
    (void)SSL_SESSION_set_time(session, (long)now);
    (void)SSL_SESSION_set_timeout(session, left > 0 ? (long)left : 1);
    return 1;
}

static SSL_TICKET_RETURN on_open(SSL *ssl, SSL_SESSION *session, const unsigned char *name,
                                 size_t name_n, SSL_TICKET_STATUS status, void *arg)
{
    const struct tls_tickets *t = arg;
    int64_t now = time(NULL), begun;
    X509 *peer;

    (void)name;
    (void)name_n;
    if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW)
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    begun = begun_at(session);
    if (begun < 0 || now >= begun + t->lifetime_s)
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    peer = SSL_SESSION_get0_peer(session);
    if (peer && (X509_cmp_current_time(X509_get0_notAfter(peer)) <= 0 ||
                 now > tls_context_of(ssl)->crls_end))
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

/* ---- use ---- */

void tls_tickets_use(SSL_CTX *ssl, struct tls_tickets *t)
{
    if (!t) {
        SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET);
        SSL_CTX_set_num_tickets(ssl, 0);
        return;
    }
    SSL_CTX_set_num_tickets(ssl, 1);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ssl, on_ticket);
    SSL_CTX_set_session_ticket_cb(ssl, on_seal, on_open, t);
}

void tls_tickets_begin(SSL *ssl, const struct tls_tickets *t)
{
    if (!t || t->has_keys)
        return;
    SSL_set_options(ssl, SSL_OP_NO_TICKET);
    SSL_set_num_tickets(ssl, 0);
}
