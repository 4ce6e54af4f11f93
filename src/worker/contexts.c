/* What the worker makes of its configuration. */
#include "worker/contexts.h"

#include "base/log.h"
#include "base/secret.h"
#include "net/dial.h"
#include "net/tls.h"
#include "worker/check_password.h"
#include "worker/tls_set.h"
#include "worker/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* One backend's. */
struct means {
    struct dial_sources sources;
    bool has_literal_plus; /* as far as is known: it has told so at its last login */
};

/* Of base/secret.h; p is NULL where there is none. */
struct secret {
    char *p;
    size_t n;
};

struct contexts {
    struct tls_tickets *tickets;
    struct tls_set *tls;
    struct secret *passwords; /* [pool] */
    struct means **backends;  /* [pool][backend] */
    struct addr_net *nets;
    size_t nets_n;
};

static int no_memory(struct err *err)
{
    return err_set(err, ENOMEM, "out of memory");
}

/* --- TLS -------------------------------------------------------------------------------------- */

_Static_assert((int)TICKET_KEYS == (int)TLS_TICKET_KEYS && (int)TICKET_KEY == (int)TLS_TICKET_KEY,
               "what the parent sends is what net/ takes");

void contexts_take_tickets(struct worker *w, const struct msg_tickets *m)
{
    tls_tickets_set(w->contexts->tickets, m->keys, m->lifetime_s);
}

static struct slice find_file(const void *child, const char *name)
{
    return child_file(child, name);
}

static int make_tls(struct worker *w, struct tls_set **out_set, struct err *err)
{
    const struct tls_files files = {find_file, w->child};

    return tls_set_new(w->conf, &files, w->contexts->tickets, out_set, NULL, err);
}

/* --- passwords -------------------------------------------------------------------------------- */

static void free_passwords(struct secret **passwords, size_t n)
{
    for (size_t i = 0; *passwords && i < n; i++)
        secret_free((*passwords)[i].p, (*passwords)[i].n);
    free(*passwords);
    *passwords = NULL;
}

static int make_password(struct worker *w, const struct conf_pool *pool, struct secret *out_secret,
                         struct err *err)
{
    const char *name = check_password_file(pool);
    struct slice password;
    char *p;

    if (!name[0])
        return 0;
    if (check_password_of(child_file(w->child, name), &password, err) < 0)
        return err_prefix(err, "pool %s: check_password", pool->title);
    p = secret_alloc(password.n);
    if (!p)
        return no_memory(err);
    memcpy(p, password.p, password.n);
    *out_secret = (struct secret){p, password.n};
    return 0;
}

static int make_passwords(struct worker *w, struct secret **out_passwords, struct err *err)
{
    struct secret *all = calloc(w->conf->pools_n + 1, sizeof *all);

    if (!all)
        return no_memory(err);
    for (size_t i = 0; i < w->conf->pools_n; i++) {
        if (make_password(w, &w->conf->pools[i], &all[i], err) < 0) {
            free_passwords(&all, w->conf->pools_n);
            return -1;
        }
    }
    *out_passwords = all;
    return 0;
}

struct slice contexts_check_password(const struct worker *w, size_t pool)
{
    const struct secret *s = &w->contexts->passwords[pool];

    return slice_of(s->p, s->n);
}

/* --- what is made from files ------------------------------------------------------------------ */

/* From those that the parent gave, which are not needed afterwards. All or nothing. */
static int make_of_files(struct worker *w, struct err *err)
{
    struct secret *passwords = NULL;
    struct tls_set *set = NULL;
    int done = make_passwords(w, &passwords, err);

    if (done == 0)
        done = make_tls(w, &set, err);
    child_drop_files(w->child);
    if (done < 0) {
        free_passwords(&passwords, w->conf->pools_n);
        return -1;
    }
    tls_set_free(&w->contexts->tls);
    w->contexts->tls = set;
    free_passwords(&w->contexts->passwords, w->conf->pools_n);
    w->contexts->passwords = passwords;
    return 0;
}

void contexts_renew(struct worker *w)
{
    struct err err;

    if (make_of_files(w, &err) < 0)
        log_detail(LOG_CERTIFICATES_REFUSED, "worker %u: %s", w->child->self.slot, err.text);
}

/* --- addresses -------------------------------------------------------------------------------- */

static int make_sources(struct dial_sources *s, const struct conf_backend *b, struct err *err)
{
    struct addr *addrs = calloc(b->source.n + 1, sizeof *addrs);

    if (!addrs)
        return no_memory(err);
    s->addrs = addrs;
    for (size_t i = 0; i < b->source.n; i++) {
        if (!addr_parse_ip(slice_str(b->source.items[i]), 0, &addrs[s->n++]))
            return err_set(err, 0, "backend %s: source %s is no address", b->title,
                           b->source.items[i]);
    }
    return 0;
}

static int make_nets(struct worker *w, struct err *err)
{
    const struct conf_list *list = &w->conf->global.trusted_networks;
    struct contexts *c = w->contexts;

    c->nets = calloc(list->n + 1, sizeof *c->nets);
    if (!c->nets)
        return no_memory(err);
    for (size_t i = 0; i < list->n; i++) {
        if (addr_net_parse(slice_str(list->items[i]), &c->nets[c->nets_n++], err) < 0)
            return err_prefix(err, "trusted_networks");
    }
    return 0;
}

/* --- all of it -------------------------------------------------------------------------------- */

static int make_pool(struct worker *w, size_t index, struct err *err)
{
    const struct conf_pool *pool = &w->conf->pools[index];
    struct means *all = calloc(pool->backends_n + 1, sizeof *all);

    if (!all)
        return no_memory(err);
    w->contexts->backends[index] = all;
    for (size_t i = 0; i < pool->backends_n; i++) {
        if (make_sources(&all[i].sources, &pool->backends[i], err) < 0)
            return -1;
    }
    return 0;
}

void contexts_init(struct worker *w)
{
    w->contexts = calloc(1, sizeof *w->contexts);
    INSIST(w->contexts != NULL);
    w->contexts->tickets = tls_tickets_new();
    INSIST(w->contexts->tickets != NULL);
}

int contexts_make(struct worker *w, struct err *err)
{
    w->contexts->backends = calloc(w->conf->pools_n + 1, sizeof(struct means *));
    if (!w->contexts->backends)
        return no_memory(err);
    if (make_nets(w, err) < 0 || make_of_files(w, err) < 0)
        return -1;
    for (size_t i = 0; i < w->conf->pools_n; i++) {
        if (make_pool(w, i, err) < 0)
            return -1;
    }
    return 0;
}

static void free_pool(struct means *all, size_t n)
{
    for (size_t i = 0; all && i < n; i++)
        free((void *)(uintptr_t)all[i].sources.addrs);
    free(all);
}

void contexts_free(struct worker *w)
{
    struct contexts *c = w->contexts;

    if (!c)
        return;
    for (size_t i = 0; c->backends && i < w->conf->pools_n; i++)
        free_pool(c->backends[i], w->conf->pools[i].backends_n);
    free(c->backends);
    tls_set_free(&c->tls);
    free_passwords(&c->passwords, w->conf ? w->conf->pools_n : 0);
    tls_tickets_free(&c->tickets);
    free(c->nets);
    free(c);
    w->contexts = NULL;
}

struct tls_context *contexts_server(const struct worker *w, size_t listener)
{
    return tls_set_listener(w->contexts->tls, listener);
}

struct tls_context *contexts_backend(const struct worker *w, size_t pool, size_t backend)
{
    return tls_set_backend(w->contexts->tls, pool, backend);
}

void contexts_learn(struct worker *w, size_t pool, size_t backend, bool has_literal_plus)
{
    struct means *all = w->contexts->backends[pool];
    bool have_all = true;

    if (all[backend].has_literal_plus == has_literal_plus)
        return;
    all[backend].has_literal_plus = has_literal_plus;
    for (size_t i = 0; i < w->conf->pools[pool].backends_n; i++)
        have_all &= all[i].has_literal_plus;
    for (size_t i = 0; i < w->conf->listeners_n; i++) {
        if (conf_listener_pool(w->conf, &w->conf->listeners[i]) == pool)
            w->login_params[i].offers_literal_plus = have_all;
    }
}

struct dial_sources *contexts_sources(const struct worker *w, size_t pool, size_t backend)
{
    struct dial_sources *s = &w->contexts->backends[pool][backend].sources;

    return s->n > 0 ? s : NULL;
}

bool contexts_trusts(const struct worker *w, const struct addr *a)
{
    for (size_t i = 0; i < w->contexts->nets_n; i++) {
        if (addr_in_net(a, &w->contexts->nets[i]))
            return true;
    }
    return false;
}
