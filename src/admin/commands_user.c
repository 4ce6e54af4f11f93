/* Commands that have the directories asked about a user: route, directory lookup. */
#include "admin/commands.h"

#include "control/facts_use.h"
#include "directory/facts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* --- facts ------------------------------------------------------------------------------------ */

static void put_text(struct call *c, json_t *facts, const char *word, struct slice value)
{
    if (value.n > 0)
        answer_put(&c->answer, facts, word, answer_bytes(value));
}

static void put_number(struct call *c, json_t *facts, const char *word, unsigned n)
{
    if (n > 0)
        answer_put(&c->answer, facts, word, json_sprintf("%u", n));
}

/* Words as they stand in a map, and nothing secret: control has not been told more. */
static json_t *facts_object(struct call *c, const struct facts *f)
{
    static const char *const tls[] = {[FACTS_TLS_ANY] = "",
                                      [FACTS_TLS_OFF] = "off",
                                      [FACTS_TLS_STARTTLS] = "starttls",
                                      [FACTS_TLS_IMPLICIT] = "implicit"};
    json_t *o = json_object();

    put_text(c, o, "pool", f->pool);
    put_text(c, o, "tag", f->tag);
    put_text(c, o, "backend", f->backend);
    put_text(c, o, "host", f->host);
    put_number(c, o, "port", f->port);
    put_text(c, o, "tls", slice_str(tls[f->tls]));
    put_text(c, o, "backend_user", f->backend_user);
    if (f->is_disabled)
        put_text(c, o, "disabled", f->disabled_text.n > 0 ? f->disabled_text : SLICE("yes"));
    put_number(c, o, "max_sessions", f->max_sessions);
    if (f->verifies)
        put_text(c, o, "password_hash", SLICE("set"));
    return o;
}

static json_t *title_or_null(struct slice title)
{
    return title.n > 0 ? answer_bytes(title) : json_null();
}

/* "directory people: ", or "directories: " when none of them spoke. */
static void name_directory(const struct told *t, struct err *err)
{
    if (t->directory.n > 0)
        err_prefix(err, "directory %.*s", SLICE_ARG(t->directory));
    else
        err_prefix(err, "directories");
}

/* --- directory lookup ------------------------------------------------------------------------- */

static int tell_lookup(struct call *c, struct err *err)
{
    const struct told *t = &c->told;
    const bool is_known = t->status == FACTS_FOUND;
    struct facts facts;
    json_t *o;
    int done = 0;

    if (t->status == FACTS_UNAVAILABLE)
        done = err_set(err, 0, "%.*s", SLICE_ARG(t->text));
    else if (is_known)
        done = facts_parse_wire(t->text, &facts, err);
    if (done < 0) {
        name_directory(t, err);
        return -1;
    }
    o = json_object();
    answer_put(&c->answer, o, "user", answer_bytes(c->request.user));
    answer_put(&c->answer, o, "known", json_boolean(is_known));
    answer_put(&c->answer, o, "directory", title_or_null(t->directory));
    answer_put(&c->answer, o, "facts", is_known ? facts_object(c, &facts) : json_null());
    answer_done(&c->answer, o);
    return 0;
}

int admin_directory_lookup(struct call *c, struct err *err)
{
    if (c->backends->conf->directories_n == 0)
        return call_usage(c, err, "the configuration has no directory");
    return call_ask(c, true, tell_lookup, err);
}

/* --- route ------------------------------------------------------------------------------------ */

/* What directories make of a login. */
struct way {
    bool has_facts;
    struct facts facts;
    struct facts_use use;
    const char *code; /* with which it is refused, for `why`; NULL: it is not */
    struct err why;
};

/* The pool that counts where no facts name one; returns who has said it. */
static const char *pool_of_door(const struct call *c, uint16_t *out_pool)
{
    const struct conf *conf = c->backends->conf;

    if (c->request.pool >= 0) {
        *out_pool = (uint16_t)c->request.pool;
        return "option";
    }
    *out_pool = conf->listeners_n > 0 ? (uint16_t)conf_listener_pool(conf, &conf->listeners[0]) : 0;
    return "first listener";
}

static void use_facts(const struct call *c, struct way *w)
{
    const struct facts_use door = w->use;

    if (facts_parse_wire(c->told.text, &w->facts, &w->why) < 0) {
        w->code = "UNAVAILABLE";
        return;
    }
    w->has_facts = true;
    if (w->facts.is_disabled) {
        err_set(&w->why, 0, "the user is disabled");
        w->code = "CONTACTADMIN";
    } else if (facts_use(c->backends, &w->facts, door.pool, &w->use, &w->why) < 0) {
        w->code = "UNAVAILABLE";
    } else if (!w->use.how) {
        w->use.how = door.how;
    }
}

/* In the order in which a login meets it. */
static void find_way(const struct call *c, struct way *w)
{
    const struct told *t = &c->told;

    *w = (struct way){.use = {.backend = BACKEND_NONE}};
    w->use.how = pool_of_door(c, &w->use.pool);
    if (t->status == FACTS_UNAVAILABLE) {
        err_set(&w->why, 0, "%.*s", SLICE_ARG(t->text));
        w->code = "UNAVAILABLE";
    } else if (t->status == FACTS_FOUND) {
        use_facts(c, w);
    }
    if (w->code)
        name_directory(t, &w->why);
}

/* JSON has no infinity. */
static json_t *score(double n)
{
    return isfinite(n) ? json_real(n) : json_null();
}

static json_t *hash_of(struct call *c, const struct operate_route *route)
{
    struct answer *a = &c->answer;
    json_t *all = json_array();

    for (size_t i = 0; i < route->hash_n; i++) {
        const struct operate_choice *choice = &route->hash[i];
        const struct backend *b = &c->backends->all[choice->backend];
        json_t *o = json_object();

        answer_put(a, o, "backend", call_backend(c, choice->backend));
        answer_put(a, o, "score", score(choice->score));
        answer_put(a, o, "weight", answer_number(b->conf->weight));
        answer_put(a, o, "state", json_string(backend_state_name(b->state)));
        answer_put(a, o, "may_serve", json_boolean(choice->may_serve));
        answer_put(a, o, "health", call_health(c, choice->backend));
        answer_put(a, o, "sessions", answer_number(b->sessions));
        answer_put(a, o, "backup", json_boolean(b->conf->backup));
        answer_put(a, o, "weight_now", call_weight(c, choice->backend));
        answer_append(a, all, o);
    }
    return all;
}

static json_t *why_of(const struct way *w, const struct operate_route *route)
{
    char text[sizeof w->why.text + 64];

    if (!w->code)
        return answer_text(route->why);
    snprintf(text, sizeof text, "%s; a login would get NO [%s]", w->why.text, w->code);
    return answer_text(text);
}

static void put_told(struct call *c, json_t *o, const struct way *w)
{
    struct answer *a = &c->answer;
    const struct told *t = &c->told;

    answer_put(a, o, "pool_by", json_string(w->use.how));
    answer_put(a, o, "directory", title_or_null(t->directory));
    answer_put(a, o, "facts", w->has_facts ? facts_object(c, &w->facts) : json_null());
    answer_put(a, o, "age", t->age_ms > 0 ? answer_number(t->age_ms / 1000) : json_null());
    answer_put(a, o, "told", call_backend(c, w->use.backend));
    answer_put(a, o, "disabled", json_boolean(w->facts.is_disabled));
}

static int tell_route(struct call *c, struct err *err)
{
    struct answer *a = &c->answer;
    struct operate_route route;
    struct way w;
    json_t *o;

    find_way(c, &w);
    if (operate_route(c->operate, w.use.pool, c->request.user, w.use.backend, c->now_ms, &route,
                      err) < 0)
        return -1;
    if (w.code)
        route.chosen = BACKEND_NONE;
    o = json_object();
    answer_put(a, o, "user", answer_bytes(c->request.user));
    answer_put(a, o, "pool", call_pool(c, route.pool));
    answer_put(a, o, "chosen", call_backend(c, route.chosen));
    answer_put(a, o, "why", why_of(&w, &route));
    answer_put(a, o, "pin", call_backend(c, route.pin));
    answer_put(a, o, "placed", call_backend(c, route.placed));
    answer_put(a, o, "live", call_backend(c, route.live));
    answer_put(a, o, "affinity", call_backend(c, route.affinity));
    answer_put(a, o, "held", json_boolean(route.is_held));
    answer_put(a, o, "moving", json_boolean(route.is_moving));
    answer_put(a, o, "hash", hash_of(c, &route));
    put_told(c, o, &w);
    answer_put(a, o, "queued",
               route.chosen == BACKEND_NONE
                   ? json_null()
                   : answer_number(backends_queued(&c->backends->all[route.chosen])));
    answer_done(a, o);
    free(route.hash);
    return 0;
}

int admin_route(struct call *c, struct err *err)
{
    if (c->backends->conf->directories_n == 0)
        return tell_route(c, err);
    return call_ask(c, false, tell_route, err);
}
