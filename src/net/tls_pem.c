/* From PEM texts to certificates, keys and CRLs. Nobody is asked for a passphrase. */
#include "net/tls_parts.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>

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

/* After a reading that gave nothing: 0 at the end of the text, -1 for a broken one. */
static int end_of_text(const char *what, const char *thing, struct err *err)
{
    unsigned long code = ERR_peek_last_error();

    if (ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE) {
        ERR_clear_error();
        return 0;
    }
    return tls_error(err, tls_take_error(), "%s: a %s in it cannot be read", what, thing);
}

/* The next certificate; NULL at the end. */
static int read_certificate(BIO *bio, X509 **out_cert, const char *what, struct err *err)
{
    bool is_protected = false;

    *out_cert = PEM_read_bio_X509(bio, NULL, on_passphrase, &is_protected);
    return *out_cert ? 0 : end_of_text(what, "certificate", err);
}

static int read_certificates(BIO *bio, struct stack_st_X509 *certs, const char *what,
                             struct err *err)
{
    X509 *cert;

    for (;;) {
        if (read_certificate(bio, &cert, what, err) != 0)
            return -1;
        if (!cert)
            return 0;
        if (sk_X509_push(certs, cert) <= 0) {
            X509_free(cert);
            return tls_error(err, tls_take_error(), "%s", what);
        }
    }
}

int tls_pem_certificates(struct slice pem, const char *what, struct stack_st_X509 **out_certs,
                         struct err *err)
{
    BIO *bio = pem_open(pem, what, err);
    struct stack_st_X509 *certs;
    int ret;

    if (!bio)
        return -1;
    certs = sk_X509_new_null();
    ret = certs ? read_certificates(bio, certs, what, err)
                : tls_error(err, tls_take_error(), "%s", what);
    BIO_free(bio);
    if (ret == 0 && sk_X509_num(certs) == 0)
        ret = err_set(err, 0, "%s: no certificate in PEM is found there", what);
    if (ret == 0)
        *out_certs = certs;
    else
        sk_X509_pop_free(certs, X509_free);
    return ret;
}

static int read_crls(BIO *bio, struct stack_st_X509_CRL *crls, const char *what, struct err *err)
{
    X509_CRL *crl;

    while ((crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL)) != NULL) {
        if (sk_X509_CRL_push(crls, crl) <= 0) {
            X509_CRL_free(crl);
            return tls_error(err, tls_take_error(), "%s", what);
        }
    }
    return end_of_text(what, "CRL", err);
}

int tls_pem_crls(struct slice pem, const char *what, struct stack_st_X509_CRL **out_crls,
                 struct err *err)
{
    BIO *bio = pem_open(pem, what, err);
    struct stack_st_X509_CRL *crls;
    int ret;

    if (!bio)
        return -1;
    crls = sk_X509_CRL_new_null();
    ret = crls ? read_crls(bio, crls, what, err) : tls_error(err, tls_take_error(), "%s", what);
    BIO_free(bio);
    if (ret == 0 && sk_X509_CRL_num(crls) == 0)
        ret = err_set(err, 0, "%s: no CRL in PEM is found there", what);
    if (ret == 0)
        *out_crls = crls;
    else
        sk_X509_CRL_pop_free(crls, X509_CRL_free);
    return ret;
}

/* ---- a certificate and its key ---- */

static EVP_PKEY *read_key(struct slice pem, const char *what, struct err *err)
{
    bool is_protected = false;
    EVP_PKEY *key;
    BIO *bio = pem_open(pem, what, err);

    if (!bio)
        return NULL;
    key = PEM_read_bio_PrivateKey(bio, NULL, on_passphrase, &is_protected);
    BIO_free(bio);
    if (!key && is_protected)
        (void)err_set(
            err, 0,
            "%s: the key is protected by a passphrase; store it without one (openssl pkey "
            "-in protected.pem -out key.pem) and guard the file instead",
            what);
    else if (!key)
        (void)tls_error(err, tls_take_error(), "%s: no private key in PEM is found there", what);
    ERR_clear_error();
    return key;
}

static int read_own_key(const struct tls_identity *identity, struct tls_pair *pair, struct err *err)
{
    int fits;

    pair->key = read_key(identity->key_pem, identity->name, err);
    if (!pair->key)
        return -1;
    fits = X509_check_private_key(pair->cert, pair->key);
    ERR_clear_error();
    if (fits == 1)
        return 0;
    return err_set(err, 0,
                   "%s: the key does not belong to the certificate (of several certificates in a "
                   "file, the server's own must be the first)",
                   identity->name);
}

int tls_pem_pair(const struct tls_identity *identity, bool is_needed, struct tls_pair *out_pair,
                 struct err *err)
{
    struct tls_pair pair = {0};

    if (tls_pem_certificates(identity->certificate_pem, identity->name, &pair.chain, err) != 0)
        return -1;
    pair.cert = sk_X509_shift(pair.chain);
    if ((is_needed || identity->key_pem.n > 0) && read_own_key(identity, &pair, err) != 0) {
        tls_pair_done(&pair);
        return -1;
    }
    *out_pair = pair;
    return 0;
}

void tls_pair_done(struct tls_pair *pair)
{
    X509_free(pair->cert);
    sk_X509_pop_free(pair->chain, X509_free);
    EVP_PKEY_free(pair->key);
    *pair = (struct tls_pair){0};
}
