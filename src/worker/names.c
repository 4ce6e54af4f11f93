/* Names of listeners, pools and backends, for control; see worker/names.h. */
#include "worker/names.h"

#include "conf/diff.h"
#include "worker/worker.h"

#include <errno.h>
#include <stdlib.h>

struct name {
    struct msg_name m;
    const char *title; /* the configuration's */
};

struct names {
    size_t n;
    size_t told; /* how many of them, on the channel that there is now */
    struct name all[];
};

static size_t count(const struct conf *conf)
{
    size_t n = conf->listeners_n + conf->pools_n;

    for (size_t i = 0; i < conf->pools_n; i++)
        n += conf->pools[i].backends_n;
    return n;
}

static void add(struct names *names, enum name_kind kind, size_t index, const char *title)
{
    names->all[names->n++] = (struct name){
        .m = {.kind = (uint16_t)kind, .index = (uint32_t)index},
        .title = title,
    };
}

static void add_backend(struct names *names, const struct conf *conf, size_t pool, size_t backend)
{
    names->all[names->n++] = (struct name){
        .m = {.kind = NAME_BACKEND,
              .index = (uint32_t)backend,
              .pool = (uint16_t)pool,
              .meaning = conf_meaning(conf, pool, backend)},
        .title = conf->pools[pool].backends[backend].title,
    };
}

int names_make(struct worker *w, struct err *err)
{
    const struct conf *conf = w->conf;
    struct names *names = calloc(1, sizeof *names + count(conf) * sizeof *names->all);

    if (!names)
        return err_set(err, ENOMEM, "out of memory");
    for (size_t i = 0; i < conf->listeners_n; i++) {
        add(names, NAME_LISTENER, i, conf->listeners[i].title);
        names->all[names->n - 1].m.pool = (uint16_t)conf_listener_pool(conf, &conf->listeners[i]);
    }
    for (size_t i = 0; i < conf->pools_n; i++) {
        add(names, NAME_POOL, i, conf->pools[i].title);
        for (size_t k = 0; k < conf->pools[i].backends_n; k++)
            add_backend(names, conf, i, k);
    }
    w->names = names;
    return 0;
}

void names_free(struct worker *w)
{
    free(w->names);
    w->names = NULL;
}

void names_begin(struct worker *w)
{
    w->names->told = 0;
}

bool names_tell(struct worker *w)
{
    struct names *names = w->names;

    while (names->told < names->n) {
        const struct name *name = &names->all[names->told];

        if (channel_is_full(w->control))
            return false;
        names->told++;
        worker_tell(w, MSG_NAME, 0, &name->m, slice_str(name->title));
    }
    return true;
}

bool names_are_told(const struct worker *w)
{
    return w->names->told == w->names->n;
}
