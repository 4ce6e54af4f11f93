/* A control without rules, for what asks it: as many sessions as a test wants, and a note of each
 * order. It stands in for control/operate.c. */
#ifndef USHER_TESTS_UNIT_OPERATE_FAKE_H
#define USHER_TESTS_UNIT_OPERATE_FAKE_H

#include "control/operate.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct operate {
    struct backends *backends;
    uint32_t sessions; /* with ids from 1, each of a user of its own */
    uint32_t ended;    /* those with lower ids have ended since */
    struct slice name; /* of all users; empty: "user7" */
    bool fails;        /* whatever is ordered */
    char did[512];     /* orders, each with "; " behind it */
    struct facts_wait facts;
    uint32_t questions; /* to directories; answered by tell_facts() */
    bool is_asked_fresh;
    uint64_t workers_since_s; /* when the older one of two workers was started; 0: there are none */
    struct changer *changer;  /* who waits for a change; told by tell_change(), end_change() */
};

__attribute__((format(printf, 2, 3))) static inline void did(struct operate *o, const char *fmt,
                                                             ...)
{
    size_t n = strlen(o->did);
    va_list ap;

    if (n > sizeof o->did / 2)
        n = 0;
    va_start(ap, fmt);
    vsnprintf(o->did + n, sizeof o->did - n - 2, fmt, ap);
    va_end(ap);
    strcat(o->did, "; ");
}

static inline int ordered(struct operate *o, struct err *err)
{
    return o->fails ? err_set(err, EIO, "the state file cannot be written") : 0;
}

static inline const char *title_of(const struct operate *o, uint32_t backend)
{
    return backend == BACKEND_NONE ? "-" : backends_title(o->backends, backend);
}

const struct backends *operate_backends(const struct operate *o)
{
    return o->backends;
}

void operate_status(const struct operate *o, struct operate_status *out_status)
{
    *out_status = (struct operate_status){.sessions = o->sessions,
                                          .users = o->sessions,
                                          .known_users = 7,
                                          .workers = 2,
                                          .retired = 1,
                                          .moves_since = 2,
                                          .epoch = 3,
                                          .queued = 4,
                                          .is_recovered = true};
}

const char *operate_stage_name(enum stage stage)
{
    return stage == STAGE_DONE ? "logged in" : "open";
}

int operate_sessions(const struct operate *o, const struct operate_filter *filter,
                     struct operate_key **out_keys, size_t *out_n, struct err *err)
{
    struct operate_key *keys = calloc(o->sessions + 1, sizeof *keys);

    if (!keys)
        return err_set(err, ENOMEM, "out of memory");
    *out_n = 0;
    for (uint32_t i = 1; i <= o->sessions; i++) {
        if (filter->backend == BACKEND_NONE || filter->backend == i % 2)
            keys[(*out_n)++] = (struct operate_key){1, i};
    }
    *out_keys = keys;
    return 0;
}

static char fake_name[32];

static inline struct slice name_of_user(const struct operate *o, uint32_t i)
{
    if (o->name.n)
        return o->name;
    snprintf(fake_name, sizeof fake_name, "user%u", i);
    return slice_str(fake_name);
}

bool operate_session(const struct operate *o, struct operate_key key,
                     struct operate_session *out_session)
{
    const struct in6_addr client = {{{0x20, 1, 0x0d, 0xb8, [15] = 1}}};

    if (key.instance != 1 || key.id == 0 || key.id > o->sessions || key.id < o->ended)
        return false;
    *out_session = (struct operate_session){.key = key, .client = client, .stage = STAGE_OPEN};
    out_session->backend = key.id == 1 ? BACKEND_NONE : key.id % 2;
    if (key.id > 1) {
        out_session->stage = STAGE_DONE;
        out_session->user = name_of_user(o, key.id);
    }
    return true;
}

int operate_users(const struct operate *o, const struct operate_filter *filter,
                  int (*each)(void *arg, const struct operate_user *user), void *arg)
{
    (void)filter;
    for (uint32_t i = 1; i <= o->sessions; i++) {
        const struct operate_user user = {.name = name_of_user(o, i),
                                          .backend = i % 2,
                                          .placed = i % 2,
                                          .pin = BACKEND_NONE,
                                          .sessions = i};

        if (each(arg, &user) < 0)
            return -1;
    }
    return 0;
}

int operate_orders(const struct operate *o, int (*each)(void *arg, const struct operate_user *user),
                   void *arg)
{
    const struct operate_user ann = {
        .name = SLICE("ann"), .backend = 1, .placed = BACKEND_NONE, .pin = 1};
    const struct operate_user bob = {
        .name = SLICE("bob"), .backend = BACKEND_NONE, .pin = BACKEND_NONE, .is_held = true};

    (void)o;
    return each(arg, &ann) < 0 || each(arg, &bob) < 0 ? -1 : 0;
}

void operate_count(const struct operate *o, struct operate_counts *out_counts)
{
    for (size_t i = 0; i < o->backends->n; i++)
        out_counts[i] = (struct operate_counts){(uint32_t)(i + 1) * 10, (uint32_t)i + 1};
}

int operate_workers(const struct operate *o, struct operate_worker **out_workers, size_t *out_n,
                    struct err *err)
{
    static const struct operate_worker workers[2] = {
        {.generation = 1, .slot = 3, .pid = 77, .sessions = 9, .is_retired = true},
        {.generation = 2, .pid = 88, .started_s = UINT64_MAX, .version = "1.2.3"}};

    *out_n = o->workers_since_s ? 2 : 0;
    *out_workers = calloc(3, sizeof workers[0]);
    if (!*out_workers)
        return err_set(err, ENOMEM, "out of memory");
    memcpy(*out_workers, workers, sizeof workers);
    (*out_workers)[0].started_s = o->workers_since_s;
    return 0;
}

int operate_change(struct operate *o, struct changer *c, enum change_kind what, struct err *err)
{
    static struct list waiting = {&waiting, &waiting};

    if (ordered(o, err) < 0)
        return -1;
    did(o, what == CHANGE_UPGRADE ? "upgrade" : "reload");
    list_append(&waiting, &c->node);
    o->changer = c;
    return 0;
}

/* Whether somebody waits for a change. */
static inline bool is_changing(const struct operate *o)
{
    return o->changer && !list_empty(&o->changer->node);
}

static inline void tell_change(struct operate *o, const char *line)
{
    char copy[256]; /* which is gone afterwards, as a message is */

    snprintf(copy, sizeof copy, "%s", line);
    o->changer->on_line(o->changer, slice_str(copy));
    memset(copy, 'x', sizeof copy);
}

static inline void end_change(struct operate *o, enum change_status status, uint32_t generation,
                              const char *words)
{
    struct changer *c = o->changer;
    char copy[IPC_TEXT_MAX];

    snprintf(copy, sizeof copy, "%s", words);
    list_remove(&c->node);
    o->changer = NULL;
    c->on_over(c, status, generation, slice_str(copy));
    memset(copy, 'x', sizeof copy);
}

static inline void on_question(void *arg, uint32_t question, struct slice user, bool is_fresh)
{
    struct operate *o = arg;

    (void)user;
    o->questions = question;
    o->is_asked_fresh = is_fresh;
}

/* Control's own, but that nobody hears the questions. */
int operate_ask(struct operate *o, struct asker *asker, struct slice user, bool is_fresh,
                uint64_t now_ms)
{
    if (!o->facts.ask)
        facts_wait_init(&o->facts, 1000, on_question, o);
    return facts_wait_ask(&o->facts, asker, user, is_fresh, now_ms);
}

/* The answer to a question, of which the first is number 1. */
static inline void tell_facts(struct operate *o, uint32_t question, enum facts_status status,
                              const char *directory, const char *text, uint32_t age_ms)
{
    char copy[256]; /* which is gone afterwards, as a message is */
    struct facts_answer answer = {.status = status, .age_ms = age_ms};
    size_t directory_n = strlen(directory);

    snprintf(copy, sizeof copy, "%s%s", directory, text);
    answer.directory = slice_of(copy, directory_n);
    answer.text = slice_of(copy + directory_n, strlen(text));
    facts_wait_answer(&o->facts, question, &answer, 0);
    memset(copy, 'x', sizeof copy);
}

static inline void fake_done(struct operate *o)
{
    if (o->facts.ask)
        facts_wait_done(&o->facts);
}

int operate_route(const struct operate *o, uint16_t pool, struct slice user, uint32_t told,
                  uint64_t now_ms, struct operate_route *out_route, struct err *err)
{
    struct operate_choice *hash = calloc(2, sizeof *hash);

    (void)now_ms;
    (void)user;
    if (!hash)
        return err_set(err, ENOMEM, "out of memory");
    hash[0] = (struct operate_choice){o->backends->first[pool], 1.5, true};
    hash[1] = (struct operate_choice){o->backends->first[pool], INFINITY, false};
    *out_route =
        (struct operate_route){.pool = pool,
                               .pin = BACKEND_NONE,
                               .placed = BACKEND_NONE,
                               .live = BACKEND_NONE,
                               .affinity = BACKEND_NONE,
                               .chosen = told == BACKEND_NONE ? o->backends->first[pool] : told,
                               .why = "the hash's first choice",
                               .hash = hash,
                               .hash_n = 2};
    return 0;
}

int operate_moves(const struct operate *o, int (*each)(void *arg, const struct operate_move *move),
                  void *arg)
{
    const struct operate_move ann = {
        .user = SLICE("ann"), .from = 0, .to = 1, .sessions = 2, .since_ms = 1000};
    const struct operate_move bob = {.user = SLICE("bob"), .from = BACKEND_NONE, .to = 1};

    (void)o;
    return each(arg, &ann) < 0 || each(arg, &bob) < 0 ? -1 : 0;
}

void operate_penalties(const struct operate *o, const struct slice *user,
                       const struct in6_addr *client, uint64_t now_ms,
                       struct penalty_record *out_record)
{
    (void)o;
    (void)now_ms;
    *out_record = (struct penalty_record){
        .address = client ? 4 : 0, .user = user ? 5 : 0, .pair = 6, .is_known = true};
}

int operate_backend(struct operate *o, uint32_t backend, enum backend_state state, struct err *err)
{
    if (ordered(o, err) < 0)
        return -1;
    o->backends->all[backend].state = state;
    did(o, "backend %s %d", title_of(o, backend), (int)state);
    return 0;
}

int operate_pin(struct operate *o, struct slice user, uint32_t backend, struct err *err)
{
    did(o, "pin %.*s %s", SLICE_ARG(user), title_of(o, backend));
    return ordered(o, err);
}

int operate_place(struct operate *o, struct slice user, uint32_t backend, struct err *err)
{
    did(o, "place %.*s %s", SLICE_ARG(user), title_of(o, backend));
    return ordered(o, err);
}

int operate_hold(struct operate *o, struct slice user, bool is_held, uint64_t now_ms,
                 struct err *err)
{
    (void)now_ms;
    did(o, "%s %.*s", is_held ? "hold" : "release", SLICE_ARG(user));
    return ordered(o, err);
}

int operate_move(struct operate *o, struct slice user, uint32_t to, uint64_t now_ms,
                 struct err *err)
{
    (void)now_ms;
    did(o, "move %.*s %s", SLICE_ARG(user), title_of(o, to));
    return ordered(o, err);
}

int operate_move_all(struct operate *o, uint32_t from, uint32_t to, uint32_t per_second,
                     uint64_t now_ms, size_t *out_n, struct err *err)
{
    (void)now_ms;
    *out_n = 40;
    did(o, "move all %s %s %u", title_of(o, from), title_of(o, to), per_second);
    return ordered(o, err);
}

size_t operate_kick_user(struct operate *o, struct slice user)
{
    did(o, "kick %.*s", SLICE_ARG(user));
    return 3;
}

bool operate_kick_session(struct operate *o, struct operate_key key)
{
    did(o, "kick session %u.%u", key.instance, key.id);
    return key.instance == 1;
}

int operate_kick_all(struct operate *o, uint32_t backend, uint32_t per_second, uint64_t now_ms,
                     size_t *out_n, struct err *err)
{
    (void)now_ms;
    *out_n = 1;
    did(o, "kick all %s %u", title_of(o, backend), per_second);
    return ordered(o, err);
}

size_t operate_flush_user(struct operate *o, struct slice user)
{
    did(o, "flush %.*s", SLICE_ARG(user));
    return slice_eq(user, SLICE("ann"));
}

size_t operate_flush_backend(struct operate *o, uint32_t backend)
{
    did(o, "flush all %s", title_of(o, backend));
    return 2;
}

void operate_flush_facts(struct operate *o, struct slice user)
{
    did(o, "flush facts %.*s", SLICE_ARG(user));
}

void operate_clear_penalties(struct operate *o, const struct slice *user,
                             const struct in6_addr *client)
{
    did(o, "clear %s%s", user ? "user" : "", client ? "address" : "");
}

#endif
