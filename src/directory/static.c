/* The driver static: the rules stand in the configuration. */
#include "base/hash.h"
#include "directory/drivers.h"
#include "directory/map.h"

#include <stdlib.h>

struct directory {
    struct facts_map *map;
};

static void static_close(struct directory **d)
{
    if (!*d)
        return;
    facts_map_free(&(*d)->map);
    free(*d);
    *d = NULL;
}

static int read_rules(struct facts_map *m, const struct conf_list *rules, struct err *err)
{
    for (size_t i = 0; i < rules->n; i++) {
        if (facts_map_add(m, slice_str(rules->items[i]), err) < 0)
            return err_prefix(err, "rules, item %zu", i + 1);
    }
    return 0;
}

static int static_open(const struct directory_params *params, struct directory **out_directory,
                       struct err *err)
{
    struct facts_map_params p = {.conf = params->global, .has_items = true};
    struct directory *d = calloc(1, sizeof *d);

    hash_random(p.salt, sizeof p.salt);
    if (d)
        d->map = facts_map_new(&p);
    if (!d || !d->map) {
        static_close(&d);
        return err_set(err, 0, "no memory for the rules");
    }
    if (read_rules(d->map, &params->conf->rules, err) < 0) {
        static_close(&d);
        return -1;
    }
    *out_directory = d;
    return 0;
}

static void static_lookup(struct directory *d, struct slice user, directory_done *done, void *arg)
{
    directory_find(d->map, user, done, arg);
}

/* No question is ever open. */
static void static_cancel(struct directory *d, void *arg)
{
    (void)d;
    (void)arg;
}

const struct directory_driver directory_static = {
    .name = "static",
    .open = static_open,
    .lookup = static_lookup,
    .cancel = static_cancel,
    .close = static_close,
};
