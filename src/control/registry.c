/* Tables of sessions, users, visits and orders. Who may do what is left to route.c and admission.c.
 */
#include "control/registry.h"

#include "base/hash.h"
#include "base/num.h"

#include <stdlib.h>
#include <string.h>

int registry_init(struct registry *r, const struct conf_global *conf, struct err *err)
{
    *r = (struct registry){0};
    list_init(&r->workers);
    map_init(&r->users);
    map_init(&r->orders);
    map_init(&r->visits);
    hash_random(&r->salt, sizeof r->salt);
    return sources_init(&r->sources, conf, err);
}

static void free_user(struct map_node *node, void *arg)
{
    (void)arg;
    free(CONTAINER(node, struct user, node));
}

static void free_order(struct map_node *node, void *arg)
{
    (void)arg;
    free(CONTAINER(node, struct order, node));
}

void registry_done(struct registry *r)
{
    INSIST(r->sessions_n == 0);
    map_each(&r->users, free_user, NULL);
    map_done(&r->users);
    map_each(&r->orders, free_order, NULL);
    map_done(&r->orders);
    INSIST(r->visits.used == 0);
    map_done(&r->visits);
    sources_done(&r->sources);
}

/* --- sessions ------------------------------------------------------------------------------ */

void registry_attach(struct registry *r, struct admission_worker *w)
{
    *w = (struct admission_worker){.instance = w->instance, .facts = w->facts, .names = w->names};
    map_init(&w->sessions);
    list_append(&r->workers, &w->node);
}

void registry_detach(struct registry *r, struct admission_worker *w)
{
    (void)r;
    INSIST(w->sessions.used == 0);
    map_done(&w->sessions);
    list_remove(&w->node);
}

bool registry_knows(const struct registry *r, const struct admission_worker *w, uint32_t backend)
{
    uint16_t pool, index;

    return w->names ? names_index(w->names, backend, &pool, &index)
                    : !backends_is_stranger(r->backends, backend);
}

struct walk {
    void (*each)(void *arg, struct session *s);
    void *arg;
};

static void walk_one(struct map_node *node, void *arg)
{
    const struct walk *walk = arg;

    walk->each(walk->arg, CONTAINER(node, struct session, node));
}

void registry_each_session(struct registry *r, void (*each)(void *arg, struct session *s),
                           void *arg)
{
    struct walk walk = {each, arg};

    list_for_each (it, &r->workers)
        map_each(&CONTAINER(it, struct admission_worker, node)->sessions, walk_one, &walk);
}

static uint64_t id_hash(const struct registry *r, uint32_t id)
{
    return num_mix(num_mix(id ^ r->salt) + r->salt);
}

static bool id_is(const struct map_node *node, const void *key)
{
    return CONTAINER(node, const struct session, node)->id == *(const uint32_t *)key;
}

struct session *registry_find(const struct registry *r, const struct admission_worker *w,
                              uint32_t id)
{
    struct map_node *node = map_find(&w->sessions, id_hash(r, id), id_is, &id);

    return node ? CONTAINER(node, struct session, node) : NULL;
}

struct session *registry_add(struct registry *r, struct admission_worker *w, uint32_t id,
                             uint16_t pool)
{
    struct session *s = malloc(sizeof *s);

    if (!s)
        return NULL;
    *s = (struct session){.worker = w,
                          .id = id,
                          .pool = pool,
                          .backend = BACKEND_NONE,
                          .stage = STAGE_OPEN,
                          .result = RESULT_NONE};
    list_init(&s->of_user);
    list_init(&s->waiting);
    if (map_insert(&w->sessions, &s->node, id_hash(r, id)) < 0) {
        free(s);
        return NULL;
    }
    r->sessions_n++;
    return s;
}

static void count(uint32_t *n, bool one_more)
{
    INSIST(one_more || *n > 0);
    if (one_more)
        ++*n;
    else
        --*n;
}

static bool is_login(enum stage stage)
{
    return stage == STAGE_RESOLVING || stage == STAGE_LEASED;
}

/* NULL: nobody counts there. */
static struct backend *counted_at(const struct registry *r, uint32_t backend)
{
    return r->backends && !backends_is_stranger(r->backends, backend) ? &r->backends->all[backend]
                                                                      : NULL;
}

/* What the session takes of its backend, and of its worker's descriptors, in its stage. */
static void occupy(const struct registry *r, const struct session *s, bool begins)
{
    bool is_connecting = is_login((enum stage)s->stage);
    struct backend *b;

    if (!is_connecting && s->stage != STAGE_DONE)
        return;
    count(&s->worker->bound_n, begins);
    b = counted_at(r, s->backend);
    if (!b)
        return;
    count(&b->sessions, begins);
    if (is_connecting)
        count(&b->connecting, begins);
}

static void set_stage(struct registry *r, struct session *s, uint32_t backend, enum stage stage)
{
    bool was_login = is_login((enum stage)s->stage);
    bool leaves = was_login || s->stage == STAGE_DONE;
    struct backend *left = leaves ? counted_at(r, s->backend) : NULL;

    INSIST(!was_login || r->logins_n > 0);
    r->logins_n -= was_login;
    r->logins_n += is_login(stage);
    /* From RESOLVING to LEASED it takes the same as before. */
    if (left && !(is_login(stage) && s->backend == backend))
        left->has_room_again = true;
    occupy(r, s, false);
    s->stage = (uint8_t)stage;
    s->backend = backend;
    occupy(r, s, true);
}

/* Out of user.sessions. */
static void leave(const struct registry *r, struct session *s)
{
    if (list_empty(&s->of_user))
        return;
    list_remove(&s->of_user);
    if (s->user->is_moving && r->on_left)
        r->on_left(r->left_arg, s->user);
}

void registry_remove(struct registry *r, struct session *s)
{
    leave(r, s);
    list_remove(&s->waiting);
    registry_uncharge(s);
    if (s->stage == STAGE_OPENING)
        registry_set_opening(r, s, false);
    if (s->stage == STAGE_DELAYED)
        registry_set_delayed(s, false);
    set_stage(r, s, BACKEND_NONE, STAGE_OPEN);
    registry_unname(r, s);
    if (s->source)
        sources_leave(&r->sources, s->source);
    map_remove(&s->worker->sessions, &s->node);
    INSIST(r->sessions_n > 0);
    r->sessions_n--;
    free(s);
}

void registry_set_opening(struct registry *r, struct session *s, bool is_opening)
{
    INSIST(s->stage == (is_opening ? STAGE_OPEN : STAGE_OPENING));
    s->stage = is_opening ? STAGE_OPENING : STAGE_OPEN;
    count(&r->opening_n, is_opening);
    for (struct source *at = s->source; at; at = at->wider)
        count(&at->opening_n, is_opening);
}

void registry_set_delayed(struct session *s, bool is_delayed)
{
    INSIST(s->stage == (is_delayed ? STAGE_ASKING : STAGE_DELAYED));
    s->stage = is_delayed ? STAGE_DELAYED : STAGE_ASKING;
    count(&s->user->delayed_n, is_delayed);
    for (struct source *at = s->source; at; at = at->wider)
        count(&at->delayed_n, is_delayed);
}

/* --- visits -------------------------------------------------------------------------------- */

struct visit_key {
    const struct user *user;
    const struct source *source;
};

static uint64_t visit_hash(const struct visit_key *k)
{
    return num_mix(num_mix((uintptr_t)k->user) + (uintptr_t)k->source);
}

static bool visit_is(const struct map_node *node, const void *key)
{
    const struct visit *v = CONTAINER(node, const struct visit, node);
    const struct visit_key *k = key;

    return v->user == k->user && v->source == k->source;
}

static struct visit *find_visit(const struct registry *r, const struct visit_key *k)
{
    struct map_node *node = map_find(&r->visits, visit_hash(k), visit_is, k);

    return node ? CONTAINER(node, struct visit, node) : NULL;
}

/* Nothing to do for who has no user or no source. */
static int begin_visit(struct registry *r, const struct user *user, const struct source *source)
{
    const struct visit_key k = {user, source};
    struct visit *v;

    if (!user || !source)
        return 0;
    v = find_visit(r, &k);
    if (!v) {
        v = malloc(sizeof *v);
        if (!v)
            return -1;
        *v = (struct visit){.user = user, .source = source};
        if (map_insert(&r->visits, &v->node, visit_hash(&k)) < 0) {
            free(v);
            return -1;
        }
    }
    v->sessions_n++;
    return 0;
}

static void end_visit(struct registry *r, const struct user *user, const struct source *source)
{
    const struct visit_key k = {user, source};
    struct visit *v;

    if (!user || !source)
        return;
    v = find_visit(r, &k);
    INSIST(v && v->sessions_n > 0);
    if (--v->sessions_n > 0)
        return;
    map_remove(&r->visits, &v->node);
    free(v);
}

uint32_t registry_visits(const struct registry *r, const struct session *s)
{
    const struct visit_key k = {s->user, s->source};
    const struct visit *v = find_visit(r, &k);

    INSIST(v);
    return v->sessions_n;
}

int registry_come(struct registry *r, struct session *s, const struct in6_addr *client)
{
    struct source *source = NULL;

    INSIST((s->stage == STAGE_OPEN || s->stage == STAGE_ASKING) && s->charge == CHARGE_NONE);
    if (sources_have(&r->sources, client)) {
        source = sources_enter(&r->sources, client);
        if (!source)
            return -1;
    }
    if (begin_visit(r, s->user, source) < 0) {
        sources_leave(&r->sources, source);
        return -1;
    }
    end_visit(r, s->user, s->source);
    if (s->source)
        sources_leave(&r->sources, s->source);
    s->source = source;
    s->client = *client;
    return 0;
}

/* --- charges ------------------------------------------------------------------------------- */

static void count_charge(struct session *s, bool one_more)
{
    /* A known pair's failures are none of its name's. */
    if (s->charge == CHARGE_STRANGER)
        count(&s->user->trying_n, one_more);
    for (struct source *at = s->source; at; at = at->wider)
        count(&at->trying_n, one_more);
}

void registry_charge(struct session *s, enum charge charge)
{
    INSIST(s->charge == CHARGE_NONE && s->user);
    if (!s->source)
        return;
    s->charge = (uint8_t)charge;
    count_charge(s, true);
}

void registry_uncharge(struct session *s)
{
    if (s->charge == CHARGE_NONE)
        return;
    count_charge(s, false);
    s->charge = CHARGE_NONE;
}

/* --- users --------------------------------------------------------------------------------- */

struct user_key {
    struct slice name;
    uint16_t pool;
};

static bool user_is(const struct map_node *node, const void *key)
{
    const struct user *u = CONTAINER(node, const struct user, node);
    const struct user_key *k = key;

    return u->pool == k->pool && slice_eq(user_name(u), k->name);
}

static struct user *make_user(struct registry *r, const struct user_key *key, uint64_t hash)
{
    struct user *u = malloc(sizeof *u + key->name.n);

    if (!u)
        return NULL;
    *u = (struct user){.placed = BACKEND_NONE, .pool = key->pool, .name_n = (uint16_t)key->name.n};
    list_init(&u->sessions);
    memcpy(u->name, key->name.p, key->name.n);
    if (map_insert(&r->users, &u->node, hash) < 0) {
        free(u);
        return NULL;
    }
    return u;
}

static struct user *find_user(const struct registry *r, const struct user_key *key, uint64_t hash)
{
    struct map_node *node = map_find(&r->users, hash, user_is, key);

    INSIST(key->name.n <= IPC_USER_MAX);
    return node ? CONTAINER(node, struct user, node) : NULL;
}

static uint64_t user_hash(const struct user_key *key)
{
    return hash_key(key->name) + key->pool;
}

struct user *registry_user(const struct registry *r, uint16_t pool, struct slice name)
{
    struct user_key key = {name, pool};

    return find_user(r, &key, user_hash(&key));
}

struct user *registry_user_make(struct registry *r, uint16_t pool, struct slice name)
{
    struct user_key key = {name, pool};
    uint64_t hash = user_hash(&key);
    struct user *u = find_user(r, &key, hash);

    return u ? u : make_user(r, &key, hash);
}

/* Nobody names this user now. */
static void forget_idle(struct registry *r, struct user *u)
{
    if (u->placed != BACKEND_NONE || u->kept > 0)
        return;
    map_remove(&r->users, &u->node);
    free(u);
}

static void stop_naming(struct registry *r, struct user *u)
{
    if (--u->sessions_n == 0) {
        r->users_n--;
        forget_idle(r, u);
    }
}

static struct login *make_login(struct session *s)
{
    struct login *l = malloc(sizeof *l);

    if (!l)
        return NULL;
    *l = (struct login){.session = s, .backend = BACKEND_NONE, .pool = s->pool};
    asker_init(&l->asker);
    queued_init(&l->queued);
    return l;
}

void registry_end_login(struct session *s)
{
    struct login *l = s->login;

    if (!l)
        return;
    INSIST(!queued_waits(&l->queued));
    asker_leave(&l->asker);
    free(l->backend_user);
    free(l);
    s->login = NULL;
}

/* As registry_name(), but for the login. */
static int name_user(struct registry *r, struct session *s, struct slice user)
{
    struct user *u;

    u = registry_user_make(r, s->pool, user);
    if (!u)
        return -1;
    if (begin_visit(r, u, s->source) < 0) {
        if (u->sessions_n == 0)
            forget_idle(r, u);
        return -1;
    }
    s->user = u;
    if (u->sessions_n++ == 0)
        r->users_n++;
    return 0;
}

int registry_name(struct registry *r, struct session *s, struct slice user)
{
    registry_unname(r, s);
    s->login = make_login(s);
    if (s->login && name_user(r, s, user) == 0)
        return 0;
    registry_end_login(s);
    return -1;
}

int registry_repool(struct registry *r, struct session *s, uint16_t pool)
{
    struct user *old = s->user;
    uint16_t old_pool = s->pool;
    uint8_t charge = s->charge;
    int result;

    if (pool == old_pool)
        return 0;
    INSIST(list_empty(&s->of_user) && old);
    registry_uncharge(s);
    s->pool = pool;
    result = name_user(r, s, user_name(old));
    if (result == 0) {
        end_visit(r, old, s->source);
        stop_naming(r, old);
    } else {
        s->pool = old_pool;
    }
    if (charge != CHARGE_NONE)
        registry_charge(s, (enum charge)charge);
    return result;
}

void registry_unname(struct registry *r, struct session *s)
{
    struct user *u = s->user;

    registry_end_login(s);

    if (!u)
        return;
    INSIST(list_empty(&s->of_user) && s->charge == CHARGE_NONE && u->sessions_n > 0);
    end_visit(r, u, s->source);
    s->user = NULL;
    stop_naming(r, u);
}

void registry_keep(struct user *u)
{
    INSIST(u->kept < UINT16_MAX);
    u->kept++;
}

void registry_let_go(struct registry *r, struct user *u)
{
    INSIST(u->kept > 0);
    if (--u->kept == 0 && u->sessions_n == 0)
        forget_idle(r, u);
}

int registry_place(struct registry *r, uint16_t pool, struct slice user, uint32_t backend)
{
    struct user *u = registry_user_make(r, pool, user);

    if (!u)
        return -1;
    u->placed = backend;
    return 0;
}

/* Before which of its user's sessions one comes. One that is DONE stays the first of them: where
 * workers had lost their channels the others may be elsewhere. */
static struct list *place_of(struct user *u, enum stage stage)
{
    const struct session *first = user_first(u);

    if (stage != STAGE_DONE || !first)
        return &u->sessions;
    return first->stage == STAGE_DONE ? u->sessions.next->next : u->sessions.next;
}

void registry_bind(struct registry *r, struct session *s, uint32_t backend, enum stage stage)
{
    set_stage(r, s, backend, stage);
    list_remove(&s->of_user);
    list_append(place_of(s->user, stage), &s->of_user);
}

void registry_unbind(struct registry *r, struct session *s, enum stage stage)
{
    leave(r, s);
    set_stage(r, s, BACKEND_NONE, stage);
}

bool user_is_name(struct slice name)
{
    return name.n > 0 && name.n <= IPC_USER_MAX && !slice_has(name, '\0') &&
           !slice_has(name, '\r') && !slice_has(name, '\n');
}

/* --- orders -------------------------------------------------------------------------------- */

static bool order_is(const struct map_node *node, const void *key)
{
    const struct order *o = CONTAINER(node, const struct order, node);
    const struct slice *name = key;

    return slice_eq(slice_of(o->name, o->name_n), *name);
}

struct order *registry_order(const struct registry *r, struct slice user)
{
    struct map_node *node;

    if (r->orders.used == 0)
        return NULL;
    node = map_find(&r->orders, hash_key(user), order_is, &user);
    return node ? CONTAINER(node, struct order, node) : NULL;
}

struct order *registry_order_make(struct registry *r, struct slice user)
{
    struct order *o = registry_order(r, user);

    if (o)
        return o;
    INSIST(user.n <= IPC_USER_MAX);
    o = malloc(sizeof *o + user.n);
    if (!o)
        return NULL;
    *o = (struct order){.pin = BACKEND_NONE, .name_n = (uint16_t)user.n};
    memcpy(o->name, user.p, user.n);
    if (map_insert(&r->orders, &o->node, hash_key(user)) < 0) {
        free(o);
        return NULL;
    }
    return o;
}

void registry_order_tidy(struct registry *r, struct order *o)
{
    if (o->pin != BACKEND_NONE || o->is_held)
        return;
    map_remove(&r->orders, &o->node);
    free(o);
}
