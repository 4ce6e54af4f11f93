/* What the worker makes of its configuration once. */
#include "worker/contexts.h"

#include "net/dial.h"
#include "net/tls.h"
#include "worker/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* One way to trust backends. */
struct trust {
    struct trust *next;
    const char *ca; /* a path; NULL: what OpenSSL finds by itself */
    bool verifies;
    struct tls_context *tls;
};

/* One backend's. */
struct means {
    struct tls_context *tls; /* of `trusts` */
    struct dial_sources sources;
    bool has_literal_plus; /* as far as is known: it has told so at its last login */
};

struct contexts {
    struct tls_context *server;
    struct trust *trusts;
    struct means **backends; /* [pool][backend] */
    struct addr_net *nets;
    size_t nets_n;
};

static int no_memory(struct err *err)
{
    return err_set(err, ENOMEM, "out of memory");
}

/* --- TLS -------------------------------------------------------------------------------------- */

static int make_server(struct worker *w, struct err *err)
{
    const struct conf_tls *tls = &w->conf->tls;
    bool is_needed = false;

    for (size_t i = 0; i < w->conf->listeners_n; i++)
        is_needed |= w->conf->listeners[i].tls != LISTENER_TLS_OFF;
    if (!is_needed)
        return 0;
    if (tls_server_new(child_file(w->child, tls->certificate), child_file(w->child, tls->key),
                       &w->contexts->server, err) < 0)
        return err_prefix(err, "certificate %s, key %s", tls->certificate, tls->key);
    return 0;
}

static bool is_same_path(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static struct tls_context *find_trust(struct worker *w, const struct conf_backend *b,
                                      struct err *err)
{
    const char *ca = b->tls_ca[0] ? b->tls_ca : tls_system_ca_file();
    bool verifies = b->tls_verify && b->tls_pin.n == 0;
    struct trust *t;

    for (t = w->contexts->trusts; t; t = t->next) {
        if (t->verifies == verifies && is_same_path(t->ca, ca))
            return t->tls;
    }
    t = calloc(1, sizeof *t);
    if (!t) {
        no_memory(err);
        return NULL;
    }
    t->ca = ca;
    t->verifies = verifies;
    if (tls_client_new(ca ? child_file(w->child, ca) : slice_of(NULL, 0), t->verifies, &t->tls,
                       err) < 0) {
        err_prefix(err, "backend %s", b->title);
        free(t);
        return NULL;
    }
    t->next = w->contexts->trusts;
    w->contexts->trusts = t;
    return t->tls;
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
        if (pool->backends[i].tls == BACKEND_TLS_OFF)
            continue;
        all[i].tls = find_trust(w, &pool->backends[i], err);
        if (!all[i].tls)
            return -1;
    }
    return 0;
}

int contexts_make(struct worker *w, struct err *err)
{
    w->contexts = calloc(1, sizeof *w->contexts);
    if (w->contexts)
        w->contexts->backends = calloc(w->conf->pools_n + 1, sizeof(struct means *));
    if (!w->contexts || !w->contexts->backends)
        return no_memory(err);
    if (make_nets(w, err) < 0 || make_server(w, err) < 0)
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
    while (c->trusts) {
        struct trust *t = c->trusts;

        c->trusts = t->next;
        tls_context_free(&t->tls);
        free(t);
    }
    tls_context_free(&c->server);
    free(c->nets);
    free(c);
    w->contexts = NULL;
}

struct tls_context *contexts_server(const struct worker *w)
{
    return w->contexts->server;
}

struct tls_context *contexts_backend(const struct worker *w, size_t pool, size_t backend)
{
    return w->contexts->backends[pool][backend].tls;
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
