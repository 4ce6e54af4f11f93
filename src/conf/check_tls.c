/* Mistakes of meaning in what the configuration says of TLS. What stands in the files is not looked
 * at: that takes OpenSSL, which is net/'s. */
#include "base/addr.h"
#include "conf/check.h"
#include "conf/value.h"

#include <string.h>

/* --- listeners -------------------------------------------------------------------------------- */

static bool has_tls_listener(const struct conf *conf)
{
    for (size_t i = 0; i < conf->listeners_n; i++)
        if (conf->listeners[i].tls != LISTENER_TLS_OFF)
            return true;
    return false;
}

static void check_server_names(struct check *c, const struct conf_listener *l)
{
    const struct conf_where *where = where_of(c, &l->server_names, &l->where);
    char shown[VALUE_SHOWN];

    if (l->server_names.n > 0 && l->tls == LISTENER_TLS_OFF)
        mistake(c, where,
                "server_names has no effect while tls is off; write tls = starttls or implicit");
    for (size_t i = 0; i < l->server_names.n; i++)
        if (!is_dns_name(slice_str(l->server_names.items[i])))
            mistake(c, where,
                    "server_names: \"%s\" is no name; write one as in \"imap.example.org\"",
                    value_show(l->server_names.items[i], shown));
}

static void check_client_files(struct check *c, const struct conf_listener *l, bool with_files)
{
    if (!with_files)
        return;
    if (l->client_ca[0])
        check_file(c, l->client_ca, "client_ca", where_of(c, &l->client_ca, &l->where));
    if (l->client_crl[0])
        check_file(c, l->client_crl, "client_crl", where_of(c, &l->client_crl, &l->where));
}

static void check_client_certificate(struct check *c, const struct conf_listener *l,
                                     bool with_files)
{
    const struct conf_where *where = where_of(c, &l->client_certificate, &l->where);

    if (l->client_certificate == CLIENT_CERTIFICATE_OFF) {
        if (l->client_ca[0])
            mistake(c, where_of(c, &l->client_ca, &l->where),
                    "client_ca has no effect while client_certificate is off; write "
                    "client_certificate = required or optional");
        if (l->client_crl[0])
            mistake(c, where_of(c, &l->client_crl, &l->where),
                    "client_crl has no effect while client_certificate is off; write "
                    "client_certificate = required or optional");
        return;
    }
    if (l->tls == LISTENER_TLS_OFF) {
        mistake(c, where,
                "client_certificate has no effect while tls is off; write tls = implicit or "
                "starttls");
        return;
    }
    if (!l->client_ca[0])
        mistake(c, where,
                "client_certificate needs the CAs that sign clients' certificates; write client_ca "
                "= \"FILE\"");
    if (l->client_certificate == CLIENT_CERTIFICATE_REQUIRED && l->tls == LISTENER_TLS_STARTTLS &&
        l->auth_allow_cleartext)
        mistake(c, where,
                "client_certificate = required does not hold for those who log in without TLS; "
                "write auth_allow_cleartext = no, or tls = implicit");
    check_client_files(c, l, with_files);
}

void check_listener_tls(struct check *c, const struct conf_listener *l, bool with_files)
{
    const struct conf_tls *tls = &c->conf->tls;

    if (l->tls != LISTENER_TLS_OFF && (!tls->certificate[0] || !tls->key[0]))
        mistake(c, where_of(c, &l->tls, &l->where),
                "TLS needs %s; write tls { certificate = \"FILE\" key = \"FILE\" }, or tls = off "
                "here",
                tls->key[0]           ? "a certificate"
                : tls->certificate[0] ? "the certificate's key"
                                      : "a certificate and its key");
    check_server_names(c, l);
    check_client_certificate(c, l, with_files);
}

/* --- certificates ----------------------------------------------------------------------------- */

/* The same file twice would be shown once, and the other's key never used. */
static void check_repeated_file(struct check *c, size_t index)
{
    const struct conf_certificate *cert = &c->conf->certificates[index];
    const struct conf_where *where = where_of(c, &cert->file, &cert->where);
    char shown[VALUE_SHOWN];

    if (!cert->file[0])
        return;
    if (strcmp(cert->file, c->conf->tls.certificate) == 0)
        mistake(c, where, "%s is the certificate of tls { } already; leave this section out",
                value_show(cert->file, shown));
    for (size_t i = 0; i < index; i++) {
        const struct conf_certificate *other = &c->conf->certificates[i];

        if (strcmp(cert->file, other->file) == 0) {
            mistake(c, where, "%s is the file of certificate %s at %s:%u already; leave one out",
                    value_show(cert->file, shown), other->title, other->where.file,
                    other->where.line);
            return;
        }
    }
}

static void check_certificate(struct check *c, size_t index, bool with_files)
{
    const struct conf_certificate *cert = &c->conf->certificates[index];

    check_title(c, SECTION_CERTIFICATE, cert->title, &cert->where);
    check_required(c, SECTION_CERTIFICATE, cert, cert->title, &cert->where);
    check_repeated_file(c, index);
    if (!with_files)
        return;
    if (cert->file[0])
        check_file(c, cert->file, "certificate", where_of(c, &cert->file, &cert->where));
    if (cert->key[0])
        check_file(c, cert->key, "key", where_of(c, &cert->key, &cert->where));
}

static void check_versions(struct check *c, unsigned min_version, const char *const *ciphers,
                           const char *prefix, const struct conf_where *section)
{
    if (min_version == TLS_VERSION_1_3 && (*ciphers)[0])
        mistake(c, where_of(c, ciphers, section),
                "%sciphers has no effect while %smin_version is 1.3; leave it out, or write "
                "%sciphersuites",
                prefix, prefix, prefix);
}

void check_certificates(struct check *c, bool with_files)
{
    const struct conf *conf = c->conf;
    const bool has_tls = has_tls_listener(conf);

    check_versions(c, conf->tls.min_version, &conf->tls.ciphers, "", NULL);
    if (conf->certificates_n > CONF_CERTIFICATES_MAX)
        mistake(c, NULL, "there are %zu certificates; %d is the most", conf->certificates_n,
                CONF_CERTIFICATES_MAX);
    for (size_t i = 0; i < conf->certificates_n && i < CONF_CERTIFICATES_MAX; i++) {
        check_certificate(c, i, with_files && has_tls);
        if (!has_tls)
            mistake(c, &conf->certificates[i].where,
                    "certificate has no effect, as no listener has TLS; write tls = starttls or "
                    "implicit in one");
    }
    if (!with_files || !has_tls)
        return;
    if (conf->tls.certificate[0])
        check_file(c, conf->tls.certificate, "certificate",
                   where_of(c, &conf->tls.certificate, NULL));
    if (conf->tls.key[0])
        check_file(c, conf->tls.key, "key", where_of(c, &conf->tls.key, NULL));
}

/* --- backends --------------------------------------------------------------------------------- */

static void check_without_tls(struct check *c, const struct conf_backend *b)
{
    const struct {
        const char *name;
        const void *member;
        bool is_set;
    } settings[] = {
        {"tls_ca", &b->tls_ca, b->tls_ca[0]},
        {"tls_pin", &b->tls_pin, b->tls_pin.n > 0},
        {"tls_name", &b->tls_name, b->tls_name[0]},
        {"tls_verify", &b->tls_verify, !b->tls_verify},
        {"tls_certificate", &b->tls_certificate, b->tls_certificate[0]},
        {"tls_key", &b->tls_key, b->tls_key[0]},
        {"tls_min_version", &b->tls_min_version, b->tls_min_version != TLS_VERSION_1_2},
        {"tls_ciphers", &b->tls_ciphers, b->tls_ciphers[0]},
        {"tls_ciphersuites", &b->tls_ciphersuites, b->tls_ciphersuites[0]},
    };

    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        if (settings[i].is_set)
            mistake(c, where_of(c, settings[i].member, &b->where),
                    "%s has no effect while tls is off; write tls = starttls or implicit",
                    settings[i].name);
}

static void check_own_certificate(struct check *c, const struct conf_backend *b, bool with_files)
{
    if (b->tls_certificate[0] && !b->tls_key[0])
        mistake(c, where_of(c, &b->tls_certificate, &b->where),
                "tls_certificate needs its key; write tls_key = \"FILE\"");
    if (b->tls_key[0] && !b->tls_certificate[0])
        mistake(c, where_of(c, &b->tls_key, &b->where),
                "tls_key needs its certificate; write tls_certificate = \"FILE\"");
    if (with_files && b->tls_certificate[0])
        check_file(c, b->tls_certificate, "tls_certificate",
                   where_of(c, &b->tls_certificate, &b->where));
    if (with_files && b->tls_key[0])
        check_file(c, b->tls_key, "tls_key", where_of(c, &b->tls_key, &b->where));
}

void check_backend_tls(struct check *c, const struct conf_backend *b, bool with_files)
{
    struct addr addr;
    char shown[VALUE_SHOWN];

    if (b->tls_name[0] && !addr_parse_ip(slice_str(b->tls_name), 0, &addr) &&
        !is_dns_name(slice_str(b->tls_name)))
        mistake(c, where_of(c, &b->tls_name, &b->where),
                "tls_name = \"%s\" is neither a name nor an address",
                value_show(b->tls_name, shown));
    if (b->tls == BACKEND_TLS_OFF) {
        check_without_tls(c, b);
        return;
    }
    if (with_files && b->tls_ca[0])
        check_file(c, b->tls_ca, "tls_ca", where_of(c, &b->tls_ca, &b->where));
    check_own_certificate(c, b, with_files);
    check_versions(c, b->tls_min_version, &b->tls_ciphers, "tls_", &b->where);
}
