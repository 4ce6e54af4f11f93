/* From the configuration to TLS contexts. */
#include "worker/tls_set.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One way to trust backends, and to be known by them. */
struct trust {
    struct trust *next;
    const struct conf_backend *first; /* it was made for this one; others are compared with it */
    struct tls_context *tls;
};

struct tls_set {
    const struct conf *conf;
    struct tls_context **listeners;
    struct trust *trusts;
    struct tls_context ***backends; /* [pool][backend], of `trusts` */
};

_Static_assert((int)TLS_MIN_1_2 == (int)TLS_VERSION_1_2 && (int)TLS_MIN_1_3 == (int)TLS_VERSION_1_3,
               "the configuration's words are net's");
_Static_assert((int)TLS_CLIENT_OFF == (int)CLIENT_CERTIFICATE_OFF &&
                   (int)TLS_CLIENT_OPTIONAL == (int)CLIENT_CERTIFICATE_OPTIONAL &&
                   (int)TLS_CLIENT_REQUIRED == (int)CLIENT_CERTIFICATE_REQUIRED,
               "the configuration's words are net's");

static int no_memory(struct err *err)
{
    return err_set(err, ENOMEM, "out of memory");
}

/* The content of a file; of "", which names none, nothing. */
static struct slice text_of(const struct tls_files *files, const char *name)
{
    return name && name[0] ? files->find(files->arg, name) : slice_of(NULL, 0);
}

/* --- which files ------------------------------------------------------------------------------ */

static bool has_tls(const struct conf *conf)
{
    for (size_t i = 0; i < conf->listeners_n; i++) {
        if (conf->listeners[i].tls != LISTENER_TLS_OFF)
            return true;
    }
    return false;
}

bool tls_set_verifies(const struct conf_backend *b)
{
    return b->tls_verify && b->tls_pin.n == 0;
}

/* The name of the file with the CAs for a backend; "": none is needed. */
static const char *ca_of(const struct conf_backend *b)
{
    if (b->tls_ca[0])
        return b->tls_ca;
    return tls_set_verifies(b) ? TLS_SET_SYSTEM_CA : "";
}

struct naming {
    int (*each)(void *arg, const char *name, struct err *err);
    void *arg;
};

static int name_all(const struct naming *naming, const char *const *names, size_t n,
                    struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        if (names[i][0] && naming->each(naming->arg, names[i], err) < 0)
            return -1;
    }
    return 0;
}

static int name_listeners(const struct naming *naming, const struct conf *conf, struct err *err)
{
    const char *const own[] = {conf->tls.certificate, conf->tls.key};

    if (name_all(naming, own, 2, err) < 0)
        return -1;
    for (size_t i = 0; i < conf->certificates_n; i++) {
        const char *const more[] = {conf->certificates[i].file, conf->certificates[i].key};

        if (name_all(naming, more, 2, err) < 0)
            return err_prefix(err, "certificate %s", conf->certificates[i].title);
    }
    for (size_t i = 0; i < conf->listeners_n; i++) {
        const struct conf_listener *l = &conf->listeners[i];
        const char *const clients[] = {l->client_ca, l->client_crl};

        if (l->tls != LISTENER_TLS_OFF && l->client_certificate != CLIENT_CERTIFICATE_OFF &&
            name_all(naming, clients, 2, err) < 0)
            return err_prefix(err, "listener %s", l->title);
    }
    return 0;
}

static int name_backends(const struct naming *naming, const struct conf_pool *pool, struct err *err)
{
    for (size_t i = 0; i < pool->backends_n; i++) {
        const struct conf_backend *b = &pool->backends[i];
        const char *const names[] = {ca_of(b), b->tls_certificate, b->tls_key};

        if (b->tls != BACKEND_TLS_OFF && name_all(naming, names, 3, err) < 0)
            return err_prefix(err, "backend %s", b->title);
    }
    return 0;
}

int tls_set_names(const struct conf *conf,
                  int (*each)(void *arg, const char *name, struct err *err), void *arg,
                  struct err *err)
{
    const struct naming naming = {each, arg};

    if (has_tls(conf) && name_listeners(&naming, conf, err) < 0)
        return -1;
    for (size_t i = 0; i < conf->pools_n; i++) {
        if (name_backends(&naming, &conf->pools[i], err) < 0)
            return -1;
    }
    return 0;
}

/* --- identities ------------------------------------------------------------------------------- */

static int fill_identity(struct tls_identity *out, const struct tls_files *files,
                         const char *certificate, const char *key, struct err *err)
{
    char *name;

    if (asprintf(&name, "%s with the key %s", certificate, key) < 0)
        return no_memory(err);
    *out = (struct tls_identity){name, text_of(files, certificate), text_of(files, key)};
    return 0;
}

void tls_set_identities_free(struct tls_identity **identities, size_t n)
{
    for (size_t i = 0; *identities && i < n; i++)
        free((void *)(uintptr_t)(*identities)[i].name);
    free(*identities);
    *identities = NULL;
}

int tls_set_identities(const struct conf *conf, const struct tls_files *files,
                       struct tls_identity **out_identities, size_t *out_n, struct err *err)
{
    size_t n = 1 + conf->certificates_n;
    struct tls_identity *all = calloc(n, sizeof *all);

    if (!all)
        return no_memory(err);
    if (fill_identity(&all[0], files, conf->tls.certificate, conf->tls.key, err) < 0)
        goto failed;
    for (size_t i = 0; i < conf->certificates_n; i++) {
        const struct conf_certificate *c = &conf->certificates[i];

        if (fill_identity(&all[i + 1], files, c->file, c->key, err) < 0)
            goto failed;
    }
    *out_identities = all;
    *out_n = n;
    return 0;
failed:
    tls_set_identities_free(&all, n);
    return -1;
}

/* --- listeners -------------------------------------------------------------------------------- */

struct tls_policy tls_set_policy(const struct conf_tls *tls)
{
    return (struct tls_policy){(enum tls_min_version)tls->min_version, tls->ciphers,
                               tls->ciphersuites};
}

static int make_listener(struct tls_set *set, const struct conf_listener *l,
                         const struct tls_files *files, struct tls_server_params *params,
                         struct tls_context **out_ctx, struct err *err)
{
    params->listener = l->title;
    params->policy = tls_set_policy(&set->conf->tls);
    params->client_certificate = (enum tls_client_certificate)l->client_certificate;
    params->client_ca_pem = text_of(files, l->client_ca);
    params->client_crl_pem = text_of(files, l->client_crl);
    return tls_server_new(params, out_ctx, err) < 0 ? err_prefix(err, "listener %s", l->title) : 0;
}

static int make_listeners(struct tls_set *set, const struct tls_files *files,
                          struct tls_tickets *tickets, const struct conf_where **out_where,
                          struct err *err)
{
    const struct conf *conf = set->conf;
    struct tls_identity *identities = NULL;
    size_t identities_n = 0;
    int done = 0;

    set->listeners = calloc(conf->listeners_n + 1, sizeof(struct tls_context *));
    if (!set->listeners)
        return no_memory(err);
    if (!has_tls(conf))
        return 0;
    if (tls_set_identities(conf, files, &identities, &identities_n, err) < 0)
        return -1;
    for (size_t i = 0; i < conf->listeners_n && done == 0; i++) {
        const struct conf_listener *l = &conf->listeners[i];
        struct tls_server_params params = {
            .identities = identities, .identities_n = identities_n, .tickets = tickets};

        if (l->tls == LISTENER_TLS_OFF)
            continue;
        *out_where = &l->where;
        done = make_listener(set, l, files, &params, &set->listeners[i], err);
    }
    tls_set_identities_free(&identities, identities_n);
    return done;
}

/* --- backends --------------------------------------------------------------------------------- */

struct tls_policy tls_set_backend_policy(const struct conf_backend *b)
{
    return (struct tls_policy){(enum tls_min_version)b->tls_min_version, b->tls_ciphers,
                               b->tls_ciphersuites};
}

static bool are_alike(const struct conf_backend *a, const struct conf_backend *b)
{
    return tls_set_verifies(a) == tls_set_verifies(b) && strcmp(ca_of(a), ca_of(b)) == 0 &&
           a->tls_min_version == b->tls_min_version &&
           strcmp(a->tls_ciphers, b->tls_ciphers) == 0 &&
           strcmp(a->tls_ciphersuites, b->tls_ciphersuites) == 0 &&
           strcmp(a->tls_certificate, b->tls_certificate) == 0 &&
           strcmp(a->tls_key, b->tls_key) == 0;
}

static int make_client(const struct conf_backend *b, const struct tls_files *files,
                       struct tls_context **out_ctx, struct err *err)
{
    struct tls_client_params params = {
        .policy = tls_set_backend_policy(b),
        .ca_pem = text_of(files, ca_of(b)),
        .verifies = tls_set_verifies(b),
    };
    int done;

    /* An empty text would mean files that a worker cannot open. */
    if (params.verifies && params.ca_pem.n == 0)
        return err_set(err, 0, "there is no CA certificate in %s", ca_of(b));
    if (b->tls_certificate[0] &&
        fill_identity(&params.identity, files, b->tls_certificate, b->tls_key, err) < 0)
        return -1;
    done = tls_client_new(&params, out_ctx, err);
    free((void *)(uintptr_t)params.identity.name);
    return done;
}

static struct tls_context *find_trust(struct tls_set *set, const struct conf_backend *b,
                                      const struct tls_files *files, struct err *err)
{
    struct trust *t;

    for (t = set->trusts; t; t = t->next) {
        if (are_alike(t->first, b))
            return t->tls;
    }
    t = calloc(1, sizeof *t);
    if (!t) {
        no_memory(err);
        return NULL;
    }
    t->first = b;
    if (make_client(b, files, &t->tls, err) < 0) {
        err_prefix(err, "backend %s", b->title);
        free(t);
        return NULL;
    }
    t->next = set->trusts;
    set->trusts = t;
    return t->tls;
}

static int make_pool(struct tls_set *set, size_t index, const struct tls_files *files,
                     const struct conf_where **out_where, struct err *err)
{
    const struct conf_pool *pool = &set->conf->pools[index];
    struct tls_context **all = calloc(pool->backends_n + 1, sizeof(struct tls_context *));

    if (!all)
        return no_memory(err);
    set->backends[index] = all;
    for (size_t i = 0; i < pool->backends_n; i++) {
        if (pool->backends[i].tls == BACKEND_TLS_OFF)
            continue;
        *out_where = &pool->backends[i].where;
        all[i] = find_trust(set, &pool->backends[i], files, err);
        if (!all[i])
            return -1;
    }
    return 0;
}

static int make_backends(struct tls_set *set, const struct tls_files *files,
                         const struct conf_where **out_where, struct err *err)
{
    set->backends = calloc(set->conf->pools_n + 1, sizeof(struct tls_context **));
    if (!set->backends)
        return no_memory(err);
    for (size_t i = 0; i < set->conf->pools_n; i++) {
        if (make_pool(set, i, files, out_where, err) < 0)
            return -1;
    }
    return 0;
}

/* --- all of it -------------------------------------------------------------------------------- */

int tls_set_new(const struct conf *conf, const struct tls_files *files, struct tls_tickets *tickets,
                struct tls_set **out_set, const struct conf_where **out_where, struct err *err)
{
    struct tls_set *set = calloc(1, sizeof *set);
    const struct conf_where *where = NULL;

    if (!set)
        return no_memory(err);
    set->conf = conf;
    if (make_listeners(set, files, tickets, &where, err) < 0 ||
        make_backends(set, files, &where, err) < 0) {
        tls_set_free(&set);
        if (out_where)
            *out_where = where;
        return -1;
    }
    *out_set = set;
    return 0;
}

void tls_set_free(struct tls_set **set)
{
    struct tls_set *s = *set;

    if (!s)
        return;
    for (size_t i = 0; s->listeners && i < s->conf->listeners_n; i++)
        tls_context_free(&s->listeners[i]);
    free(s->listeners);
    for (size_t i = 0; s->backends && i < s->conf->pools_n; i++)
        free(s->backends[i]);
    free(s->backends);
    while (s->trusts) {
        struct trust *t = s->trusts;

        s->trusts = t->next;
        tls_context_free(&t->tls);
        free(t);
    }
    free(s);
    *set = NULL;
}

struct tls_context *tls_set_listener(const struct tls_set *set, size_t listener)
{
    return set->listeners[listener];
}

struct tls_context *tls_set_backend(const struct tls_set *set, size_t pool, size_t backend)
{
    return set->backends[pool][backend];
}
