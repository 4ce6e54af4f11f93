/* Commands that see. Lists of sessions, users and moves are gathered at once, in as few bytes as
 * may be, and become JSON as they are taken. */
#include "admin/commands.h"
#include "control/network.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct operate_filter filter_of(const struct request *r)
{
    return (struct operate_filter){.user = r->user,
                                   .backend = r->backend,
                                   .pool = r->pool,
                                   .client = r->has_client ? &r->client : NULL};
}

static json_t *address(const struct in6_addr *client)
{
    char text[INET6_ADDRSTRLEN];

    return answer_text(network_format(client, text));
}

static json_t *user_or_null(struct slice user)
{
    return user.n ? answer_bytes(user) : json_null();
}

/* --- backends and pools ----------------------------------------------------------------------- */

static json_t *addresses_of(struct answer *a, const struct backend *b)
{
    json_t *all = json_array();

    for (size_t i = 0; i < b->addresses_n; i++) {
        char text[ADDR_TEXT];

        answer_append(a, all, json_string(addr_format(&b->addresses[i], text)));
    }
    return all;
}

static bool is_checked(const struct call *c, const struct backend *b)
{
    return c->backends->conf->pools[b->pool].check != CHECK_OFF;
}

static json_t *seconds_in_health(const struct call *c, const struct backend *b)
{
    if (!is_checked(c, b))
        return json_null();
    return answer_number((c->now_ms - b->health.since_ms) / 1000);
}

/* 0: there is none. */
static json_t *limit(uint32_t n)
{
    return n > 0 ? answer_number(n) : json_null();
}

static json_t *backend(struct call *c, size_t i, const struct operate_counts *counts)
{
    const struct backend *b = &c->backends->all[i];
    json_t *o = json_object();

    answer_put(&c->answer, o, "backend", json_string(b->conf->title));
    answer_put(&c->answer, o, "pool", call_pool(c, b->pool));
    answer_put(&c->answer, o, "address", json_string(b->conf->address));
    answer_put(&c->answer, o, "state", json_string(backend_state_name(b->state)));
    answer_put(&c->answer, o, "weight", answer_number(b->conf->weight));
    answer_put(&c->answer, o, "sessions", answer_number(counts[i].sessions));
    answer_put(&c->answer, o, "users", answer_number(counts[i].users));
    answer_put(&c->answer, o, "addresses", addresses_of(&c->answer, b));
    answer_put(&c->answer, o, "health", call_health(c, (uint32_t)i));
    answer_put(&c->answer, o, "since", seconds_in_health(c, b));
    answer_put(&c->answer, o, "weight_now", call_weight(c, (uint32_t)i));
    answer_put(&c->answer, o, "connecting", answer_number(b->connecting));
    answer_put(&c->answer, o, "queued", answer_number(backends_queued(b)));
    answer_put(&c->answer, o, "backup", json_boolean(b->conf->backup));
    answer_put(&c->answer, o, "max_sessions", limit(b->conf->max_sessions));
    answer_put(&c->answer, o, "max_connecting", limit(b->conf->max_connecting));
    answer_put(&c->answer, o, "login_rate", limit(b->conf->login_rate));
    return o;
}

static void put_backend(struct call *c, size_t i)
{
    const int pool = c->request.pool;

    if (pool >= 0 && c->backends->all[i].pool != pool)
        return;
    answer_row(&c->answer, backend(c, i, c->rows.items));
    c->rows.told++;
}

int admin_backends(struct call *c, struct err *err)
{
    c->rows.items = call_counts(c, err);
    if (!c->rows.items)
        return -1;
    c->rows.n = c->backends->n;
    c->rows.put = put_backend;
    return 0;
}

static json_t *place_of(const struct conf_pool *pool)
{
    if (pool->storage == STORAGE_SHARED)
        return json_null();
    return json_string(pool->place == PLACE_TRY ? "try" : "hash");
}

static void put_pool(struct call *c, size_t i)
{
    static const char *const checks[] = {[CHECK_OFF] = "off",
                                         [CHECK_TCP] = "tcp",
                                         [CHECK_GREETING] = "greeting",
                                         [CHECK_LOGIN] = "login"};
    const struct conf_pool *pool = &c->backends->conf->pools[i];
    const struct operate_counts *counts = c->rows.items;
    uint64_t sessions = 0, users = 0;
    json_t *o = json_object();

    for (size_t k = 0; k < pool->backends_n; k++) {
        sessions += counts[c->backends->first[i] + k].sessions;
        users += counts[c->backends->first[i] + k].users;
    }
    answer_put(&c->answer, o, "pool", json_string(pool->title));
    answer_put(&c->answer, o, "storage",
               json_string(pool->storage == STORAGE_OWN ? "own" : "shared"));
    answer_put(&c->answer, o, "backends", answer_number(pool->backends_n));
    answer_put(&c->answer, o, "sessions", answer_number(sessions));
    answer_put(&c->answer, o, "users", answer_number(users));
    answer_put(&c->answer, o, "place", place_of(pool));
    answer_put(&c->answer, o, "check", json_string(checks[pool->check]));
    answer_row(&c->answer, o);
    c->rows.told++;
}

int admin_pools(struct call *c, struct err *err)
{
    c->rows.items = call_counts(c, err);
    if (!c->rows.items)
        return -1;
    c->rows.n = c->backends->conf->pools_n;
    c->rows.put = put_pool;
    return 0;
}

/* --- status ----------------------------------------------------------------------------------- */

static json_t *backends(struct call *c, const struct operate_counts *counts)
{
    json_t *all = json_array();

    for (size_t i = 0; i < c->backends->n; i++)
        answer_append(&c->answer, all, backend(c, i, counts));
    return all;
}

/* By health alone: what operators have taken out they know of. */
static json_t *unhealthy(struct call *c)
{
    json_t *all = json_array();

    for (uint32_t i = 0; i < c->backends->n; i++) {
        if (!backends_serves(c->backends, i))
            answer_append(&c->answer, all, call_backend(c, i));
    }
    return all;
}

int admin_status(struct call *c, struct err *err)
{
    struct operate_counts *counts = call_counts(c, err);
    struct answer *a = &c->answer;
    struct operate_status s;
    json_t *o;

    if (!counts)
        return -1;
    operate_status(c->operate, &s);
    o = json_object();
    answer_put(a, o, "version", json_string(USHER_VERSION));
    answer_put(a, o, "epoch", answer_number(s.epoch));
    answer_put(a, o, "recovered", json_boolean(s.is_recovered));
    answer_put(a, o, "sessions", answer_number(s.sessions));
    answer_put(a, o, "users", answer_number(s.users));
    answer_put(a, o, "known_users", answer_number(s.known_users));
    answer_put(a, o, "logins", answer_number(s.logins));
    answer_put(a, o, "held", answer_number(s.held));
    answer_put(a, o, "delayed", answer_number(s.delayed));
    answer_put(a, o, "workers", answer_number(s.workers));
    answer_put(a, o, "moves", answer_number(s.moves));
    answer_put(a, o, "kicks", answer_number(s.kicks));
    answer_put(a, o, "given_up", answer_number(s.given_up));
    answer_put(a, o, "backends", backends(c, counts));
    answer_put(a, o, "queued", answer_number(s.queued));
    answer_put(a, o, "unhealthy", unhealthy(c));
    answer_put(a, o, "retired", answer_number(s.retired));
    answer_put(a, o, "moves_since", answer_number(s.moves_since));
    answer_done(a, o);
    free(counts);
    return 0;
}

/* --- sessions --------------------------------------------------------------------------------- */

static json_t *session(struct call *c, const struct operate_session *s)
{
    struct answer *a = &c->answer;
    json_t *o = json_object();

    answer_put(a, o, "id", json_sprintf("%u.%u", s->key.instance, s->key.id));
    answer_put(a, o, "user", user_or_null(s->user));
    answer_put(a, o, "client", address(&s->client));
    answer_put(a, o, "pool", call_pool(c, s->pool));
    answer_put(a, o, "backend", call_backend(c, s->backend));
    answer_put(a, o, "stage", json_string(operate_stage_name(s->stage)));
    return o;
}

/* Those that ended since they were gathered are not told. */
static void put_session(struct call *c, size_t i)
{
    const struct operate_key *keys = c->rows.items;
    struct operate_session s;

    if (!operate_session(c->operate, keys[i], &s))
        return;
    answer_row(&c->answer, session(c, &s));
    c->rows.told++;
}

int admin_sessions(struct call *c, struct err *err)
{
    const struct operate_filter filter = filter_of(&c->request);
    struct operate_key *keys;

    if (operate_sessions(c->operate, &filter, &keys, &c->rows.n, err) < 0)
        return -1;
    c->rows.items = keys;
    c->rows.put = put_session;
    return 0;
}

int admin_session(struct call *c, struct err *err)
{
    const struct operate_key key = c->request.session;
    struct operate_session s;

    if (!operate_session(c->operate, key, &s))
        return err_set(err, ENOENT, "there is no session %u.%u (any more)", key.instance, key.id);
    answer_done(&c->answer, session(c, &s));
    return 0;
}

/* --- users, orders, moves --------------------------------------------------------------------- */

/* Rows that are gathered: a struct each, with the name of a user at its start, and all names behind
 * each other. */
struct gathering {
    struct call *c;
    size_t size; /* of a struct */
    size_t cap, names_n, names_cap;
};

static void *grown(void *p, size_t *cap, size_t need, size_t size)
{
    const size_t more = *cap ? *cap * 2 : 256;

    *cap = more < need ? need : more;
    return reallocarray(p, *cap, size);
}

/* The first member of both structs; a name is found again by its place until all are there. */
static struct slice *name_of(const struct gathering *g, size_t i)
{
    return (struct slice *)(void *)((char *)g->c->rows.items + i * g->size);
}

_Static_assert(offsetof(struct operate_user, name) == 0, "name_of()");
_Static_assert(offsetof(struct operate_move, user) == 0, "name_of()");

static int gather(struct gathering *g, const void *item, struct slice name)
{
    struct rows *r = &g->c->rows;
    void *p;

    if (r->n == g->cap) {
        p = grown(r->items, &g->cap, r->n + 1, g->size);
        if (!p)
            return -1;
        r->items = p;
    }
    if (g->names_n + name.n > g->names_cap) {
        p = grown(r->names, &g->names_cap, g->names_n + name.n, 1);
        if (!p)
            return -1;
        r->names = p;
    }
    memcpy((char *)r->items + r->n * g->size, item, g->size);
    memcpy(r->names + g->names_n, name.p, name.n);
    g->names_n += name.n;
    r->n++;
    return 0;
}

static int gather_user(void *arg, const struct operate_user *user)
{
    return gather(arg, user, user->name);
}

static int gather_move(void *arg, const struct operate_move *move)
{
    return gather(arg, move, move->user);
}

/* Has the names point to where they are kept. */
static int gathered(struct gathering *g, int done, void (*put)(struct call *c, size_t i),
                    struct err *err)
{
    struct rows *r = &g->c->rows;
    size_t at = 0;

    if (done < 0)
        return err_set(err, ENOMEM, "out of memory");
    for (size_t i = 0; i < r->n; i++) {
        name_of(g, i)->p = r->names + at;
        at += name_of(g, i)->n;
    }
    r->put = put;
    return 0;
}

static void put_user(struct call *c, size_t i)
{
    const struct operate_user *u = &((const struct operate_user *)c->rows.items)[i];
    struct answer *a = &c->answer;
    json_t *o = json_object();

    answer_put(a, o, "user", answer_bytes(u->name));
    answer_put(a, o, "pool", call_pool(c, u->pool));
    answer_put(a, o, "backend", call_backend(c, u->backend));
    answer_put(a, o, "placed", call_backend(c, u->placed));
    answer_put(a, o, "pin", call_backend(c, u->pin));
    answer_put(a, o, "held", json_boolean(u->is_held));
    answer_put(a, o, "moving", json_boolean(u->is_moving));
    answer_put(a, o, "sessions", answer_number(u->sessions));
    answer_row(a, o);
    c->rows.told++;
}

int admin_users(struct call *c, struct err *err)
{
    const struct operate_filter filter = filter_of(&c->request);
    struct gathering g = {.c = c, .size = sizeof(struct operate_user)};

    return gathered(&g, operate_users(c->operate, &filter, gather_user, &g), put_user, err);
}

static void put_order(struct call *c, size_t i)
{
    const struct operate_user *u = &((const struct operate_user *)c->rows.items)[i];
    struct answer *a = &c->answer;
    json_t *o = json_object();

    answer_put(a, o, "user", answer_bytes(u->name));
    answer_put(a, o, "pin", call_backend(c, u->backend));
    answer_put(a, o, "held", json_boolean(u->is_held));
    answer_row(a, o);
    c->rows.told++;
}

int admin_pins(struct call *c, struct err *err)
{
    struct gathering g = {.c = c, .size = sizeof(struct operate_user)};

    return gathered(&g, operate_orders(c->operate, gather_user, &g), put_order, err);
}

static void put_move(struct call *c, size_t i)
{
    const struct operate_move *m = &((const struct operate_move *)c->rows.items)[i];
    struct answer *a = &c->answer;
    json_t *o = json_object();

    answer_put(a, o, "user", answer_bytes(m->user));
    answer_put(a, o, "pool", call_pool(c, m->pool));
    answer_put(a, o, "from", call_backend(c, m->from));
    answer_put(a, o, "to", call_backend(c, m->to));
    answer_put(a, o, "sessions", answer_number(m->sessions));
    /* null: it waits for its turn. */
    answer_put(a, o, "seconds",
               m->since_ms ? answer_number((c->now_ms - m->since_ms) / 1000) : json_null());
    answer_row(a, o);
    c->rows.told++;
}

int admin_moves(struct call *c, struct err *err)
{
    struct gathering g = {.c = c, .size = sizeof(struct operate_move)};

    return gathered(&g, operate_moves(c->operate, gather_move, &g), put_move, err);
}

/* --- penalties -------------------------------------------------------------------------------- */

static json_t *count_if(bool is_asked, uint32_t n)
{
    return is_asked ? answer_number(n) : json_null();
}

int admin_penalties(struct call *c, struct err *err)
{
    const struct request *r = &c->request;
    const bool has_user = r->user.n > 0, has_both = has_user && r->has_client;
    struct penalty_record record;
    struct answer *a = &c->answer;
    json_t *o;

    if (!has_user && !r->has_client)
        return call_usage(c, err, "penalties wants a user, an address, or both");
    operate_penalties(c->operate, has_user ? &r->user : NULL, r->has_client ? &r->client : NULL,
                      c->now_ms, &record);
    o = json_object();
    answer_put(a, o, "user", user_or_null(r->user));
    answer_put(a, o, "address", r->has_client ? address(&r->client) : json_null());
    answer_put(a, o, "user_failures", count_if(has_user, record.user));
    answer_put(a, o, "address_failures", count_if(r->has_client, record.address));
    answer_put(a, o, "site_failures", count_if(r->has_client, record.site));
    answer_put(a, o, "pair_failures", count_if(has_both, record.pair));
    answer_put(a, o, "known", has_both ? json_boolean(record.is_known) : json_null());
    answer_done(a, o);
    return 0;
}
