/* Mistakes in and doubts about the files of TLS. */
#include "parent/certificates.h"

#include "net/tls.h"
#include "worker/tls_set.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DAY_S = 24 * 60 * 60 };

/* A certificate that we show, with its key. */
struct pair {
    const char *file, *key;
    const struct conf_where *where; /* of the file */
    size_t index;                   /* of a listeners' one: 0 that of tls { }, then the sections */
};

/* A name that clients may ask for. */
struct named {
    char *name;
    const char *kind; /* of the key */
    size_t index;
};

struct check {
    const struct conf *conf;
    const struct files *files;
    int64_t now, next; /* next: when another doubt arises */
    certificates_report *report;
    void *arg;
    unsigned mistakes;
    struct tls_facts *facts; /* of the certificate that is looked at */
    struct named *names;
    size_t names_n, names_cap;
    bool **is_covered; /* [listener][server_names] */
};

__attribute__((format(printf, 5, 6))) static void tell(struct check *c, bool is_mistake,
                                                       const struct conf_where *where,
                                                       const char *file, const char *fmt, ...)
{
    char text[640];
    const struct certificates_finding finding = {is_mistake, where, file, text};
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    c->mistakes += is_mistake;
    c->report(c->arg, &finding);
}

#define MISTAKE(c, where, file, ...) tell(c, true, where, file, __VA_ARGS__)
#define DOUBT(c, where, file, ...)   tell(c, false, where, file, __VA_ARGS__)

/* --- all certificates ------------------------------------------------------------------------- */

static bool has_tls(const struct conf *conf)
{
    for (size_t i = 0; i < conf->listeners_n; i++) {
        if (conf->listeners[i].tls != LISTENER_TLS_OFF)
            return true;
    }
    return false;
}

static struct pair pair_of(const struct conf *conf, size_t index)
{
    const struct conf_certificate *more = index > 0 ? &conf->certificates[index - 1] : NULL;

    if (!more)
        return (struct pair){.file = conf->tls.certificate,
                             .key = conf->tls.key,
                             .where = conf_where_of(conf, &conf->tls.certificate, NULL)};
    return (struct pair){.file = more->file,
                         .key = more->key,
                         .where = conf_where_of(conf, &more->file, &more->where),
                         .index = index};
}

/* Whether a backend before this one, in any pool, has the same value of a setting. */
static bool is_repeated(const struct conf *conf, const struct conf_backend *b, size_t offset)
{
    const char *text = *(const char *const *)((const char *)b + offset);

    for (size_t i = 0; i < conf->pools_n; i++) {
        for (size_t j = 0; j < conf->pools[i].backends_n; j++) {
            const struct conf_backend *other = &conf->pools[i].backends[j];

            if (other == b)
                return false;
            if (other->tls != BACKEND_TLS_OFF &&
                strcmp(*(const char *const *)((const char *)other + offset), text) == 0)
                return true;
        }
    }
    return false;
}

static void each_backend(struct check *c,
                         void (*each)(struct check *c, const struct conf_backend *b))
{
    for (size_t i = 0; i < c->conf->pools_n; i++) {
        for (size_t j = 0; j < c->conf->pools[i].backends_n; j++) {
            if (c->conf->pools[i].backends[j].tls != BACKEND_TLS_OFF)
                each(c, &c->conf->pools[i].backends[j]);
        }
    }
}

enum { IDENTITY_NAME = 1024 };

/* `name` has room for IDENTITY_NAME bytes, and stands for the files in errors. */
static struct tls_identity identity_of(const struct check *c, const struct pair *p, char *name)
{
    snprintf(name, IDENTITY_NAME, "%s with the key %s", p->file, p->key);
    return (struct tls_identity){.name = name,
                                 .certificate_pem = files_find(c->files, p->file),
                                 .key_pem = files_find(c->files, p->key)};
}

/* Reads a certificate into c->facts. */
static int look(const struct check *c, const struct pair *p, struct err *err)
{
    char name[IDENTITY_NAME];
    struct tls_identity identity = identity_of(c, p, name);

    identity.key_pem = slice_of(NULL, 0);
    return tls_look(&identity, c->facts, err);
}

/* --- mistakes --------------------------------------------------------------------------------- */

/* Makes a context of a part of what a worker makes, so that this part's line can be told. */
static int try_part(struct tls_client_params params, struct err *err)
{
    struct tls_context *ctx = NULL;
    int done = tls_client_new(&params, &ctx, err);

    tls_context_free(&ctx);
    return done;
}

static void find_mistakes_of_pair(struct check *c, const struct pair *p)
{
    char name[IDENTITY_NAME];
    const struct tls_identity identity = identity_of(c, p, name);
    struct err err;

    /* Looked at first, as a context without a certificate is a good one. */
    if (tls_look(&identity, c->facts, &err) < 0 ||
        try_part((struct tls_client_params){.identity = identity}, &err) < 0)
        MISTAKE(c, p->where, p->file, "%s", err.text);
}

static void find_mistakes_of_policy(struct check *c, struct tls_policy policy, const void *member,
                                    const struct conf_where *section)
{
    struct err err;

    if (try_part((struct tls_client_params){.policy = policy}, &err) < 0)
        MISTAKE(c, conf_where_of(c->conf, member, section), "", "%s", err.text);
}

static void find_mistakes_of_ca(struct check *c, const char *word, const char *const *member,
                                const struct conf_where *section)
{
    const struct slice pem = files_find(c->files, *member);
    const struct conf_where *where = conf_where_of(c->conf, member, section);
    struct err err;

    /* An empty text would mean the system's. */
    if (pem.n == 0)
        MISTAKE(c, where, *member, "%s %s is empty", word, *member);
    else if (try_part((struct tls_client_params){.ca_pem = pem, .verifies = true}, &err) < 0)
        MISTAKE(c, where, *member, "%s %s: %s", word, *member, err.text);
}

static bool asks_clients(const struct conf_listener *l)
{
    return l->tls != LISTENER_TLS_OFF && l->client_certificate != CLIENT_CERTIFICATE_OFF;
}

/* Whether the CAs have signed it shows only in a listener; what else that is made of is good by
 * now.
 */
static int look_at_crl(const struct check *c, const struct conf_listener *l, struct err *err)
{
    const struct conf_tls *tls = &c->conf->tls;
    const struct tls_identity identity = {tls->certificate, files_find(c->files, tls->certificate),
                                          files_find(c->files, tls->key)};
    const struct tls_server_params params = {
        .listener = l->title,
        .identities = &identity,
        .identities_n = 1,
        .client_certificate = TLS_CLIENT_OPTIONAL,
        .client_ca_pem = files_find(c->files, l->client_ca),
        .client_crl_pem = files_find(c->files, l->client_crl),
    };
    struct tls_context *ctx = NULL;
    int64_t next_update;
    int done;

    if (tls_look_crls(params.client_crl_pem, l->client_crl, &next_update, err) < 0)
        return -1;
    if (c->mistakes > 0)
        return 0;
    done = tls_server_new(&params, &ctx, err);
    tls_context_free(&ctx);
    return done < 0 ? err_prefix(err, "%s", l->client_crl) : 0;
}

static void find_mistakes_of_clients(struct check *c, const struct conf_listener *l)
{
    struct err err;

    find_mistakes_of_ca(c, "client_ca", &l->client_ca, &l->where);
    if (l->client_crl[0] && look_at_crl(c, l, &err) < 0)
        MISTAKE(c, conf_where_of(c->conf, &l->client_crl, &l->where), l->client_crl,
                "client_crl %s", err.text);
}

static void find_mistakes_of_listeners(struct check *c)
{
    const struct conf *conf = c->conf;
    const struct conf_tls *tls = &conf->tls;

    if (!has_tls(conf))
        return;
    for (size_t i = 0; i <= conf->certificates_n; i++) {
        const struct pair p = pair_of(conf, i);

        find_mistakes_of_pair(c, &p);
    }
    find_mistakes_of_policy(c, (struct tls_policy){.ciphers = tls->ciphers}, &tls->ciphers, NULL);
    find_mistakes_of_policy(c, (struct tls_policy){.ciphersuites = tls->ciphersuites},
                            &tls->ciphersuites, NULL);
    for (size_t i = 0; i < conf->listeners_n; i++) {
        if (asks_clients(&conf->listeners[i]))
            find_mistakes_of_clients(c, &conf->listeners[i]);
    }
}

static struct pair pair_of_backend(const struct conf *conf, const struct conf_backend *b)
{
    return (struct pair){.file = b->tls_certificate,
                         .key = b->tls_key,
                         .where = conf_where_of(conf, &b->tls_certificate, &b->where)};
}

static void find_mistakes_of_backend(struct check *c, const struct conf_backend *b)
{
    const struct pair p = pair_of_backend(c->conf, b);

    if (b->tls_certificate[0] &&
        !is_repeated(c->conf, b, offsetof(struct conf_backend, tls_certificate)))
        find_mistakes_of_pair(c, &p);
    if (b->tls_ca[0] && !is_repeated(c->conf, b, offsetof(struct conf_backend, tls_ca)))
        find_mistakes_of_ca(c, "tls_ca", &b->tls_ca, &b->where);
    if (b->tls_ciphers[0])
        find_mistakes_of_policy(c, (struct tls_policy){.ciphers = b->tls_ciphers}, &b->tls_ciphers,
                                &b->where);
    if (b->tls_ciphersuites[0])
        find_mistakes_of_policy(c, (struct tls_policy){.ciphersuites = b->tls_ciphersuites},
                                &b->tls_ciphersuites, &b->where);
}

/* What is left: whatever the parts above did not show. */
static void find_mistakes_of_whole(struct check *c)
{
    const struct tls_files files = {files_find, c->files};
    const struct conf_where *where = NULL;
    struct tls_set *set = NULL;
    struct err err;

    if (tls_set_new(c->conf, &files, NULL, &set, &where, &err) < 0)
        MISTAKE(c, where, "", "%s", err.text);
    tls_set_free(&set);
}

/* --- doubts about dates ----------------------------------------------------------------------- */

static const char *date(int64_t seconds, char out[32])
{
    const time_t t = (time_t)seconds;
    struct tm tm;

    if (!gmtime_r(&t, &tm) || strftime(out, 32, "%Y-%m-%d %H:%M UTC", &tm) == 0)
        return "a date beyond all reason";
    return out;
}

/* Another doubt will arise then. */
static void expect_doubt(struct check *c, int64_t at)
{
    if (at > c->now && at < c->next)
        c->next = at;
}

static void doubt_dates(struct check *c, const struct pair *p)
{
    const int64_t end = c->facts->not_after, soon = end - CERTIFICATES_SOON_DAYS * DAY_S;
    const int days = end - c->now > DAY_S ? (int)((end - c->now + DAY_S - 1) / DAY_S) : 1;
    char text[32];

    if (c->now > end)
        DOUBT(c, p->where, p->file, "%s expired on %s", p->file, date(end, text));
    else if (c->now >= soon)
        DOUBT(c, p->where, p->file, "%s expires on %s, within %d day%s", p->file, date(end, text),
              days, days == 1 ? "" : "s");
    if (c->now < c->facts->not_before)
        DOUBT(c, p->where, p->file, "%s is not valid before %s", p->file,
              date(c->facts->not_before, text));
    expect_doubt(c, soon);
    expect_doubt(c, end + 1);
}

static void doubt_dates_of_crl(struct check *c, const struct conf_listener *l)
{
    const struct conf_where *where = conf_where_of(c->conf, &l->client_crl, &l->where);
    int64_t next_update;
    struct err err;
    char text[32];

    if (!l->client_crl[0] ||
        tls_look_crls(files_find(c->files, l->client_crl), l->client_crl, &next_update, &err) < 0)
        return;
    if (c->now > next_update)
        DOUBT(
            c, where, l->client_crl,
            "client_crl %s was to be replaced by a newer one on %s; until then no certificate of a "
            "client is good",
            l->client_crl, date(next_update, text));
    if (next_update < INT64_MAX)
        expect_doubt(c, next_update + 1);
}

static void doubt_dates_of_backend(struct check *c, const struct conf_backend *b)
{
    const struct pair p = pair_of_backend(c->conf, b);
    struct err err;

    if (b->tls_certificate[0] &&
        !is_repeated(c->conf, b, offsetof(struct conf_backend, tls_certificate)) &&
        look(c, &p, &err) == 0)
        doubt_dates(c, &p);
}

/* --- doubts about names ----------------------------------------------------------------------- */

/* Keeps the names of c->facts. Without memory there are fewer doubts, and that is all. */
static void gather_names(struct check *c, const struct pair *p)
{
    for (size_t i = 0; i < c->facts->names_n; i++) {
        if (c->names_n == c->names_cap) {
            size_t cap = c->names_cap ? 2 * c->names_cap : 64;
            struct named *more = reallocarray(c->names, cap, sizeof *more);

            if (!more)
                return;
            c->names = more;
            c->names_cap = cap;
        }
        c->names[c->names_n] = (struct named){.name = slice_dup(slice_str(c->facts->names[i])),
                                              .kind = c->facts->key_kind,
                                              .index = p->index};
        if (!c->names[c->names_n].name)
            return;
        c->names_n++;
    }
}

static void mark_covered(struct check *c)
{
    for (size_t i = 0; i < c->conf->listeners_n; i++) {
        const struct conf_list *names = &c->conf->listeners[i].server_names;

        for (size_t k = 0; c->is_covered[i] && k < names->n; k++)
            c->is_covered[i][k] |= tls_covers(c->facts, names->items[k]);
    }
}

static int compare_names(const void *one, const void *other)
{
    const struct named *a = one, *b = other;
    int order = strcmp(a->name, b->name);

    if (order == 0)
        order = strcmp(a->kind, b->kind);
    return order ? order : (a->index > b->index) - (a->index < b->index);
}

/* A certificate that was copied instead of replaced shares all its names: one doubt will do. */
static void doubt_repeated_names(struct check *c)
{
    bool *is_told = calloc(c->conf->certificates_n + 1, sizeof *is_told);

    if (c->names_n > 0)
        qsort(c->names, c->names_n, sizeof *c->names, compare_names);
    for (size_t i = 1; is_told && i < c->names_n; i++) {
        const struct named *a = &c->names[i - 1], *b = &c->names[i];
        const struct pair p = pair_of(c->conf, b->index), first = pair_of(c->conf, a->index);

        if (a->index == b->index || is_told[b->index] || strcmp(a->name, b->name) != 0 ||
            strcmp(a->kind, b->kind) != 0)
            continue;
        is_told[b->index] = true;
        DOUBT(c, p.where, p.file,
              "%s is for %s with a key of the kind %s, as %s is, which is shown", p.file, b->name,
              b->kind, first.file);
    }
    free(is_told);
}

/* The first of a name among those sorted, or where it would stand. */
static size_t first_of(const struct check *c, const char *name)
{
    size_t low = 0, high = c->names_n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (strcmp(c->names[mid].name, name) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static bool is_at(const struct check *c, size_t at, const char *name)
{
    return at < c->names_n && strcmp(c->names[at].name, name) == 0;
}

static bool has_kind(const struct check *c, const char *name, const char *kind)
{
    for (size_t i = first_of(c, name); is_at(c, i, name); i++) {
        if (strcmp(c->names[i].kind, kind) == 0)
            return true;
    }
    return false;
}

/* An exact name hides its wildcard, also from clients that know only the wildcard's kind of key. */
static void doubt_hidden_wildcards(struct check *c)
{
    for (size_t i = 0; i < c->names_n; i++) {
        const char *name = c->names[i].name, *dot = strchr(name, '.');
        char wildcard[TLS_NAME_TEXT + 1] = "*";

        if (!dot || name[0] == '*' || i != first_of(c, name))
            continue;
        memcpy(wildcard + 1, dot, strlen(dot) + 1);
        for (size_t k = first_of(c, wildcard); is_at(c, k, wildcard); k++) {
            const struct pair p = pair_of(c->conf, c->names[i].index);

            if (!has_kind(c, name, c->names[k].kind))
                DOUBT(c, p.where, p.file,
                      "%s is for %s; clients that know keys of the kind %s only are refused there, "
                      "as %s of %s is not shown for it",
                      p.file, name, c->names[k].kind, wildcard,
                      pair_of(c->conf, c->names[k].index).file);
        }
    }
}

static void doubt_uncovered_names(struct check *c)
{
    for (size_t i = 0; i < c->conf->listeners_n; i++) {
        const struct conf_listener *l = &c->conf->listeners[i];

        for (size_t k = 0; c->is_covered[i] && k < l->server_names.n; k++) {
            if (!c->is_covered[i][k])
                DOUBT(c, conf_where_of(c->conf, &l->server_names, &l->where), "",
                      "listener %s: no certificate is for %s, one of its server_names", l->title,
                      l->server_names.items[k]);
        }
    }
}

static void doubt_names(struct check *c, const struct pair *p)
{
    if (c->facts->names_n == 0)
        DOUBT(c, p->where, p->file, "%s has no name in it, %s", p->file,
              p->index == 0 ? "and clients that verify refuse it" : "so that it is never shown");
    gather_names(c, p);
    mark_covered(c);
}

static bool begin_names(struct check *c)
{
    const struct conf *conf = c->conf;

    c->is_covered = calloc(conf->listeners_n + 1, sizeof(bool *));
    for (size_t i = 0; c->is_covered && i < conf->listeners_n; i++) {
        if (conf->listeners[i].tls != LISTENER_TLS_OFF)
            c->is_covered[i] = calloc(conf->listeners[i].server_names.n + 1, sizeof(bool));
    }
    return c->is_covered != NULL;
}

static void end_names(struct check *c)
{
    for (size_t i = 0; i < c->names_n; i++)
        free(c->names[i].name);
    free(c->names);
    for (size_t i = 0; c->is_covered && i < c->conf->listeners_n; i++)
        free(c->is_covered[i]);
    free(c->is_covered);
}

/* --- all of it -------------------------------------------------------------------------------- */

static void find_mistakes(struct check *c)
{
    find_mistakes_of_listeners(c);
    each_backend(c, find_mistakes_of_backend);
    if (c->mistakes == 0)
        find_mistakes_of_whole(c);
}

static void find_doubts(struct check *c, bool with_names)
{
    const struct conf *conf = c->conf;

    for (size_t i = 0; has_tls(conf) && i <= conf->certificates_n; i++) {
        const struct pair p = pair_of(conf, i);
        struct err err;

        if (look(c, &p, &err) < 0)
            continue;
        doubt_dates(c, &p);
        if (with_names)
            doubt_names(c, &p);
    }
    for (size_t i = 0; i < conf->listeners_n; i++) {
        if (asks_clients(&conf->listeners[i]))
            doubt_dates_of_crl(c, &conf->listeners[i]);
    }
    each_backend(c, doubt_dates_of_backend);
    if (!with_names || !has_tls(conf))
        return;
    doubt_repeated_names(c);
    doubt_hidden_wildcards(c);
    doubt_uncovered_names(c);
}

/* `facts` is NULL when memory is out; the caller frees it. */
static struct check begin_check(const struct conf *conf, const struct files *files, int64_t now,
                                certificates_report *report, void *arg)
{
    struct check c = {.conf = conf,
                      .files = files,
                      .now = now,
                      .next = INT64_MAX,
                      .report = report,
                      .arg = arg,
                      .facts = malloc(sizeof *c.facts)};

    return c;
}

unsigned certificates_check(const struct conf *conf, const struct files *files, int64_t now,
                            certificates_report *report, void *arg)
{
    struct check c = begin_check(conf, files, now, report, arg);

    if (!c.facts || !begin_names(&c)) {
        MISTAKE(&c, NULL, "", "no memory to look at the certificates");
    } else {
        find_mistakes(&c);
        if (c.mistakes == 0)
            find_doubts(&c, true);
    }
    end_names(&c);
    free(c.facts);
    return c.mistakes;
}

int64_t certificates_look(const struct conf *conf, const struct files *files, int64_t now,
                          certificates_report *report, void *arg)
{
    struct check c = begin_check(conf, files, now, report, arg);

    if (c.facts)
        find_doubts(&c, false);
    free(c.facts);
    return c.next;
}
