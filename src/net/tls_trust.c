/* Whom to believe: CAs and CRLs, for clients' certificates and for backends'. */
#include "net/tls_parts.h"

#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <unistd.h>

static int add_certificates(X509_STORE *store, struct stack_st_X509 *certs, const char *what,
                            struct err *err)
{
    for (int i = 0; i < sk_X509_num(certs); i++)
        if (X509_STORE_add_cert(store, sk_X509_value(certs, i)) != 1)
            return tls_error(err, tls_take_error(), "%s", what);
    return 0;
}

/* ---- backends ---- */

int tls_trust_backends(SSL_CTX *ssl, struct slice ca_pem, struct err *err)
{
    static const char what[] = "the CA certificates";
    struct stack_st_X509 *certs = NULL;
    int ret;

    if (ca_pem.n == 0)
        return SSL_CTX_set_default_verify_paths(ssl) == 1
                   ? 0
                   : tls_error(err, tls_take_error(), "the CA certificates of the system");
    if (tls_pem_certificates(ca_pem, what, &certs, err) != 0)
        return -1;
    ret = add_certificates(SSL_CTX_get_cert_store(ssl), certs, what, err);
    /* Whoever names an intermediate CA or a backend's own certificate means just that one. */
    X509_STORE_set_flags(SSL_CTX_get_cert_store(ssl), X509_V_FLAG_PARTIAL_CHAIN);
    sk_X509_pop_free(certs, X509_free);
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

/* ---- clients ---- */

static const char what_ca[] = "the CA certificates for clients";
static const char what_crl[] = "the CRLs for clients";

/* Whether one of these CAs has signed the CRL. */
static bool is_signed(X509_CRL *crl, struct stack_st_X509 *certs)
{
    for (int i = 0; i < sk_X509_num(certs); i++) {
        X509 *cert = sk_X509_value(certs, i);

        if (X509_NAME_cmp(X509_get_subject_name(cert), X509_CRL_get_issuer(crl)) == 0 &&
            X509_CRL_verify(crl, X509_get0_pubkey(cert)) == 1)
            return true;
    }
    return false;
}

static bool has_crl_of(const X509_NAME *issuer, struct stack_st_X509_CRL *crls)
{
    for (int i = 0; i < sk_X509_CRL_num(crls); i++)
        if (X509_NAME_cmp(issuer, X509_CRL_get_issuer(sk_X509_CRL_value(crls, i))) == 0)
            return true;
    return false;
}

/* Whether the issuers of all are among them, up to roots. */
static bool are_complete(struct stack_st_X509 *certs)
{
    bool are = true;

    for (int i = 0; i < sk_X509_num(certs); i++) {
        bool has_issuer = false;

        for (int k = 0; k < sk_X509_num(certs); k++)
            has_issuer |=
                X509_check_issued(sk_X509_value(certs, k), sk_X509_value(certs, i)) == X509_V_OK;
        are &= has_issuer;
    }
    return are;
}

/* An intermediate CA without its root is believed by itself; chains end there then, also where CRLs
 * of higher CAs are known (OpenSSL would look for them with the wrong key).
 *
 * With CRLs, a client's own certificate needs one of its CA. The CAs' certificates are looked up
 * too if there is one to look in for each of them: a root often has none. */
static void set_rules(X509_STORE *store, struct stack_st_X509 *certs,
                      struct stack_st_X509_CRL *crls)
{
    bool have_all = are_complete(certs);
    unsigned long flags = have_all ? 0 : X509_V_FLAG_PARTIAL_CHAIN;

    for (int i = 0; i < sk_X509_num(certs); i++)
        have_all = have_all && has_crl_of(X509_get_issuer_name(sk_X509_value(certs, i)), crls);
    if (crls)
        flags |= X509_V_FLAG_CRL_CHECK | (have_all ? X509_V_FLAG_CRL_CHECK_ALL : 0);
    X509_STORE_set_flags(store, flags);
}

static int add_crls(X509_STORE *store, struct stack_st_X509 *certs, struct stack_st_X509_CRL *crls,
                    struct err *err)
{
    for (int i = 0; i < sk_X509_CRL_num(crls); i++) {
        X509_CRL *crl = sk_X509_CRL_value(crls, i);
        char issuer[256];

        if (!is_signed(crl, certs)) {
            tls_name_text(X509_CRL_get_issuer(crl), issuer, sizeof issuer);
            return err_set(err, 0, "%s: that of %s is signed by none of the CAs", what_crl, issuer);
        }
        if (X509_STORE_add_crl(store, crl) != 1)
            return tls_error(err, tls_take_error(), "%s", what_crl);
    }
    return 0;
}

static struct stack_st_X509_NAME *names_of(struct stack_st_X509 *certs)
{
    struct stack_st_X509_NAME *names = sk_X509_NAME_new_null();

    for (int i = 0; names && i < sk_X509_num(certs); i++) {
        X509_NAME *name = X509_NAME_dup(X509_get_subject_name(sk_X509_value(certs, i)));

        if (!name || sk_X509_NAME_push(names, name) <= 0) {
            X509_NAME_free(name);
            sk_X509_NAME_pop_free(names, X509_NAME_free);
            return NULL;
        }
    }
    return names;
}

static int make_trust(struct tls_trust *trust, struct stack_st_X509 *certs,
                      struct stack_st_X509_CRL *crls, struct err *err)
{
    trust->store = X509_STORE_new();
    trust->names = names_of(certs);
    if (!trust->store || !trust->names)
        return tls_error(err, tls_take_error(), "%s", what_ca);
    if (add_certificates(trust->store, certs, what_ca, err) != 0 ||
        add_crls(trust->store, certs, crls, err) != 0)
        return -1;
    set_rules(trust->store, certs, crls);
    return 0;
}

int tls_trust_clients(struct slice ca_pem, struct slice crl_pem, struct tls_trust *out_trust,
                      struct err *err)
{
    struct stack_st_X509 *certs = NULL;
    struct stack_st_X509_CRL *crls = NULL;
    struct tls_trust trust = {0};
    int ret = tls_pem_certificates(ca_pem, what_ca, &certs, err);

    if (ret == 0 && crl_pem.n > 0)
        ret = tls_pem_crls(crl_pem, what_crl, &crls, err);
    if (ret == 0)
        ret = make_trust(&trust, certs, crls, err);
    sk_X509_CRL_pop_free(crls, X509_CRL_free);
    sk_X509_pop_free(certs, X509_free);
    if (ret == 0)
        *out_trust = trust;
    else
        tls_trust_done(&trust);
    return ret;
}

void tls_trust_done(struct tls_trust *trust)
{
    X509_STORE_free(trust->store);
    sk_X509_NAME_pop_free(trust->names, X509_NAME_free);
    *trust = (struct tls_trust){0};
}
