/* What operators change: each first in the state file, then in memory, so that nothing is believed
 * that a new control would not know. What goes on by itself is moves.c's. */
#include "control/operate_parts.h"

#include "base/log.h"

#include <errno.h>
#include <stdlib.h>

static const char *title_of(const struct operate *o, uint32_t backend)
{
    return backends_title(o->backends, backend);
}

static int check_user(struct slice user, struct err *err)
{
    if (user_is_name(user))
        return 0;
    return err_set(err, 0, "that is not a user's name: it has 1 to %d bytes, in one line",
                   IPC_USER_MAX);
}

static int check_backend(const struct operate *o, uint32_t backend, struct err *err)
{
    if (!backends_is_stranger(o->backends, backend))
        return 0;
    return err_set(err, 0, "there is no such backend in the configuration");
}

/* In whatever pool. */
static int check_not_moving(const struct operate *o, struct slice user, struct err *err)
{
    for (size_t i = 0; i < o->conf->pools_n; i++) {
        const struct user *u = registry_user(o->registry, (uint16_t)i, user);
        const struct move *m = u ? moves_find(&o->moves, u) : NULL;

        if (m)
            return err_set(err, 0, "%.*s is being moved to %s", SLICE_ARG(user),
                           title_of(o, m->to));
    }
    return 0;
}

/* Sessions that are not known yet may be anywhere. */
static int check_recovered(const struct operate *o, struct err *err)
{
    struct admission_counts counts;

    admission_count(o->admission, &counts);
    if (counts.is_recovered)
        return 0;
    return err_set(err, EAGAIN,
                   "control has just begun and is being told of the live sessions; "
                   "please try again in a moment");
}

/* --- what lasts ---------------------------------------------------------------------------- */

int operate_backend(struct operate *o, uint32_t backend, enum backend_state state, struct err *err)
{
    struct state_change change = {.what = STATE_BACKEND, .word = backend_state_name(state)};

    if (check_backend(o, backend, err) < 0)
        return -1;
    change.backend = title_of(o, backend);
    if (state_write(o->state, &change, 1, err) < 0)
        return -1;
    o->backends->all[backend].state = state;
    return 0;
}

/* The order is there before the file is written, since memory may be out; one that orders nothing
 * means nothing. NULL: it is. */
static struct order *make_order(struct operate *o, struct slice user, struct err *err)
{
    struct order *order = registry_order_make(o->registry, user);

    if (!order)
        err_set(err, ENOMEM, "no memory for an order about a user");
    return order;
}

int operate_pin(struct operate *o, struct slice user, uint32_t backend, struct err *err)
{
    bool is_pin = backend != BACKEND_NONE;
    struct state_change change = {.what = is_pin ? STATE_PIN : STATE_UNPIN, .user = user};
    struct order *order;
    int result;

    if (check_user(user, err) < 0 || (is_pin && check_backend(o, backend, err) < 0) ||
        check_not_moving(o, user, err) < 0)
        return -1;
    order = make_order(o, user, err);
    if (!order)
        return -1;
    change.backend = is_pin ? title_of(o, backend) : NULL;
    result = state_write(o->state, &change, 1, err);
    if (result == 0)
        order->pin = backend;
    registry_order_tidy(o->registry, order);
    return result;
}

int operate_hold(struct operate *o, struct slice user, bool is_held, uint64_t now_ms,
                 struct err *err)
{
    struct state_change change = {.what = is_held ? STATE_HOLD : STATE_RELEASE, .user = user};
    struct order *order;
    int result;

    if (check_user(user, err) < 0)
        return -1;
    order = make_order(o, user, err);
    if (!order)
        return -1;
    result = state_write(o->state, &change, 1, err);
    if (result == 0 && is_held)
        order->is_held = true;
    else if (result == 0)
        admission_release(o->admission, user, now_ms);
    registry_order_tidy(o->registry, order);
    return result;
}

static bool is_shared(const struct operate *o, uint16_t pool)
{
    return o->conf->pools[pool].storage == STORAGE_SHARED;
}

int operate_place(struct operate *o, struct slice user, uint32_t backend, struct err *err)
{
    struct state_change change = {.what = STATE_PLACE, .user = user};
    struct user *u;
    uint16_t pool;
    int result;

    if (check_user(user, err) < 0 || check_backend(o, backend, err) < 0 ||
        check_not_moving(o, user, err) < 0)
        return -1;
    pool = o->backends->all[backend].pool;
    change.pool = o->conf->pools[pool].title;
    change.backend = title_of(o, backend);
    if (is_shared(o, pool))
        return err_set(err, 0,
                       "pool %s has shared storage, where users have no place; pin the user",
                       change.pool);
    u = registry_user_make(o->registry, pool, user);
    if (!u)
        return err_set(err, ENOMEM, "no memory for a user");
    registry_keep(u);
    result = state_write(o->state, &change, 1, err);
    if (result == 0)
        u->placed = backend;
    registry_let_go(o->registry, u);
    return result;
}

/* --- what a move does ---------------------------------------------------------------------- */

/* The pin that the user would lose by a move in shared storage. */
static int check_pin(const struct operate *o, const struct user *u, struct err *err)
{
    const struct order *order = registry_order(o->registry, user_name(u));
    uint16_t other;

    if (!order || order->pin == BACKEND_NONE || backends_is_stranger(o->backends, order->pin))
        return 0;
    other = o->backends->all[order->pin].pool;
    if (other == u->pool || !is_shared(o, u->pool))
        return 0;
    return err_set(err, 0, "%.*s is pinned to %s of pool %s, and has one pin; unpin the user first",
                   SLICE_ARG(user_name(u)), title_of(o, order->pin), o->conf->pools[other].title);
}

/* Shared storage: the pin. Own storage: the placement, and the pin if there is one, which would
 * count more. */
static int settle(void *arg, const struct move *m, uint64_t now_ms, struct err *err)
{
    struct operate *o = arg;
    struct user *u = m->user;
    uint32_t to = m->to;
    const struct route *route = admission_route(o->admission);
    bool is_pinned = route_pin(route, u->pool, user_name(u)) != BACKEND_NONE;
    bool needs_pin = is_pinned || is_shared(o, u->pool);
    struct order *order = NULL;
    struct state_change changes[2];
    size_t n = 0;
    int result;

    if (m->is_return) {
        route_note(route, u->pool, user_name(u), to, now_ms);
        return 0;
    }
    if (check_pin(o, u, err) < 0)
        return -1;
    if (needs_pin) {
        order = make_order(o, user_name(u), err);
        if (!order)
            return -1;
        changes[n++] = (struct state_change){
            .what = STATE_PIN, .user = user_name(u), .backend = title_of(o, to)};
    }
    if (!is_shared(o, u->pool))
        changes[n++] = (struct state_change){.what = STATE_PLACE,
                                             .user = user_name(u),
                                             .pool = o->conf->pools[u->pool].title,
                                             .backend = title_of(o, to)};
    result = state_write(o->state, changes, n, err);
    if (result == 0 && order)
        order->pin = to;
    if (result == 0 && !is_shared(o, u->pool))
        u->placed = to;
    if (result == 0)
        route_note(route, u->pool, user_name(u), to, now_ms);
    if (order)
        registry_order_tidy(o->registry, order);
    return result;
}

static void log_move(const struct operate *o, struct log_line *l, const struct move *m)
{
    log_slice(l, "user", user_name(m->user));
    log_str(l, "pool", o->conf->pools[m->user->pool].title);
    log_str(l, "from", m->from == BACKEND_NONE ? "" : title_of(o, m->from));
    log_str(l, "to", title_of(o, m->to));
}

static void on_begun(void *arg, const struct move *m)
{
    struct log_line l;

    log_begin(&l, LOG_MOVE_BEGUN);
    log_move(arg, &l, m);
    log_uint(&l, "sessions", m->user->sessions_n);
    log_end(&l);
}

static void on_moved(void *arg, const struct move *m, uint64_t now_ms)
{
    struct log_line l;

    log_begin(&l, LOG_MOVED);
    log_move(arg, &l, m);
    log_uint(&l, "duration_ms", now_ms - m->since_ms);
    log_end(&l);
}

static void on_failed(void *arg, const struct user *u, const struct err *why)
{
    const struct operate *o = arg;
    struct log_line l;

    log_begin(&l, LOG_MOVE_FAILED);
    log_slice(&l, "user", user_name(u));
    log_str(&l, "pool", o->conf->pools[u->pool].title);
    log_str(&l, "detail", why->text);
    log_end(&l);
}

const struct moves_effects operate_moves_effects = {
    .settle = settle, .begun = on_begun, .moved = on_moved, .failed = on_failed};

/* --- moving -------------------------------------------------------------------------------- */

static int check_target(const struct operate *o, uint32_t to, struct err *err)
{
    if (check_backend(o, to, err) < 0)
        return -1;
    if (!backends_is_down(o->backends, to))
        return 0;
    return err_set(err, 0, "%s is down%s: nobody would be served there", title_of(o, to),
                   backends_serves(o->backends, to) ? ""
                                                    : ", as its probes or the logins there say");
}

static uint32_t where_is(const struct operate *o, const struct user *u, uint64_t now_ms)
{
    struct route_view view;

    route_explain(admission_route(o->admission), u->pool, user_name(u), BACKEND_NONE, now_ms,
                  &view);
    return view.live != BACKEND_NONE     ? view.live
           : view.pin != BACKEND_NONE    ? view.pin
           : view.placed != BACKEND_NONE ? view.placed
                                         : view.affinity;
}

int operate_move(struct operate *o, struct slice user, uint32_t to, uint64_t now_ms,
                 struct err *err)
{
    struct user *u;
    int result;

    if (check_user(user, err) < 0 || check_target(o, to, err) < 0 || check_recovered(o, err) < 0)
        return -1;
    u = registry_user_make(o->registry, o->backends->all[to].pool, user);
    if (!u)
        return err_set(err, ENOMEM, "no memory for a user");
    registry_keep(u);
    if (u->is_moving)
        result = check_not_moving(o, user, err);
    else if (check_pin(o, u, err) < 0)
        result = -1;
    else
        result = moves_begin(&o->moves, u, where_is(o, u, now_ms), to, now_ms, err);
    registry_let_go(o->registry, u);
    return result;
}

/* --- many ---------------------------------------------------------------------------------- */

struct gathering {
    struct operate *o;
    uint32_t from;
    uint16_t pool;
    struct user **users; /* all are kept */
    size_t n, cap;
    bool has_failed;
};

static void gather(struct gathering *g, struct user *u)
{
    if (g->has_failed || u->is_seen)
        return;
    if (g->n == g->cap) {
        size_t cap = g->cap ? 2 * g->cap : 64;
        struct user **more = realloc((void *)g->users, cap * sizeof(struct user *));

        g->has_failed = !more;
        if (!more)
            return;
        g->users = more;
        g->cap = cap;
    }
    u->is_seen = true;
    registry_keep(u);
    g->users[g->n++] = u;
}

static void let_all_go(struct gathering *g)
{
    for (size_t i = 0; i < g->n; i++)
        registry_let_go(g->o->registry, g->users[i]);
    free((void *)g->users);
}

static void gather_known(struct map_node *node, void *arg)
{
    struct user *u = CONTAINER(node, struct user, node);
    struct gathering *g = arg;

    u->is_seen = false;
    /* Pins cost more to look up, and who has one there comes below. */
    if (u->pool == g->pool && (u->placed == g->from || moves_is_there(u, g->from)) &&
        moves_concern(&g->o->moves, u, g->from))
        gather(g, u);
}

/* Who is pinned there, known by anything else or not. */
static void gather_pinned(struct map_node *node, void *arg)
{
    const struct order *order = CONTAINER(node, const struct order, node);
    struct gathering *g = arg;
    struct user *u;

    if (order->pin != g->from || g->has_failed)
        return;
    u = registry_user_make(g->o->registry, g->pool, slice_of(order->name, order->name_n));
    if (!u) {
        g->has_failed = true;
        return;
    }
    registry_keep(u); /* so that it is forgotten again if there is no room for it */
    gather(g, u);
    registry_let_go(g->o->registry, u);
}

/* Hands the users over, none at all included. */
static int begin_batch(struct gathering *g, uint32_t to, uint32_t per_second, uint64_t now_ms,
                       size_t *out_n, struct err *err)
{
    size_t n = g->n;

    if (g->has_failed)
        err_set(err, ENOMEM, "no memory for a list of the users");
    if (g->has_failed || n == 0 ||
        moves_add_batch(&g->o->moves, g->from, to, per_second, g->users, n, now_ms, err) < 0) {
        let_all_go(g);
        if (g->has_failed || n > 0)
            return -1;
    }
    *out_n = n;
    return 0;
}

static int check_many(const struct operate *o, uint32_t from, bool is_kick, uint32_t per_second,
                      struct err *err)
{
    if (per_second == 0)
        return err_set(err, 0, "a rate of 0 users a second would never end");
    if (moves_batch(&o->moves, from, is_kick))
        return err_set(err, 0, "the users of %s are being %s already", title_of(o, from),
                       is_kick ? "kicked" : "moved");
    return check_recovered(o, err);
}

int operate_move_all(struct operate *o, uint32_t from, uint32_t to, uint32_t per_second,
                     uint64_t now_ms, size_t *out_n, struct err *err)
{
    struct gathering g = {.o = o, .from = from};

    if (check_target(o, to, err) < 0 || check_many(o, from, false, per_second, err) < 0)
        return -1;
    g.pool = o->backends->all[to].pool;
    if (from == to)
        return err_set(err, 0, "the users of %s are there already", title_of(o, to));
    if (!backends_is_stranger(o->backends, from) && o->backends->all[from].pool != g.pool)
        return err_set(err, 0, "%s and %s are not in the same pool", title_of(o, from),
                       title_of(o, to));
    map_each(&o->registry->users, gather_known, &g);
    map_each(&o->registry->orders, gather_pinned, &g);
    if (begin_batch(&g, to, per_second, now_ms, out_n, err) < 0)
        return -1;
    operate_flush_backend(o, from);
    moves_tick(&o->moves, now_ms);
    return 0;
}

static void unmark(void *arg, struct session *s)
{
    (void)arg;
    if (s->user)
        s->user->is_seen = false;
}

/* --- returning ----------------------------------------------------------------------------- */

/* Who lives elsewhere and belongs, by the hash, to `to`. */
struct returning {
    struct gathering gathering;
    uint32_t to;
};

static void gather_displaced(void *arg, struct session *s)
{
    struct returning *r = arg;
    struct gathering *g = &r->gathering;
    const struct route *route = admission_route(g->o->admission);

    if (s->backend != BACKEND_NONE && s->backend != r->to && s->pool == g->pool &&
        user_first(s->user) == s && !s->user->is_moving &&
        moves_concern(&g->o->moves, s->user, s->backend) &&
        route_pin(route, s->pool, user_name(s->user)) == BACKEND_NONE &&
        route_home(route, s->pool, user_name(s->user)) == r->to)
        gather(g, s->user);
}

size_t operate_return(struct operate *o, uint32_t backend, uint64_t now_ms)
{
    const struct conf_pool *pool = &o->conf->pools[o->backends->all[backend].pool];
    struct returning r = {.gathering = {.o = o, .pool = o->backends->all[backend].pool},
                          .to = backend};
    struct err err;
    size_t n;

    if (pool->storage != STORAGE_SHARED || pool->return_rate == 0 || check_recovered(o, &err) < 0 ||
        moves_are_returning(&o->moves, backend))
        return 0;
    registry_each_session(o->registry, unmark, NULL);
    registry_each_session(o->registry, gather_displaced, &r);
    n = r.gathering.n;
    /* What cannot be had now comes with the users' next sessions. */
    if (r.gathering.has_failed || n == 0 ||
        moves_add_return(&o->moves, backend, pool->return_rate, r.gathering.users, n, now_ms,
                         &err) < 0) {
        let_all_go(&r.gathering);
        return 0;
    }
    moves_tick(&o->moves, now_ms);
    return n;
}

int operate_strand(struct operate *o, struct user *u, uint32_t to, uint64_t now_ms, struct err *err)
{
    return moves_strand(&o->moves, u, to, now_ms, err);
}

static void gather_there(void *arg, struct session *s)
{
    struct gathering *g = arg;

    if (s->backend == g->from)
        gather(g, s->user);
}

int operate_kick_all(struct operate *o, uint32_t backend, uint32_t per_second, uint64_t now_ms,
                     size_t *out_n, struct err *err)
{
    struct gathering g = {.o = o, .from = backend};

    if (check_many(o, backend, true, per_second, err) < 0)
        return -1;
    registry_each_session(o->registry, unmark, NULL);
    registry_each_session(o->registry, gather_there, &g);
    if (begin_batch(&g, BACKEND_NONE, per_second, now_ms, out_n, err) < 0)
        return -1;
    moves_tick(&o->moves, now_ms);
    return 0;
}

/* --- kicks --------------------------------------------------------------------------------- */

struct kicking {
    struct operate *o;
    struct slice user;
    size_t n;
};

static void kick_one(void *arg, struct session *s)
{
    struct kicking *k = arg;

    if (s->user && slice_eq(user_name(s->user), k->user))
        k->n += admission_kick(k->o->admission, s, KICK_OPERATOR);
}

size_t operate_kick_user(struct operate *o, struct slice user)
{
    struct kicking k = {.o = o, .user = user};

    registry_each_session(o->registry, kick_one, &k);
    return k.n;
}

bool operate_kick_session(struct operate *o, struct operate_key key)
{
    struct session *s = operate_find(o, key);

    if (s)
        admission_kick(o->admission, s, KICK_OPERATOR);
    return s != NULL;
}

/* --- what is forgotten --------------------------------------------------------------------- */

size_t operate_flush_user(struct operate *o, struct slice user)
{
    size_t n = 0;

    for (size_t i = 0; user_is_name(user) && i < o->conf->pools_n; i++)
        n += route_forget(admission_route(o->admission), (uint16_t)i, user);
    return n;
}

size_t operate_flush_backend(struct operate *o, uint32_t backend)
{
    struct shared *shared = admission_route(o->admission)->shared;

    if (!shared || backends_is_stranger(o->backends, backend) ||
        !is_shared(o, o->backends->all[backend].pool))
        return 0;
    return shared_remove_value(shared, o->backends->nodes[backend].hash.high);
}

void operate_flush_facts(struct operate *o, struct slice user)
{
    admission_flush_facts(o->admission, user);
}

void operate_clear_penalties(struct operate *o, const struct slice *user,
                             const struct in6_addr *client)
{
    const struct penalty_who who = operate_who(o, user, client);

    penalty_clear(admission_penalty(o->admission), &who);
}
