/* Certificates made in memory, for tests of TLS. PEM texts are freed with free(). */
#ifndef USHER_TESTS_CERTS_H
#define USHER_TESTS_CERTS_H

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct cert {
    X509 *x509;
    EVP_PKEY *key;
};

static inline void cert_extend(X509 *cert, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

    assert_non_null(extension);
    assert_int_equal(X509_add_ext(cert, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

/* Ed25519 and Ed448 have their own. */
static inline const EVP_MD *cert_digest(const EVP_PKEY *key)
{
    int kind = EVP_PKEY_get_base_id(key);

    return kind == EVP_PKEY_ED25519 || kind == EVP_PKEY_ED448 ? NULL : EVP_sha256();
}

/* `issuer` NULL: self-signed. `alt_names` as "DNS:a.example.org,IP:127.0.0.1", or NULL for a CA.
 * Valid from yesterday for `days`; -1: expired. Takes over `key`; NULL: a new one (P-256). */
static inline struct cert cert_make(const char *name, const char *alt_names,
                                    const struct cert *issuer, int days, EVP_PKEY *key)
{
    struct cert c = {X509_new(), key ? key : EVP_EC_gen("P-256")};
    X509_NAME *subject = X509_get_subject_name(c.x509);
    static long serial;

    assert_non_null(c.key);
    X509_set_version(c.x509, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(c.x509), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(c.x509), -2 * 86400L);
    X509_gmtime_adj(X509_getm_notAfter(c.x509), days * 86400L);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(c.x509, issuer ? X509_get_subject_name(issuer->x509) : subject);
    X509_set_pubkey(c.x509, c.key);
    if (alt_names)
        cert_extend(c.x509, NID_subject_alt_name, alt_names);
    else
        cert_extend(c.x509, NID_basic_constraints, "critical,CA:TRUE");
    assert_true(X509_sign(c.x509, issuer ? issuer->key : c.key,
                          cert_digest(issuer ? issuer->key : c.key)) > 0);
    return c;
}

static inline void cert_free(struct cert *c)
{
    X509_free(c->x509);
    EVP_PKEY_free(c->key);
    memset(c, 0, sizeof *c);
}

static inline char *pem_text(BIO *bio)
{
    char *data;
    long n = BIO_get_mem_data(bio, &data);
    char *text = malloc((size_t)n + 1);

    assert_non_null(text);
    memcpy(text, data, (size_t)n);
    text[n] = '\0';
    BIO_free(bio);
    return text;
}

/* The certificate, and `next` behind it unless NULL. */
static inline char *cert_pem(const struct cert *c, const struct cert *next)
{
    BIO *bio = BIO_new(BIO_s_mem());

    assert_int_equal(PEM_write_bio_X509(bio, c->x509), 1);
    if (next)
        assert_int_equal(PEM_write_bio_X509(bio, next->x509), 1);
    return pem_text(bio);
}

/* A CRL of `issuer` that revokes `revoked` (NULL: none), of yesterday, to be followed by the next
 * one after `days`; -1: that is overdue. 0: it does not say when. */
static inline char *crl_pem(const struct cert *issuer, const struct cert *revoked, int days)
{
    X509_CRL *crl = X509_CRL_new();
    ASN1_TIME *time = ASN1_TIME_new();
    BIO *bio = BIO_new(BIO_s_mem());

    X509_CRL_set_version(crl, 1);
    X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer->x509));
    X509_CRL_set1_lastUpdate(crl, X509_gmtime_adj(time, -2 * 86400L));
    if (days)
        X509_CRL_set1_nextUpdate(crl, X509_gmtime_adj(time, days * 86400L));
    if (revoked) {
        X509_REVOKED *entry = X509_REVOKED_new();

        X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(revoked->x509));
        X509_REVOKED_set_revocationDate(entry, X509_gmtime_adj(time, -2 * 86400L));
        assert_int_equal(X509_CRL_add0_revoked(crl, entry), 1);
    }
    assert_true(X509_CRL_sign(crl, issuer->key, cert_digest(issuer->key)) > 0);
    assert_int_equal(PEM_write_bio_X509_CRL(bio, crl), 1);
    X509_CRL_free(crl);
    ASN1_TIME_free(time);
    return pem_text(bio);
}

/* Takes over both. */
static inline char *pem_join(char *first, char *second)
{
    size_t n = strlen(first), m = strlen(second);
    char *text = realloc(first, n + m + 1);

    assert_non_null(text);
    memcpy(text + n, second, m + 1);
    free(second);
    return text;
}

/* Protected by `passphrase` unless NULL. */
static inline char *key_pem(const struct cert *c, const char *passphrase)
{
    BIO *bio = BIO_new(BIO_s_mem());

    assert_int_equal(PEM_write_bio_PKCS8PrivateKey(
                         bio, c->key, passphrase ? EVP_aes_128_cbc() : NULL, passphrase,
                         passphrase ? (int)strlen(passphrase) : 0, NULL, NULL),
                     1);
    return pem_text(bio);
}

#endif
