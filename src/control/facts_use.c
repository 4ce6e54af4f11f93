/* The meaning of facts, control/facts_use.h. */
#include "control/facts_use.h"

#include <string.h>

static int find_pool(const struct conf *conf, struct slice title)
{
    for (size_t i = 0; i < conf->pools_n; i++) {
        if (slice_eq(slice_str(conf->pools[i].title), title))
            return (int)i;
    }
    return -1;
}

static int find_tagged(const struct conf *conf, struct slice tag)
{
    for (size_t i = 0; i < conf->pools_n; i++) {
        const struct conf_list *tags = &conf->pools[i].tags;

        for (size_t k = 0; k < tags->n; k++) {
            if (slice_eq(slice_str(tags->items[k]), tag))
                return (int)i;
        }
    }
    return -1;
}

static bool is_host(const struct backend *b, const struct facts *f)
{
    static const uint8_t tls[] = {[BACKEND_TLS_OFF] = FACTS_TLS_OFF,
                                  [BACKEND_TLS_STARTTLS] = FACTS_TLS_STARTTLS,
                                  [BACKEND_TLS_IMPLICIT] = FACTS_TLS_IMPLICIT};

    return slice_ieq(b->host, f->host) && (f->port == 0 || f->port == b->port) &&
           (f->tls == FACTS_TLS_ANY || f->tls == tls[b->conf->tls]);
}

/* In `pool`, if the facts name one; a pool that they do not name is no reason to look further. */
static uint32_t find_backend(const struct backends *b, const struct facts *f, bool has_pool,
                             uint16_t pool)
{
    uint32_t found = BACKEND_NONE;

    for (uint32_t i = 0; i < b->n; i++) {
        const struct backend *be = &b->all[i];
        bool fits =
            f->backend.n > 0 ? slice_eq(slice_str(be->conf->title), f->backend) : is_host(be, f);

        if (!fits || (has_pool && be->pool != pool))
            continue;
        if (be->pool == pool)
            return i;
        if (found == BACKEND_NONE)
            found = i;
    }
    return found;
}

static int no_backend(const struct backends *b, const struct facts *f, bool has_pool, uint16_t pool,
                      struct err *err)
{
    const char *in = has_pool ? b->conf->pools[pool].title : "the configuration";

    if (f->backend.n > 0)
        return err_set(err, 0, "backend=%.*s is not in %s%s", SLICE_ARG(f->backend),
                       has_pool ? "pool " : "", in);
    return err_set(err, 0, "host=%.*s is no backend of %s%s", SLICE_ARG(f->host),
                   has_pool ? "pool " : "", in);
}

int facts_use(const struct backends *b, const struct facts *f, uint16_t pool,
              struct facts_use *out_use, struct err *err)
{
    struct facts_use use = {.backend = BACKEND_NONE, .pool = pool};
    int found = pool;

    if (f->pool.n > 0) {
        found = find_pool(b->conf, f->pool);
        use.how = "pool";
    } else if (f->tag.n > 0) {
        found = find_tagged(b->conf, f->tag);
        use.how = "tag";
    }
    if (found < 0 && f->pool.n > 0)
        return err_set(err, 0, "pool=%.*s is not in the configuration", SLICE_ARG(f->pool));
    if (found < 0)
        return err_set(err, 0, "tag=%.*s: no pool has this tag", SLICE_ARG(f->tag));
    use.pool = (uint16_t)found;
    if (f->backend.n > 0 || f->host.n > 0) {
        use.backend = find_backend(b, f, use.how != NULL, use.pool);
        if (use.backend == BACKEND_NONE)
            return no_backend(b, f, use.how != NULL, use.pool, err);
        if (!use.how)
            use.how = f->backend.n > 0 ? "backend" : "host";
        use.pool = b->all[use.backend].pool;
    }
    *out_use = use;
    return 0;
}
