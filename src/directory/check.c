/* Rules and maps, held against the configuration. */
#include "directory/check.h"

#include "base/addr.h"
#include "base/hash.h"
#include "directory/map.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PIECE = 64 * 1024 };

struct check {
    const struct conf *conf;
    directory_report *report;
    void *arg;
    unsigned mistakes;
    /* of the directory that is looked at */
    const struct conf_directory *directory;
    unsigned doubts;
    size_t rule; /* of the setting rules, from 1; 0: it is a file */
};

__attribute__((format(printf, 3, 4))) static void tell(struct check *c, size_t line,
                                                       const char *fmt, ...)
{
    const struct conf_directory *d = c->directory;
    const struct conf_where in_file = {d->path, (unsigned)line};
    struct directory_finding finding = {.is_mistake = c->rule > 0, .where = &in_file};
    char text[640];
    size_t n = 0;
    va_list ap;

    if (c->rule > 0) {
        finding.where = conf_where_of(c->conf, &d->rules, &d->where);
        n = (size_t)snprintf(text, sizeof text, "rules, item %zu: ", c->rule);
        c->mistakes++;
    } else if (++c->doubts > DIRECTORY_DOUBTS) {
        return;
    }
    va_start(ap, fmt);
    vsnprintf(text + n, sizeof text - n, fmt, ap);
    va_end(ap);
    finding.text = text;
    c->report(c->arg, &finding);
}

/* --- what facts name -------------------------------------------------------------------------- */

static const struct conf_pool *find_pool(const struct conf *conf, struct slice title)
{
    for (size_t i = 0; i < conf->pools_n; i++) {
        if (slice_eq(slice_str(conf->pools[i].title), title))
            return &conf->pools[i];
    }
    return NULL;
}

static const struct conf_pool *find_tagged(const struct conf *conf, struct slice tag)
{
    for (size_t i = 0; i < conf->pools_n; i++) {
        const struct conf_list *tags = &conf->pools[i].tags;

        for (size_t k = 0; k < tags->n; k++) {
            if (slice_eq(slice_str(tags->items[k]), tag))
                return &conf->pools[i];
        }
    }
    return NULL;
}

static bool is_host(const struct conf_backend *b, const struct facts *f)
{
    static const uint8_t tls[] = {[BACKEND_TLS_OFF] = FACTS_TLS_OFF,
                                  [BACKEND_TLS_STARTTLS] = FACTS_TLS_STARTTLS,
                                  [BACKEND_TLS_IMPLICIT] = FACTS_TLS_IMPLICIT};
    struct slice host;
    uint16_t port;

    return addr_split(slice_str(b->address), &host, &port, NULL) == 0 && slice_ieq(host, f->host) &&
           (f->port == 0 || f->port == port) && (f->tls == FACTS_TLS_ANY || f->tls == tls[b->tls]);
}

static bool is_meant(const struct conf_backend *b, const struct facts *f)
{
    return f->backend.n > 0 ? slice_eq(slice_str(b->title), f->backend) : is_host(b, f);
}

/* `pool` NULL: in any. */
static bool has_backend(const struct conf *conf, const struct conf_pool *pool,
                        const struct facts *f)
{
    for (size_t i = 0; i < conf->pools_n; i++) {
        const struct conf_pool *p = &conf->pools[i];

        for (size_t k = 0; k < p->backends_n && (!pool || p == pool); k++) {
            if (is_meant(&p->backends[k], f))
                return true;
        }
    }
    return false;
}

static void check_facts(struct check *c, size_t line, const struct facts *f)
{
    const struct conf_pool *pool = NULL;

    if (f->pool.n > 0)
        pool = find_pool(c->conf, f->pool);
    else if (f->tag.n > 0)
        pool = find_tagged(c->conf, f->tag);
    if (f->pool.n > 0 && !pool)
        tell(c, line, "there is no pool \"%.*s\"", SLICE_ARG(f->pool));
    else if (f->tag.n > 0 && !pool)
        tell(c, line, "no pool has the tag \"%.*s\" among its tags", SLICE_ARG(f->tag));
    else if (f->backend.n > 0 && !has_backend(c->conf, pool, f))
        tell(c, line, "there is no backend \"%.*s\"%s%s", SLICE_ARG(f->backend),
             pool ? " in pool " : "", pool ? pool->title : "");
    else if (f->host.n > 0 && !has_backend(c->conf, pool, f))
        tell(c, line,
             "no backend%s%s has the host \"%.*s\" in its address%s; nobody is sent to a server "
             "that the configuration does not have",
             pool ? " of pool " : "", pool ? pool->title : "", SLICE_ARG(slice_sub(f->host, 0, 80)),
             f->port > 0 || f->tls != FACTS_TLS_ANY ? " with this port and tls" : "");
}

static void on_line(void *arg, size_t line, const struct facts *facts)
{
    check_facts(arg, line, facts);
}

/* --- rules ------------------------------------------------------------------------------------ */

static struct facts_map *new_map(struct check *c)
{
    struct facts_map_params p = {
        .conf = &c->conf->global, .has_items = c->rule > 0, .on_line = on_line, .arg = c};

    hash_random(p.salt, sizeof p.salt);
    return facts_map_new(&p);
}

/* Each by itself, so that all are told; then the map goes on as if the wrong one were not there. */
static void check_rules(struct check *c)
{
    const struct conf_list *rules = &c->directory->rules;
    struct facts_map *m;
    struct err err;

    c->rule = 1;
    m = new_map(c);
    for (size_t i = 0; m && i < rules->n; i++) {
        c->rule = i + 1;
        if (facts_map_add(m, slice_str(rules->items[i]), &err) < 0)
            tell(c, 0, "%s", err.text);
    }
    facts_map_free(&m);
}

/* --- files ------------------------------------------------------------------------------------ */

static void read_file(struct check *c, FILE *in, char *piece)
{
    struct facts_map *m = new_map(c);
    int done = 0;
    struct err err;
    size_t n;

    while (m && done == 0 && (n = fread(piece, 1, PIECE, in)) > 0)
        done = facts_map_step(m, slice_of(piece, n), &err);
    if (m && ferror(in))
        tell(c, 0, "cannot be read: %s", strerror(errno));
    else if (m && (done < 0 || facts_map_finish(m, &err) < 0))
        tell(c, facts_map_line(m), "%s", err.text);
    facts_map_free(&m);
    wipe(piece, PIECE);
}

static void tell_unreadable(struct check *c, const char *why)
{
    const struct conf_directory *d = c->directory;
    struct directory_finding finding = {.where = conf_where_of(c->conf, &d->path, &d->where)};
    char text[640];

    snprintf(text, sizeof text, "cannot read path %s: %s", d->path, why);
    finding.text = text;
    c->report(c->arg, &finding);
}

static void check_path(struct check *c)
{
    const struct conf_where whole = {c->directory->path, 0};
    const struct directory_finding more = {.where = &whole,
                                           .text = "more lines are told when these are right"};
    char *piece = malloc(PIECE);
    struct stat st;
    FILE *in;

    c->rule = 0;
    c->doubts = 0;
    /* Looked at first: a pipe would make us wait for its writer. */
    if (stat(c->directory->path, &st) < 0) {
        tell_unreadable(c, strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        tell_unreadable(c, "it is not a file");
    } else if (st.st_size == 0) {
        tell_unreadable(c, "it is empty; a map of nobody has a comment in it");
    } else {
        in = fopen(c->directory->path, "re");
        if (!in)
            tell_unreadable(c, strerror(errno));
        else
            setvbuf(in, NULL, _IONBF, 0); /* no copy of secrets that nobody wipes */
        if (in && piece)
            read_file(c, in, piece);
        if (in)
            fclose(in);
    }
    if (c->doubts > DIRECTORY_DOUBTS)
        c->report(c->arg, &more);
    free(piece);
}

unsigned directory_check(const struct conf *conf, bool with_files, directory_report *report,
                         void *arg)
{
    struct check c = {.conf = conf, .report = report, .arg = arg};

    for (size_t i = 0; i < conf->directories_n; i++) {
        c.directory = &conf->directories[i];
        if (c.directory->driver == DRIVER_STATIC)
            check_rules(&c);
        else if (c.directory->driver == DRIVER_FILE && with_files)
            check_path(&c);
    }
    return c.mistakes;
}
