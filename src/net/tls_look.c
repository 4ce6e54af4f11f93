/* For those who only look at certificates: usher check, and metrics. */
#include "net/tls_parts.h"

#include <openssl/err.h>
#include <openssl/objects.h>
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

int tls_look(const struct tls_identity *identity, struct tls_facts *out_facts, struct err *err)
{
    struct tls_pair pair;
    int64_t before, after;

    if (tls_pem_pair(identity, false, &pair, err) != 0)
        return -1;
    if (seconds_of(X509_get0_notBefore(pair.cert), &before) != 0 ||
        seconds_of(X509_get0_notAfter(pair.cert), &after) != 0) {
        tls_pair_done(&pair);
        ERR_clear_error();
        return err_set(err, 0, "%s: its dates cannot be read", identity->name);
    }
    out_facts->not_before = before;
    out_facts->not_after = after;
    out_facts->key_kind = kind_of(X509_get0_pubkey(pair.cert));
    out_facts->names_n = 0;
    (void)tls_names_each(pair.cert, add_name, out_facts);
    tls_pair_done(&pair);
    ERR_clear_error();
    return 0;
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
