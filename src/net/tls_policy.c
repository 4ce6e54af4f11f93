/* Which versions and suites of TLS are spoken. What openssl.cnf says is the ground: it may be
 * narrowed here, never widened, but for suites that the operator names. */
#include "net/tls_parts.h"

#include "base/buf.h"

#include <openssl/err.h>
#include <openssl/objects.h>

/* OpenSSL's levels: 2 asks for 112 bits, so RSA of 2048. */
enum { LEVEL = 2 };

static bool is_empty(const char *text)
{
    return !text || !text[0];
}

/* ---- words ---- */

/* Words for suites that OpenSSL has no longer; many a list of suites says "not these". */
static bool is_gone(struct slice word)
{
    static const char *const gone[] = {
        "RC4",   "RC2",   "DES",   "3DES",     "MD5",      "IDEA",   "SEED", "LOW",    "MEDIUM",
        "EXP",   "SSLv2", "kECDH", "EXPORT40", "EXPORT56", "EXPORT", "kDH",  "kECDHr", "kECDHe",
        "aECDH", "kDHr",  "kDHd",  "aDH",      "KRB5",     "FZA",    "GOST", "GOST94", "GOST89",
    };

    for (size_t i = 0; i < sizeof gone / sizeof gone[0]; i++)
        if (slice_eq(word, slice_str(gone[i])))
            return true;
    return false;
}

/* Whether one word alone selects any suite of TLS 1.2. */
static bool is_cipher(SSL_CTX *scratch, struct slice word)
{
    char text[128];
    bool selects;

    if (word.n == 0 || word.n >= sizeof text)
        return false;
    memcpy(text, word.p, word.n);
    text[word.n] = '\0';
    selects = SSL_CTX_set_cipher_list(scratch, text) == 1;
    ERR_clear_error();
    return selects;
}

static bool is_suite(SSL_CTX *scratch, struct slice word)
{
    char text[128];
    bool is_known = false;
    struct stack_st_SSL_CIPHER *all;

    if (word.n == 0 || word.n >= sizeof text)
        return false;
    memcpy(text, word.p, word.n);
    text[word.n] = '\0';
    /* It passes over what it does not know; so it is asked what it has taken. */
    if (SSL_CTX_set_ciphersuites(scratch, text) == 1) {
        all = SSL_CTX_get_ciphers(scratch);
        for (int i = 0; i < sk_SSL_CIPHER_num(all); i++)
            is_known |= slice_eq(word, slice_str(SSL_CIPHER_get_name(sk_SSL_CIPHER_value(all, i))));
    }
    ERR_clear_error();
    return is_known;
}

/* Takes the next word off the front of *rest, up to one of `ends`. */
static struct slice next_word(struct slice *rest, const char *ends)
{
    size_t n = 0;
    struct slice word;

    while (n < rest->n && !strchr(ends, rest->p[n]))
        n++;
    word = slice_sub(*rest, 0, n);
    *rest = slice_sub(*rest, n < rest->n ? n + 1 : n, rest->n);
    return word;
}

static bool is_cipher_word(SSL_CTX *scratch, struct slice word)
{
    bool takes_away = word.n > 0 && (word.p[0] == '!' || word.p[0] == '-');
    struct slice at = word;

    /* DEFAULT@SECLEVEL=2: what follows the @ is no suite; OpenSSL refuses it by itself. */
    if (slice_has(word, '@')) {
        word = next_word(&at, "@");
        if (word.n == 0)
            return true;
    }
    if (takes_away || (word.n > 0 && word.p[0] == '+'))
        word = slice_sub(word, 1, word.n);
    return is_cipher(scratch, word) || (takes_away && is_gone(word));
}

static int check_words(const char *text, const char *ends,
                       bool (*is_word)(SSL_CTX *scratch, struct slice word), SSL_CTX *scratch,
                       const char *what, struct err *err)
{
    struct slice rest = slice_str(text);

    while (rest.n > 0) {
        struct slice word = next_word(&rest, ends);

        if (word.n > 0 && !is_word(scratch, word))
            return err_set(err, 0, "%s: OpenSSL knows no suite by the word \"%.*s\"", what,
                           SLICE_ARG(word));
    }
    return 0;
}

int tls_policy_check(const struct tls_policy *policy, struct err *err)
{
    SSL_CTX *scratch;
    int ret = 0;

    if (is_empty(policy->ciphers) && is_empty(policy->ciphersuites))
        return 0;
    ERR_clear_error();
    scratch = SSL_CTX_new(TLS_method());
    if (!scratch)
        return tls_error(err, tls_take_error(), "TLS");
    if (!is_empty(policy->ciphers))
        ret = check_words(policy->ciphers, ":, ;", is_cipher_word, scratch, "ciphers", err);
    if (ret == 0 && !is_empty(policy->ciphersuites))
        ret = check_words(policy->ciphersuites, ":", is_suite, scratch, "ciphersuites", err);
    SSL_CTX_free(scratch);
    return ret;
}

/* ---- suites ---- */

/* Forward secrecy and authenticated encryption. */
static bool is_good(const SSL_CIPHER *cipher)
{
    int exchange = SSL_CIPHER_get_kx_nid(cipher), signature = SSL_CIPHER_get_auth_nid(cipher);

    return SSL_CIPHER_is_aead(cipher) && (exchange == NID_kx_ecdhe || exchange == NID_kx_dhe) &&
           (signature == NID_auth_rsa || signature == NID_auth_ecdsa);
}

/* Leaves the good ones of those that are there, in their order. */
static int use_good_ciphers(SSL_CTX *ssl, bool needs_any, struct err *err)
{
    struct stack_st_SSL_CIPHER *all = SSL_CTX_get_ciphers(ssl);
    struct buf text;
    int ret = 0;

    buf_init(&text, 65536, false);
    for (int i = 0; i < sk_SSL_CIPHER_num(all) && ret == 0; i++) {
        const SSL_CIPHER *cipher = sk_SSL_CIPHER_value(all, i);

        if (is_good(cipher))
            ret = buf_printf(&text, "%s:", SSL_CIPHER_get_name(cipher));
    }
    if (ret == 0 && buf_len(&text) > 0)
        ret = buf_put(&text, slice_of("", 1));
    if (ret != 0)
        ret = err_set(err, 0, "TLS: out of memory");
    else if (buf_len(&text) > 0 && SSL_CTX_set_cipher_list(ssl, text.p) != 1)
        ret = tls_error(err, tls_take_error(), "TLS: the suites of TLS 1.2");
    else if (buf_len(&text) == 0 && needs_any)
        ret = err_set(err, 0,
                      "openssl.cnf of this machine leaves no suite of TLS 1.2 with forward secrecy "
                      "and authenticated encryption; name some, or ask for TLS 1.3");
    buf_release(&text);
    return ret;
}

static int use_named_ciphers(SSL_CTX *ssl, const char *ciphers, struct err *err)
{
    int level = SSL_CTX_get_security_level(ssl);

    if (SSL_CTX_set_cipher_list(ssl, ciphers) != 1)
        return tls_error(err, tls_take_error(), "ciphers: \"%s\"", ciphers);
    if (SSL_CTX_get_security_level(ssl) < level)
        return err_set(err, 0, "ciphers: @SECLEVEL below %d is not taken", level);
    /* DHE costs a listener much and a client nothing (CVE-2002-20001), so it is there only by the
     * operator's word; without this there are no parameters for it. */
    SSL_CTX_set_dh_auto(ssl, 1);
    return 0;
}

/* ---- all of it ---- */

int tls_policy_apply(SSL_CTX *ssl, const struct tls_policy *policy, struct err *err)
{
    bool is_1_3 = policy->min_version == TLS_MIN_1_3;
    int min = is_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;
    int max = (int)SSL_CTX_get_max_proto_version(ssl);

    if (max != 0 && max < min)
        return err_set(err, 0, "openssl.cnf of this machine does not allow TLS %s",
                       is_1_3 ? "1.3" : "1.2");
    if (SSL_CTX_get_min_proto_version(ssl) < min)
        SSL_CTX_set_min_proto_version(ssl, min);
    if (SSL_CTX_get_security_level(ssl) < LEVEL)
        SSL_CTX_set_security_level(ssl, LEVEL);
    if (!is_empty(policy->ciphersuites) && SSL_CTX_set_ciphersuites(ssl, policy->ciphersuites) != 1)
        return tls_error(err, tls_take_error(), "ciphersuites: \"%s\"", policy->ciphersuites);
    if (!is_empty(policy->ciphers))
        return use_named_ciphers(ssl, policy->ciphers, err);
    return use_good_ciphers(ssl, SSL_CTX_get_min_proto_version(ssl) < TLS1_3_VERSION, err);
}
