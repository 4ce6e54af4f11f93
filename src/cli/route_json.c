/* usher route: the answer as an object, and the facts for people. */
#include "cli/route.h"

#include "admin/answer.h"
#include "cli/route_way.h"

#include <math.h>
#include <stdio.h>

/* --- facts ------------------------------------------------------------------------------------ */

/* What may be shown of a fact. */
enum shown { SHOWN_TEXT, SHOWN_SET };

struct fact {
    const char *name;
    struct slice value;
    enum shown how;
};

enum { FACTS_SHOWN = 13 };

static struct slice number_text(uint32_t n, char out[16])
{
    if (n == 0)
        return slice_of("", 0);
    snprintf(out, 16, "%u", n);
    return slice_str(out);
}

static struct slice tls_text(const struct facts *f)
{
    static const char *const words[] = {[FACTS_TLS_ANY] = "",
                                        [FACTS_TLS_OFF] = "off",
                                        [FACTS_TLS_STARTTLS] = "starttls",
                                        [FACTS_TLS_IMPLICIT] = "implicit"};

    return slice_str(words[f->tls]);
}

static struct slice disabled_text(const struct facts *f)
{
    if (!f->is_disabled)
        return slice_of("", 0);
    return f->disabled_text.n > 0 ? f->disabled_text : slice_str("yes");
}

/* Those that are given; `room` keeps the numbers. Returns how many. */
static size_t list_facts(const struct way *w, char room[2][16], struct fact out[FACTS_SHOWN])
{
    const struct facts *f = &w->told.facts;
    const struct fact all[FACTS_SHOWN] = {
        {"pool", f->pool, SHOWN_TEXT},
        {"tag", f->tag, SHOWN_TEXT},
        {"backend", f->backend, SHOWN_TEXT},
        {"host", f->host, SHOWN_TEXT},
        {"port", number_text(f->port, room[0]), SHOWN_TEXT},
        {"tls", tls_text(f), SHOWN_TEXT},
        {"backend_user", f->backend_user, SHOWN_TEXT},
        {"disabled", disabled_text(f), SHOWN_TEXT},
        {"max_sessions", number_text(f->max_sessions, room[1]), SHOWN_TEXT},
        {"password_hash", f->password_hash, SHOWN_SET},
        {"backend_password", f->backend_password, SHOWN_SET},
        {"master_user", f->master_user, SHOWN_SET},
        {"master_password", f->master_password, SHOWN_SET},
    };
    size_t n = 0;

    for (size_t i = 0; i < FACTS_SHOWN; i++)
        if (all[i].value.n > 0)
            out[n++] = all[i];
    return n;
}

const char *route_facts(const struct way *w, char out[ROUTE_FACTS])
{
    struct fact facts[FACTS_SHOWN];
    char room[2][16];
    size_t n = list_facts(w, room, facts), at = 0;

    out[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        struct slice value = facts[i].how == SHOWN_SET ? slice_str("(set)") : facts[i].value;
        const char *quote = slice_has(value, ' ') ? "\"" : "";

        at += (size_t)snprintf(out + at, ROUTE_FACTS - at, "%s%s=%s%.*s%s", at > 0 ? " " : "",
                               facts[i].name, quote, SLICE_ARG(value), quote);
        INSIST(at < ROUTE_FACTS);
    }
    return out;
}

const char *route_pool_how(const struct way *w, char out[ROUTE_HOW])
{
    const struct facts *f = &w->told.facts;
    const struct {
        const char *how;
        struct slice value;
    } facts[] = {{"pool", f->pool}, {"tag", f->tag}, {"backend", f->backend}, {"host", f->host}};

    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        if (w->pool_how != w->door_how && strcmp(facts[i].how, w->pool_how) == 0)
            snprintf(out, ROUTE_HOW, "by the directory's %s=%.*s", facts[i].how,
                     SLICE_ARG(facts[i].value));
    }
    if (w->pool_how == w->door_how && strcmp(w->door_how, "first listener") == 0)
        snprintf(out, ROUTE_HOW, "of the first listener%s",
                 w->is_door_open ? " (others have other pools: --listener)" : "");
    else if (w->pool_how == w->door_how)
        snprintf(out, ROUTE_HOW, "as the %s says",
                 strcmp(w->door_how, "option") == 0 ? "option --pool" : "listener");
    return out;
}

/* --- the object ------------------------------------------------------------------------------- */

struct writer {
    const struct way *w;
    bool has_failed;
};

static void put(struct writer *wr, json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new(object, key, value) != 0)
        wr->has_failed = true;
}

static void append(struct writer *wr, json_t *array, json_t *value)
{
    if (json_array_append_new(array, value) != 0)
        wr->has_failed = true;
}

static json_t *backend_of(const struct writer *wr, uint32_t backend)
{
    return backend == BACKEND_NONE ? json_null()
                                   : answer_text(backends_title(&wr->w->backends, backend));
}

static json_t *facts_of(struct writer *wr)
{
    struct fact facts[FACTS_SHOWN];
    char room[2][16];
    size_t n;
    json_t *all;

    if (wr->w->told.status != DIRECTORY_FOUND)
        return json_null();
    n = list_facts(wr->w, room, facts);
    all = json_object();
    for (size_t i = 0; i < n; i++)
        put(wr, all, facts[i].name,
            facts[i].how == SHOWN_SET ? json_string("set") : answer_bytes(facts[i].value));
    return all;
}

static json_t *hash_of(struct writer *wr)
{
    const struct way *w = wr->w;
    json_t *all = json_array();

    for (size_t i = 0; i < w->hash_n; i++) {
        const struct way_choice *choice = &w->hash[i];
        const struct backend *b = &w->backends.all[choice->backend];
        json_t *o = json_object();

        put(wr, o, "backend", backend_of(wr, choice->backend));
        /* JSON has no infinity. */
        put(wr, o, "score", isfinite(choice->score) ? json_real(choice->score) : json_null());
        put(wr, o, "weight", answer_number(b->conf->weight));
        put(wr, o, "state", json_string(backend_state_name(b->state)));
        put(wr, o, "may_serve", json_boolean(choice->may_serve));
        put(wr, o, "health", json_null());
        put(wr, o, "sessions", json_null());
        put(wr, o, "backup", json_boolean(b->conf->backup));
        put(wr, o, "weight_now", json_null());
        append(wr, all, o);
    }
    return all;
}

/* What only a running usher knows. */
static json_t *unknown(struct writer *wr)
{
    static const char *const names[] = {"live", "affinity", "moving", "queued", "health"};
    json_t *all = json_array();

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        append(wr, all, json_string(names[i]));
    return all;
}

json_t *route_json(const struct way *w, const char *given)
{
    struct writer wr = {w, false};
    json_t *o = json_object();

    put(&wr, o, "user", answer_bytes(w->user));
    put(&wr, o, "pool", json_string(w->conf->pools[w->pool].title));
    put(&wr, o, "chosen", backend_of(&wr, w->view.chosen));
    put(&wr, o, "why", answer_text(w->why));
    put(&wr, o, "pin", backend_of(&wr, w->view.pin));
    put(&wr, o, "placed", backend_of(&wr, w->view.placed));
    put(&wr, o, "live", json_null());
    put(&wr, o, "affinity", json_null());
    put(&wr, o, "held", json_boolean(w->is_held));
    put(&wr, o, "moving", json_null());
    put(&wr, o, "hash", hash_of(&wr));
    put(&wr, o, "pool_by", json_string(w->pool_how));
    put(&wr, o, "directory", answer_text(w->told.directory));
    put(&wr, o, "facts", facts_of(&wr));
    put(&wr, o, "age", json_null());
    put(&wr, o, "told", backend_of(&wr, w->said));
    put(&wr, o, "disabled", json_boolean(w->is_disabled));
    put(&wr, o, "queued", json_null());
    put(&wr, o, "given", answer_bytes(slice_str(given)));
    put(&wr, o, "state_file", json_boolean(w->has_state));
    put(&wr, o, "unknown", unknown(&wr));
    if (!wr.has_failed)
        return o;
    json_decref(o);
    return NULL;
}
