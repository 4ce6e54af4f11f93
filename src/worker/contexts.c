/* The worker's TLS contexts. */
#include "worker/contexts.h"

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

struct contexts {
    struct tls_context *server;
    struct trust *trusts;
    struct tls_context ***backends; /* [pool][backend], of `trusts` */
};

static int make_server(struct worker *w, struct err *err)
{
    const struct conf_tls *tls = &w->conf->tls;
    bool is_needed = false;

    for (size_t i = 0; i < w->conf->listeners_n; i++)
        is_needed |= w->conf->listeners[i].tls != LISTENER_TLS_OFF;
    if (!is_needed)
        return 0;
    if (tls_server_new(child_file(w->child, tls->certificate), child_file(w->child, tls->key),
                       &w->tls->server, err) < 0)
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
    struct trust *t;

    for (t = w->tls->trusts; t; t = t->next) {
        if (t->verifies == b->tls_verify && is_same_path(t->ca, ca))
            return t->tls;
    }
    t = calloc(1, sizeof *t);
    if (!t) {
        err_set(err, ENOMEM, "out of memory");
        return NULL;
    }
    t->ca = ca;
    t->verifies = b->tls_verify;
    if (tls_client_new(ca ? child_file(w->child, ca) : slice_of(NULL, 0), t->verifies, &t->tls,
                       err) < 0) {
        err_prefix(err, "backend %s", b->title);
        free(t);
        return NULL;
    }
    t->next = w->tls->trusts;
    w->tls->trusts = t;
    return t->tls;
}

static int make_pool(struct worker *w, size_t index, struct err *err)
{
    const struct conf_pool *pool = &w->conf->pools[index];
    struct tls_context **all = calloc(pool->backends_n + 1, sizeof(struct tls_context *));

    if (!all)
        return err_set(err, ENOMEM, "out of memory");
    w->tls->backends[index] = all;
    for (size_t i = 0; i < pool->backends_n; i++) {
        if (pool->backends[i].tls == BACKEND_TLS_OFF)
            continue;
        all[i] = find_trust(w, &pool->backends[i], err);
        if (!all[i])
            return -1;
    }
    return 0;
}

int contexts_make(struct worker *w, struct err *err)
{
    w->tls = calloc(1, sizeof *w->tls);
    if (w->tls)
        w->tls->backends = calloc(w->conf->pools_n + 1, sizeof(struct tls_context **));
    if (!w->tls || !w->tls->backends)
        return err_set(err, ENOMEM, "out of memory");
    if (make_server(w, err) < 0)
        return -1;
    for (size_t i = 0; i < w->conf->pools_n; i++) {
        if (make_pool(w, i, err) < 0)
            return -1;
    }
    return 0;
}

void contexts_free(struct worker *w)
{
    struct contexts *c = w->tls;

    if (!c)
        return;
    for (size_t i = 0; c->backends && i < w->conf->pools_n; i++)
        free(c->backends[i]);
    free(c->backends);
    while (c->trusts) {
        struct trust *t = c->trusts;

        c->trusts = t->next;
        tls_context_free(&t->tls);
        free(t);
    }
    tls_context_free(&c->server);
    free(c);
    w->tls = NULL;
}

struct tls_context *contexts_server(const struct worker *w)
{
    return w->tls->server;
}

struct tls_context *contexts_backend(const struct worker *w, size_t pool, size_t backend)
{
    return w->tls->backends[pool][backend];
}
