/* Loading: memory, text and grammar put together; and the questions that a snapshot answers. */
#include "conf/conf.h"

#include "base/num.h"
#include "conf/parse.h"
#include "conf/source.h"
#include "conf/store.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

static struct conf *conf_new(struct err *err)
{
    struct conf *conf = calloc(1, sizeof *conf);

    if (conf)
        conf->origins = calloc(1, sizeof *conf->origins);
    if (!conf || !conf->origins) {
        err_set(err, ENOMEM, "no memory for the configuration");
        conf_free(&conf);
        return NULL;
    }
    return conf;
}

/* Exactly one of `path` and `text` is given. */
static int load(const char *path, const char *text, const char *name, struct conf **out_conf,
                struct err *err)
{
    struct conf *conf = conf_new(err);
    struct source src;
    int rc;

    if (!conf)
        return -1;
    source_init(&src, conf);
    if (path)
        rc = source_read(&src, path, err);
    else
        rc = source_read_text(&src, slice_str(text), name, err);
    if (rc == 0)
        rc = parse_source(&src, conf, err);
    source_done(&src);
    if (rc)
        conf_free(&conf);
    else
        *out_conf = conf;
    return rc;
}

int conf_load(const char *path, struct conf **out_conf, struct err *err)
{
    return load(path, NULL, NULL, out_conf, err);
}

int conf_load_text(const char *text, const char *name, struct conf **out_conf, struct err *err)
{
    return load(NULL, text, name, out_conf, err);
}

unsigned conf_workers(const struct conf *conf)
{
    uint64_t n;
    cpu_set_t cores;

    if (num_parse(slice_str(conf->global.workers), CONF_WORKERS_MAX, &n) && n > 0)
        return (unsigned)n;
    if (sched_getaffinity(0, sizeof cores, &cores))
        return 1;
    n = (unsigned)CPU_COUNT(&cores);
    return n > CONF_WORKERS_MAX ? CONF_WORKERS_MAX : (unsigned)n;
}

size_t conf_listener_pool(const struct conf *conf, const struct conf_listener *listener)
{
    size_t i = 0;

    if (listener->pool[0])
        while (i < conf->pools_n && strcmp(conf->pools[i].title, listener->pool) != 0)
            i++;
    INSIST(i < conf->pools_n); /* conf_check() says so before */
    return i;
}

const char *conf_admin_socket(const struct conf *conf, char out[CONF_SOCKET_PATH])
{
    const struct conf_global *g = &conf->global;

    if (strcmp(g->admin_socket, "off") == 0)
        return NULL;
    if (g->admin_socket[0])
        snprintf(out, CONF_SOCKET_PATH, "%s", g->admin_socket);
    else
        snprintf(out, CONF_SOCKET_PATH, "%s/ctl", g->state);
    return out;
}
