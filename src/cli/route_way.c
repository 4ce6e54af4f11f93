/* The way of a user without a running usher; see cli/route_way.h. */
#include "cli/route_way.h"

#include "conf/nearest.h"
#include "control/load.h"
#include "control/state.h"
#include "directory/username.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t way_now_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* --- words ------------------------------------------------------------------------------------ */

/* The index of `word` among the titles; -1: "there is no pool "x"; did you mean "y"?". */
static int find_title(const char *kind, const char *word, const char *const *titles, size_t n,
                      size_t *out_index, struct err *err)
{
    const char *near;

    for (size_t i = 0; i < n; i++) {
        if (strcmp(titles[i], word) == 0) {
            *out_index = i;
            return 0;
        }
    }
    near = nearest(word, titles, n);
    return err_set(err, 0, "the configuration has no %s \"%s\"%s%s%s", kind, word,
                   near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static int find_pool(const struct conf *conf, const char *word, size_t *out_index, struct err *err)
{
    const char *titles[CONF_POOLS_MAX];

    for (size_t i = 0; i < conf->pools_n; i++)
        titles[i] = conf->pools[i].title;
    return find_title("pool", word, titles, conf->pools_n, out_index, err);
}

static int find_listener(const struct conf *conf, const char *word, size_t *out_pool,
                         struct err *err)
{
    const char *titles[CONF_LISTENERS_MAX];
    size_t index;

    for (size_t i = 0; i < conf->listeners_n; i++)
        titles[i] = conf->listeners[i].title;
    if (find_title("listener", word, titles, conf->listeners_n, &index, err) < 0)
        return -1;
    *out_pool = conf_listener_pool(conf, &conf->listeners[index]);
    return 0;
}

int way_backend(const struct way *w, const char *title, uint32_t *out_backend, struct err *err)
{
    const char *titles[CONF_BACKENDS_MAX];
    size_t index;

    for (size_t i = 0; i < w->backends.n; i++)
        titles[i] = w->backends.all[i].conf->title;
    if (find_title("backend", title, titles, w->backends.n, &index, err) < 0)
        return -1;
    *out_backend = (uint32_t)index;
    return 0;
}

/* By which pool the login comes, before any directory is asked. */
static int find_door(struct way *w, const struct way_params *params, struct err *err)
{
    const struct conf *conf = w->conf;
    size_t pool = conf->listeners_n > 0 ? conf_listener_pool(conf, &conf->listeners[0]) : 0;

    w->door_how = "first listener";
    if (params->pool) {
        if (find_pool(conf, params->pool, &pool, err) < 0)
            return -1;
        w->door_how = "option";
    } else if (params->listener) {
        if (find_listener(conf, params->listener, &pool, err) < 0)
            return -1;
        w->door_how = "listener";
    } else {
        for (size_t i = 1; i < conf->listeners_n; i++)
            w->is_door_open |= conf_listener_pool(conf, &conf->listeners[i]) != pool;
    }
    w->door = (uint16_t)pool;
    return 0;
}

int way_init(struct way *w, const struct conf *conf, const struct way_params *params,
             struct err *err)
{
    memset(w, 0, sizeof *w);
    w->conf = conf;
    w->said = BACKEND_NONE;
    if (find_door(w, params, err) < 0)
        return -1;
    if (!user_is_name(slice_str(params->user)) ||
        !username_normalize(&conf->global, slice_str(params->user), w->name, &w->user) ||
        !user_is_name(w->user))
        return err_set(err, 0, "\"%s\" is not a user's name, or nothing is left of it",
                       params->user);
    w->loop = loop_new(err);
    if (!w->loop)
        return -1;
    if (backends_init(&w->backends, conf, err) < 0) {
        loop_free(&w->loop);
        return -1;
    }
    if (registry_init(&w->registry, &conf->global, err) < 0) {
        backends_done(&w->backends);
        loop_free(&w->loop);
        return -1;
    }
    return 0;
}

void way_done(struct way *w)
{
    wipe(&w->told, sizeof w->told);
    free(w->hash);
    registry_done(&w->registry);
    backends_done(&w->backends);
    loop_free(&w->loop);
}

/* --- directories ------------------------------------------------------------------------------ */

struct asking {
    struct way *way;
    bool is_over;
};

static void on_told(void *arg, const struct directories_answer *answer)
{
    struct asking *a = arg;
    struct way_told *told = &a->way->told;

    told->status = answer->status;
    snprintf(told->directory, sizeof told->directory, "%s",
             answer->directory ? answer->directory : "");
    if (answer->status == DIRECTORY_FAILED) {
        (void)err_set(&told->trouble, 0, "%.*s", SLICE_ARG(answer->text));
    } else if (answer->status == DIRECTORY_FOUND && answer->text.n <= sizeof told->text) {
        memcpy(told->text, answer->text.p, answer->text.n);
        told->is_useless =
            facts_parse(slice_of(told->text, answer->text.n), &told->facts, &told->trouble) < 0;
    } else if (answer->status == DIRECTORY_FOUND) {
        told->is_useless = true;
        (void)err_set(&told->trouble, 0, "the facts are longer than %d bytes", FACTS_MAX);
    }
    a->is_over = true;
    loop_stop(a->way->loop);
}

/* What is wrong with a directory that goes on all the same, as with a line of a map; usher would
 * have it in its log. */
static void on_news(void *arg, const struct directory_news *news)
{
    (void)arg;
    if (news->is_bad)
        fprintf(stderr, "directory %s: %s\n", news->title, news->detail);
}

static int ask_directories(struct way *w, struct err *err)
{
    const struct directories_params params = {.conf = w->conf, .loop = w->loop, .tell = on_news};
    const uint64_t began_us = way_now_us();
    struct asking a = {.way = w};
    struct directories *d;

    w->told.status = DIRECTORY_UNKNOWN;
    if (w->conf->directories_n == 0)
        return 0;
    w->told.is_asked = true;
    if (directories_new(&params, &d, err) < 0)
        return -1;
    directories_lookup(d, w->user, true, on_told, &a);
    if (!a.is_over)
        loop_run(w->loop);
    INSIST(a.is_over);
    directories_free(&d);
    w->told.took_us = way_now_us() - began_us;
    return 0;
}

/* --- the state file --------------------------------------------------------------------------- */

/* Of a million users only one is taken over. */
struct one_user {
    struct load load;
    struct slice user;
};

static int take_placement(void *arg, struct slice pool, struct slice user, struct slice backend,
                          struct err *err)
{
    struct one_user *one = arg;

    return slice_eq(user, one->user) ? load_rows.placement(&one->load, pool, user, backend, err)
                                     : 0;
}

static int take_pin(void *arg, struct slice user, struct slice backend, struct err *err)
{
    struct one_user *one = arg;

    return slice_eq(user, one->user) ? load_rows.pin(&one->load, user, backend, err) : 0;
}

static int take_hold(void *arg, struct slice user, struct err *err)
{
    struct one_user *one = arg;

    return slice_eq(user, one->user) ? load_rows.hold(&one->load, user, err) : 0;
}

static int take_backend_state(void *arg, struct slice backend, struct slice state, struct err *err)
{
    struct one_user *one = arg;

    return load_rows.backend_state(&one->load, backend, state, err);
}

static int read_state(struct way *w, struct err *err)
{
    static const struct state_rows rows = {
        .placement = take_placement,
        .pin = take_pin,
        .hold = take_hold,
        .backend_state = take_backend_state,
    };
    struct one_user one = {{&w->registry, &w->backends}, w->user};

    return state_read(w->conf->global.state, &rows, &one, &w->has_state, err);
}

/* --- the choice ------------------------------------------------------------------------------- */

static int fill_hash(struct way *w, const struct route *route, struct err *err)
{
    size_t n = w->conf->pools[w->pool].backends_n;
    struct hash128 hash = hash_stable(w->user);

    w->hash = calloc(n + 1, sizeof *w->hash);
    if (!w->hash)
        return err_set(err, ENOMEM, "no memory for a list of the backends");
    for (unsigned i = 0; i < n; i++) {
        uint32_t backend = route_nth(route, w->pool, w->user, i);
        const struct rendezvous_node *node = &w->backends.nodes[backend];

        w->hash[i] = (struct way_choice){.backend = backend,
                                         .score = rendezvous_score(node, hash) / HEALTH_SHARE_WHOLE,
                                         .may_serve = node->weight > 0 &&
                                                      w->backends.all[backend].state == BACKEND_UP};
    }
    w->hash_n = n;
    return 0;
}

/* Which pool, and which backend if the facts say that. */
static void use_facts(struct way *w)
{
    struct way_told *told = &w->told;
    struct facts_use use;

    w->pool = w->door;
    w->pool_how = w->door_how;
    if (told->status != DIRECTORY_FOUND || told->is_useless)
        return;
    if (facts_use(&w->backends, &told->facts, w->door, &use, &told->trouble) < 0) {
        told->is_useless = true;
        return;
    }
    w->pool = use.pool;
    w->said = use.backend;
    w->pool_how = use.how ? use.how : w->door_how;
}

/* No backend is chosen, as a directory has it: in the words of control, with the code that a client
 * would get. */
static void refuse(struct way *w, enum way_end how, const char *words, const char *code)
{
    const char *directory = w->told.directory;

    w->end = how;
    w->view.chosen = BACKEND_NONE;
    snprintf(w->why, sizeof w->why, "%s%s: %s; a login would get NO [%s]",
             directory[0] ? "directory " : "directories", directory, words, code);
}

/* What becomes of it, in the order in which a login meets it. */
static void judge(struct way *w)
{
    const struct way_told *told = &w->told;

    w->is_disabled = told->status == DIRECTORY_FOUND && told->facts.is_disabled;
    w->end = w->is_held ? WAY_WAITS : WAY_GOES;
    if (w->view.chosen == BACKEND_NONE)
        w->end = WAY_REFUSED;
    snprintf(w->why, sizeof w->why, "%s", w->view.why);
    if (told->status == DIRECTORY_FAILED)
        refuse(w, WAY_UNKNOWN, told->trouble.text, "UNAVAILABLE");
    else if (w->is_disabled)
        refuse(w, WAY_REFUSED, "the user is disabled", "CONTACTADMIN");
    else if (told->is_useless)
        refuse(w, WAY_REFUSED, told->trouble.text, "UNAVAILABLE");
}

static int choose(struct way *w, struct err *err)
{
    const struct route route = {.backends = &w->backends, .registry = &w->registry};
    const struct order *order;

    use_facts(w);
    if (fill_hash(w, &route, err) < 0)
        return -1;
    route_explain(&route, w->pool, w->user, w->said, loop_now_ms(w->loop), &w->view);
    order = registry_order(&w->registry, w->user);
    w->is_held = order && order->is_held;
    judge(w);
    return 0;
}

int way_find(struct way *w, struct err *err)
{
    uint64_t began_us;

    if (ask_directories(w, err) < 0)
        return -1;
    began_us = way_now_us();
    if (read_state(w, err) < 0 || choose(w, err) < 0)
        return -1;
    w->chose_us = way_now_us() - began_us;
    return 0;
}
