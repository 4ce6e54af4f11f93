/* Tables of sessions, users and orders. Who may do what is left to route.c and admission.c. */
#include "control/registry.h"

#include "base/hash.h"
#include "base/num.h"

#include <stdlib.h>
#include <string.h>

void registry_init(struct registry *r)
{
    map_init(&r->users);
    map_init(&r->orders);
    hash_random(&r->salt, sizeof r->salt);
    r->sessions_n = r->users_n = 0;
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
}

/* --- sessions ------------------------------------------------------------------------------ */

void registry_attach(struct admission_worker *w)
{
    *w = (struct admission_worker){0};
    map_init(&w->sessions);
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
                          .stage = STAGE_OPENING,
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

void registry_remove(struct registry *r, struct session *s)
{
    list_remove(&s->of_user);
    list_remove(&s->waiting);
    registry_unname(r, s);
    map_remove(&s->worker->sessions, &s->node);
    INSIST(r->sessions_n > 0);
    r->sessions_n--;
    free(s);
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

static struct user *get_user(struct registry *r, uint16_t pool, struct slice name)
{
    struct user_key key = {name, pool};
    uint64_t hash = hash_key(name) + pool;
    struct map_node *node = map_find(&r->users, hash, user_is, &key);

    INSIST(name.n <= IPC_USER_MAX);
    return node ? CONTAINER(node, struct user, node) : make_user(r, &key, hash);
}

/* Nobody names this user now. */
static void forget_idle(struct registry *r, struct user *u)
{
    if (u->placed != BACKEND_NONE)
        return;
    map_remove(&r->users, &u->node);
    free(u);
}

int registry_name(struct registry *r, struct session *s, struct slice user)
{
    registry_unname(r, s);
    s->user = get_user(r, s->pool, user);
    if (!s->user)
        return -1;
    if (s->user->sessions_n++ == 0)
        r->users_n++;
    return 0;
}

void registry_unname(struct registry *r, struct session *s)
{
    struct user *u = s->user;

    if (!u)
        return;
    INSIST(list_empty(&s->of_user) && u->sessions_n > 0);
    s->user = NULL;
    if (--u->sessions_n == 0) {
        r->users_n--;
        forget_idle(r, u);
    }
}

int registry_place(struct registry *r, uint16_t pool, struct slice user, uint32_t backend)
{
    struct user *u = get_user(r, pool, user);

    if (!u)
        return -1;
    u->placed = backend;
    return 0;
}

void registry_bind(struct session *s, uint32_t backend, enum stage stage)
{
    s->backend = backend;
    s->stage = (uint8_t)stage;
    list_remove(&s->of_user);
    /* Appending behind the ring's first node's place is its front. */
    list_append(stage == STAGE_DONE ? s->user->sessions.next : &s->user->sessions, &s->of_user);
}

void registry_unbind(struct session *s, enum stage stage)
{
    list_remove(&s->of_user);
    s->backend = BACKEND_NONE;
    s->stage = (uint8_t)stage;
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
