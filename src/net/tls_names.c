/* The names in certificates and in client hellos, and the table from one to the other. */
#include "net/tls_parts.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/tls1.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

/* ---- one name ---- */

static bool is_name_byte(char c, bool is_pattern)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' ||
           (c == '*' && is_pattern);
}

bool tls_name_normal(struct slice name, bool is_pattern, char out_name[TLS_NAME_TEXT])
{
    if (name.n > 1 && name.p[name.n - 1] == '.')
        name.n--;
    if (name.n == 0 || name.n >= TLS_NAME_TEXT || name.p[0] == '.' || name.p[name.n - 1] == '.')
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];

        out_name[i] = c >= 'A' && c <= 'Z' ? (char)(c + 'a' - 'A') : c;
        if (!is_name_byte(out_name[i], is_pattern))
            return false;
    }
    out_name[name.n] = '\0';
    return true;
}

bool tls_name_matches(const char *pattern, const char *name)
{
    const char *dot = strchr(name, '.');

    if (strcmp(pattern, name) == 0)
        return true;
    return dot && pattern[0] == '*' && pattern[1] == '.' && strcmp(pattern + 1, dot) == 0;
}

void tls_name_text(const X509_NAME *name, char *out, size_t cap)
{
    BIO *bio = BIO_new(BIO_s_mem());
    int n = 0;

    if (bio && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) >= 0 && cap <= INT_MAX)
        n = BIO_read(bio, out, (int)cap - 1);
    out[n > 0 ? n : 0] = '\0';
    BIO_free(bio);
    ERR_clear_error();
}

/* ---- in a certificate ---- */

static struct slice text_of(const ASN1_STRING *s)
{
    return slice_of(ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s));
}

static int each_dns_name(const GENERAL_NAMES *all, bool *has_any,
                         int (*each)(void *arg, const char *name), void *arg)
{
    char name[TLS_NAME_TEXT];

    for (int i = 0; i < sk_GENERAL_NAME_num(all); i++) {
        const GENERAL_NAME *general = sk_GENERAL_NAME_value(all, i);

        if (general->type != GEN_DNS)
            continue;
        *has_any = true;
        if (tls_name_normal(text_of(general->d.dNSName), true, name) && each(arg, name) != 0)
            return -1;
    }
    return 0;
}

static int each_common_name(X509 *cert, int (*each)(void *arg, const char *name), void *arg)
{
    const X509_NAME *subject = X509_get_subject_name(cert);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    char name[TLS_NAME_TEXT];

    if (at < 0)
        return 0;
    if (!tls_name_normal(text_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at))), true,
                         name))
        return 0;
    return each(arg, name);
}

int tls_names_each(X509 *cert, int (*each)(void *arg, const char *name), void *arg)
{
    GENERAL_NAMES *all = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    bool has_any = false;
    int ret = each_dns_name(all, &has_any, each, arg);

    GENERAL_NAMES_free(all);
    ERR_clear_error();
    return ret != 0 || has_any ? ret : each_common_name(cert, each, arg);
}

/* ---- in a client hello ---- */

/* A list with its length of 2 bytes, of names with their type and a length of 2 bytes (RFC 6066
 * section 3); there is but one type and no more than one name of it. Where the lengths do not fit,
 * OpenSSL ends the handshake soon after. */
bool tls_names_asked(SSL *ssl, char out_name[TLS_NAME_TEXT])
{
    const unsigned char *p;
    size_t n, name_n;

    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p, &n) != 1 || n < 5 ||
        p[2] != TLSEXT_NAMETYPE_host_name)
        return false;
    name_n = (size_t)p[3] << 8 | p[4];
    return name_n <= n - 5 && tls_name_normal(slice_of(p + 5, name_n), false, out_name);
}

/* ---- the table ---- */

int tls_names_add(struct tls_names *names, const char *name, size_t rank)
{
    /* Doubled whenever it is a power of two. */
    if ((names->n & (names->n - 1)) == 0) {
        size_t room = names->n ? names->n * 2 : 1;
        struct tls_name *all = reallocarray(names->all, room, sizeof *all);

        if (!all)
            return -1;
        names->all = all;
    }
    char *copy = slice_dup(slice_str(name));

    if (!copy)
        return -1;
    names->all[names->n++] = (struct tls_name){copy, rank, NULL};
    return 0;
}

static int compare(const void *a, const void *b)
{
    const struct tls_name *x = a, *y = b;
    int order = strcmp(x->name, y->name);

    return order ? order : (x->rank > y->rank) - (x->rank < y->rank);
}

void tls_names_sort(struct tls_names *names)
{
    if (names->n > 0)
        qsort(names->all, names->n, sizeof *names->all, compare);
}

/* Among those of one name, any: they have the same context. */
static SSL_CTX *find(const struct tls_names *names, const char *name)
{
    size_t low = 0, high = names->n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = strcmp(names->all[mid].name, name);

        if (order == 0)
            return names->all[mid].ssl;
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

SSL_CTX *tls_names_find(const struct tls_names *names, const char *name)
{
    SSL_CTX *exact = find(names, name);
    const char *dot = strchr(name, '.');
    char wildcard[TLS_NAME_TEXT + 1] = "*";

    if (exact || !dot)
        return exact;
    memcpy(wildcard + 1, dot, strlen(dot) + 1);
    return find(names, wildcard);
}

void tls_names_done(struct tls_names *names)
{
    for (size_t i = 0; i < names->n; i++)
        free(names->all[i].name);
    free(names->all);
    *names = (struct tls_names){0};
}
