/* What operators see of control, and the life of struct operate. What they steer is
 * operate_steer.c's, changes of usher itself operate_change.c's. */
#include "control/operate.h"

#include "control/operate_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int operate_new(const struct operate_params *params, struct operate **out_operate, struct err *err)
{
    struct operate *o = malloc(sizeof *o);

    if (!o)
        return err_set(err, ENOMEM, "no memory");
    *o = (struct operate){.conf = params->conf,
                          .backends = params->backends,
                          .admission = params->admission,
                          .state = params->state,
                          .registry = admission_registry(params->admission),
                          .change = params->change,
                          .arg = params->arg};
    list_init(&o->changers);
    moves_init(&o->moves, o->admission, &operate_moves_effects, o);
    *out_operate = o;
    return 0;
}

void operate_free(struct operate **o)
{
    if (!*o)
        return;
    INSIST(list_empty(&(*o)->changers));
    moves_done(&(*o)->moves);
    free(*o);
    *o = NULL;
}

uint64_t operate_due_ms(const struct operate *o)
{
    return moves_due_ms(&o->moves);
}

void operate_tick(struct operate *o, uint64_t now_ms)
{
    moves_tick(&o->moves, now_ms);
}

const struct backends *operate_backends(const struct operate *o)
{
    return o->backends;
}

struct moves *operate_machine(struct operate *o)
{
    return &o->moves;
}

void operate_status(const struct operate *o, struct operate_status *out_status)
{
    const struct registry *r = o->registry;
    struct admission_counts counts;
    size_t workers = 0, retired = 0;

    admission_count(o->admission, &counts);
    list_for_each (it, &r->workers) {
        const bool is_retired = CONTAINER(it, struct admission_worker, node)->facts.is_retired;

        retired += is_retired;
        workers += !is_retired;
    }
    *out_status = (struct operate_status){
        .sessions = r->sessions_n,
        .users = r->users_n,
        .known_users = r->users.used,
        .logins = r->logins_n,
        .held = counts.held,
        .delayed = counts.delayed,
        .queued = counts.queued,
        .workers = workers,
        .retired = retired,
        .epoch = counts.epoch,
        .is_recovered = counts.is_recovered,
        .moves = o->moves.n + moves_waiting(&o->moves, false),
        .kicks = moves_waiting(&o->moves, true),
        .given_up = o->moves.given_up,
        .moves_since = o->moves.since_epoch,
    };
}

/* --- workers ------------------------------------------------------------------------------- */

static int by_generation(const void *a, const void *b)
{
    const struct operate_worker *one = a, *other = b;

    if (one->generation != other->generation)
        return one->generation < other->generation ? -1 : 1;
    return one->slot < other->slot ? -1 : one->slot > other->slot;
}

static struct operate_worker worker_of(const struct admission_worker *w)
{
    const struct worker_facts *f = &w->facts;
    struct operate_worker worker = {.generation = f->generation,
                                    .slot = f->slot,
                                    .pid = f->pid,
                                    .started_s = f->started_s,
                                    .sessions = w->sessions.used,
                                    .is_retired = f->is_retired};

    memcpy(worker.version, f->version, sizeof worker.version);
    return worker;
}

int operate_workers(const struct operate *o, struct operate_worker **out_workers, size_t *out_n,
                    struct err *err)
{
    struct operate_worker *workers;
    size_t n = 0;

    list_for_each (it, &o->registry->workers)
        n++;
    workers = calloc(n + 1, sizeof *workers);
    if (!workers)
        return err_set(err, ENOMEM, "no memory for a list of the workers");
    n = 0;
    list_for_each (it, &o->registry->workers)
        workers[n++] = worker_of(CONTAINER(it, const struct admission_worker, node));
    qsort(workers, n, sizeof *workers, by_generation);
    *out_workers = workers;
    *out_n = n;
    return 0;
}

/* --- sessions ------------------------------------------------------------------------------ */

const char *operate_stage_name(enum stage stage)
{
    static const char *const names[] = {
        [STAGE_OPENING] = "opening", [STAGE_OPEN] = "open",           [STAGE_ASKING] = "asking",
        [STAGE_DELAYED] = "delayed", [STAGE_HELD] = "held",           [STAGE_LOOKING] = "looking",
        [STAGE_QUEUED] = "queued",   [STAGE_RESOLVING] = "resolving", [STAGE_LEASED] = "leased",
        [STAGE_DONE] = "logged in",
    };

    return names[stage];
}

static bool session_fits(const struct session *s, const struct operate_filter *f)
{
    if (f->user.n > 0 && (!s->user || !slice_eq(user_name(s->user), f->user)))
        return false;
    if (f->backend != BACKEND_NONE && s->backend != f->backend)
        return false;
    if (f->pool >= 0 && s->pool != f->pool)
        return false;
    return !f->client || memcmp(f->client, &s->client, sizeof *f->client) == 0;
}

struct naming {
    const struct operate_filter *filter;
    struct operate_key *keys;
    size_t n, cap;
    bool has_failed;
};

static void name_session(void *arg, struct session *s)
{
    struct naming *n = arg;

    if (n->has_failed || !session_fits(s, n->filter))
        return;
    if (n->n == n->cap) {
        size_t cap = n->cap ? 2 * n->cap : 64;
        struct operate_key *more = realloc(n->keys, cap * sizeof *more);

        n->has_failed = !more;
        if (!more)
            return;
        n->keys = more;
        n->cap = cap;
    }
    n->keys[n->n++] = (struct operate_key){s->worker->instance, s->id};
}

static int in_order(const void *a, const void *b)
{
    const struct operate_key *one = a, *other = b;

    if (one->instance != other->instance)
        return one->instance < other->instance ? -1 : 1;
    return one->id < other->id ? -1 : one->id > other->id;
}

int operate_sessions(const struct operate *o, const struct operate_filter *filter,
                     struct operate_key **out_keys, size_t *out_n, struct err *err)
{
    struct naming n = {.filter = filter};

    registry_each_session(o->registry, name_session, &n);
    if (n.has_failed) {
        free(n.keys);
        return err_set(err, ENOMEM, "no memory for a list of the sessions");
    }
    if (n.n > 0)
        qsort(n.keys, n.n, sizeof *n.keys, in_order);
    *out_keys = n.keys;
    *out_n = n.n;
    return 0;
}

struct session *operate_find(const struct operate *o, struct operate_key key)
{
    list_for_each (it, &o->registry->workers) {
        const struct admission_worker *w = CONTAINER(it, const struct admission_worker, node);

        if (w->instance == key.instance)
            return registry_find(o->registry, w, key.id);
    }
    return NULL;
}

bool operate_session(const struct operate *o, struct operate_key key,
                     struct operate_session *out_session)
{
    const struct session *s = operate_find(o, key);

    if (!s)
        return false;
    *out_session = (struct operate_session){.key = key,
                                            .user = s->user ? user_name(s->user) : slice_of("", 0),
                                            .client = s->client,
                                            .backend = s->backend,
                                            .pool = s->pool,
                                            .stage = (enum stage)s->stage};
    return true;
}

/* One session of each user speaks for the user: the first that is not in a queue. */
static bool speaks(const struct session *s)
{
    list_for_each (it, &s->user->sessions) {
        const struct session *one = CONTAINER(it, const struct session, of_user);

        if (one->stage != STAGE_QUEUED)
            return one == s;
    }
    return false;
}

struct counting {
    const struct backends *backends;
    struct operate_counts *counts;
};

static void count_session(void *arg, struct session *s)
{
    const struct counting *c = arg;

    if (backends_is_stranger(c->backends, s->backend) || s->stage == STAGE_QUEUED)
        return; /* or on none */
    c->counts[s->backend].sessions++;
    c->counts[s->backend].users += speaks(s);
}

void operate_count(const struct operate *o, struct operate_counts *out_counts)
{
    struct counting c = {o->backends, out_counts};

    memset(out_counts, 0, o->backends->n * sizeof *out_counts);
    registry_each_session(o->registry, count_session, &c);
}

/* --- users --------------------------------------------------------------------------------- */

typedef int each_user(void *arg, const struct operate_user *user);

struct telling {
    const struct operate *o;
    const struct operate_filter *filter; /* NULL: orders are told */
    each_user *each;
    void *arg;
    int result;
};

static void unmark(void *arg, struct session *s)
{
    (void)arg;
    if (s->user)
        s->user->is_seen = false;
}

static bool user_fits(const struct user *u, const struct operate_filter *f)
{
    const struct session *first = user_first(u);

    if (f->user.n > 0 && !slice_eq(user_name(u), f->user))
        return false;
    if (f->pool >= 0 && u->pool != f->pool)
        return false;
    return f->backend == BACKEND_NONE || (first && first->backend == f->backend);
}

static void tell_user(void *arg, struct session *s)
{
    struct telling *t = arg;
    struct user *u = s->user;
    const struct session *first;
    const struct order *order;
    struct operate_user user;

    if (t->result < 0 || !u || u->is_seen)
        return;
    u->is_seen = true;
    if (!user_fits(u, t->filter))
        return;
    first = user_first(u);
    order = registry_order(t->o->registry, user_name(u));
    user = (struct operate_user){
        .name = user_name(u),
        .pool = u->pool,
        .backend = first ? first->backend : BACKEND_NONE,
        .placed = u->placed,
        .pin = route_pin(admission_route(t->o->admission), u->pool, user_name(u)),
        .sessions = u->sessions_n,
        .is_held = order && order->is_held,
        .is_moving = u->is_moving,
    };
    t->result = t->each(t->arg, &user);
}

/* By their sessions: users without any may be a million. */
int operate_users(const struct operate *o, const struct operate_filter *filter, each_user *each,
                  void *arg)
{
    struct telling t = {.o = o, .filter = filter, .each = each, .arg = arg};

    registry_each_session(o->registry, unmark, NULL);
    registry_each_session(o->registry, tell_user, &t);
    return t.result;
}

static void tell_order(struct map_node *node, void *arg)
{
    const struct order *order = CONTAINER(node, const struct order, node);
    struct telling *t = arg;
    const struct backends *b = t->o->backends;
    struct operate_user user = {
        .name = slice_of(order->name, order->name_n),
        .backend = order->pin,
        .placed = BACKEND_NONE,
        .pin = order->pin,
        .is_held = order->is_held,
    };

    if (t->result < 0 || (order->pin == BACKEND_NONE && !order->is_held))
        return;
    if (order->pin != BACKEND_NONE && !backends_is_stranger(b, order->pin))
        user.pool = b->all[order->pin].pool;
    t->result = t->each(t->arg, &user);
}

int operate_orders(const struct operate *o, each_user *each, void *arg)
{
    struct telling t = {.o = o, .each = each, .arg = arg};

    map_each(&o->registry->orders, tell_order, &t);
    return t.result;
}

/* --- the way of a user --------------------------------------------------------------------- */

int operate_ask(struct operate *o, struct asker *asker, struct slice user, bool is_fresh,
                uint64_t now_ms)
{
    return facts_wait_ask(admission_facts(o->admission), asker, user, is_fresh, now_ms);
}

static int best_first(const void *a, const void *b)
{
    const struct operate_choice *one = a, *other = b;

    return one->score > other->score ? -1 : one->score < other->score;
}

static int fill_hash(const struct operate *o, uint16_t pool, struct slice user,
                     struct operate_route *route, struct err *err)
{
    const struct backends *b = o->backends;
    size_t n = o->conf->pools[pool].backends_n;
    struct hash128 hash = hash_stable(user);

    route->hash = calloc(n + 1, sizeof *route->hash);
    if (!route->hash)
        return err_set(err, ENOMEM, "no memory for a list of the backends");
    route->hash_n = n;
    for (size_t i = 0; i < n; i++) {
        uint32_t backend = b->first[pool] + (uint32_t)i;
        const struct rendezvous_node *node = &b->nodes[backend];

        route->hash[i] = (struct operate_choice){
            .backend = backend,
            .score = rendezvous_score(node, hash) / HEALTH_SHARE_WHOLE,
            .may_serve = node->weight > 0 && b->all[backend].state == BACKEND_UP &&
                         backends_serves(b, backend)};
    }
    qsort(route->hash, n, sizeof *route->hash, best_first);
    return 0;
}

int operate_route(const struct operate *o, uint16_t pool, struct slice user, uint32_t told,
                  uint64_t now_ms, struct operate_route *out_route, struct err *err)
{
    const struct order *order;
    const struct user *known;
    struct operate_route route = {.pool = pool};
    struct route_view view;

    if (!user_is_name(user))
        return err_set(err, 0, "that is not a user's name");
    if (fill_hash(o, pool, user, &route, err) < 0)
        return -1;
    route_explain(admission_route(o->admission), pool, user, told, now_ms, &view);
    order = registry_order(o->registry, user);
    known = registry_user(o->registry, pool, user);
    route.pin = view.pin;
    route.placed = view.placed;
    route.live = view.live;
    route.affinity = view.affinity;
    route.chosen = view.chosen;
    memcpy(route.why, view.why, sizeof route.why);
    route.is_held = order && order->is_held;
    route.is_moving = known && known->is_moving;
    *out_route = route;
    return 0;
}

_Static_assert(sizeof((struct operate_route *)0)->why == ROUTE_WHY, "route's words");

/* --- moves --------------------------------------------------------------------------------- */

typedef int each_move(void *arg, const struct operate_move *move);

static int tell_moves(const struct list *moves, each_move *each, void *arg)
{
    list_for_each (it, moves) {
        const struct move *m = CONTAINER(it, const struct move, node);
        const struct operate_move move = {.user = user_name(m->user),
                                          .pool = m->user->pool,
                                          .from = m->from,
                                          .to = m->to,
                                          .sessions = m->user->sessions_n,
                                          .since_ms = m->since_ms};

        if (each(arg, &move) < 0)
            return -1;
    }
    return 0;
}

static int tell_batch(const struct batch *b, each_move *each, void *arg)
{
    for (size_t i = b->at; i < b->n; i++) {
        const struct user *u = b->users[i];
        const struct operate_move move = {.user = user_name(u),
                                          .pool = u->pool,
                                          .from = b->from,
                                          .to = b->to,
                                          .sessions = u->sessions_n};

        if (each(arg, &move) < 0)
            return -1;
    }
    return 0;
}

int operate_moves(const struct operate *o, each_move *each, void *arg)
{
    if (tell_moves(&o->moves.ready, each, arg) < 0 ||
        tell_moves(&o->moves.under_way, each, arg) < 0)
        return -1;
    list_for_each (it, &o->moves.batches) {
        const struct batch *b = CONTAINER(it, const struct batch, node);

        if (b->to != BACKEND_NONE && tell_batch(b, each, arg) < 0)
            return -1;
    }
    return 0;
}

/* --- penalties ----------------------------------------------------------------------------- */

struct penalty_who operate_who(const struct operate *o, const struct slice *user,
                               const struct in6_addr *client)
{
    struct penalty_who who = {0};

    if (user)
        who.user = *user;
    if (client)
        sources_networks(&o->registry->sources, client, &who.address, &who.site);
    return who;
}

void operate_penalties(const struct operate *o, const struct slice *user,
                       const struct in6_addr *client, uint64_t now_ms,
                       struct penalty_record *out_record)
{
    const struct penalty_who who = operate_who(o, user, client);

    *out_record = penalty_look(admission_penalty(o->admission), &who, now_ms / 1000);
}
