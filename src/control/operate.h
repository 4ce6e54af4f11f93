/* What operators see of control and have it do: the functions behind the commands of
 * admin/commands.c. Not about who may: that is admin/door.h's.
 *
 * What lasts (states of backends, pins, holds, placements) is in the state file before a function
 * returns 0; if it cannot be written nothing is changed, and the error says why.
 *
 * Nothing here waits for anybody. Moves and kicks of many go on by themselves (operate_tick()),
 * paced. A control that is replaced on purpose hands them to the next one (control/succession.h); a
 * move that was under way when control died is not taken up again: its user then has the old
 * backend and, if the hold was not over, no login is lost.
 *
 * A move, by which no two sessions of its user are ever on two backends (control/moves.h):
 *
 *     1  logins of the user wait, as on hold; who waits longer than hold_timeout gets NO [INUSE]
 *     2  sessions, and logins that have a lease, are told to end (KICK); no lease becomes a session
 *     3  when the last has ended, the new backend is written: as the pin (shared storage), or as
 *        the placement (own storage), and as the pin if the user has one; affinity follows
 *     4  who waits is served
 *
 * A session that has not ended within kick_grace and a time for the worker to say so is counted as
 * living all the same: the move waits for it. A worker that hangs is ended by its own watch. When
 * the file cannot be written in step 3 it is tried again each second, and after five times the move
 * is given up, with an error in the log: the user then has the old backend.
 *
 * While control waits for the replays of workers (is_recovered) nobody is moved, and nobody is
 * kicked in numbers: what is not known yet might be anywhere.
 */
#ifndef USHER_CONTROL_OPERATE_H
#define USHER_CONTROL_OPERATE_H

#include "base/err.h"
#include "base/list.h"
#include "base/slice.h"
#include "control/admission.h"
#include "control/backends.h"
#include "control/penalty.h"
#include "control/state.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct moves;
struct operate;

struct operate_params {
    const struct conf *conf;
    struct backends *backends;
    struct admission *admission;
    struct state *state;
    /* Asks the parent for a change of usher itself (MSG_CHANGE). NULL: nobody can. */
    void (*change)(void *arg, uint32_t id, enum change_kind what);
    void *arg;
};

/* What the params point to must outlive it. */
int operate_new(const struct operate_params *params, struct operate **out_operate,
                struct err *err) MUST_CHECK;

/* Clears *o; harmless when it is NULL. */
void operate_free(struct operate **o);

/* When operate_tick() should be called; 0: not before something else happens. */
uint64_t operate_due_ms(const struct operate *o);
void operate_tick(struct operate *o, uint64_t now_ms);

/* Those of its params. */
const struct backends *operate_backends(const struct operate *o);

/* For control/succession.h. */
struct moves *operate_machine(struct operate *o);

/* --- seeing ----------------------------------------------------------------------------------- */

struct operate_status {
    size_t sessions, users; /* that have a session */
    size_t known_users;     /* with their placements */
    size_t logins, held, delayed, queued;
    size_t workers; /* that accept connections */
    size_t retired; /* workers of earlier generations, which serve their sessions to the end */
    uint32_t epoch;
    bool is_recovered;   /* else logins wait for the replays of workers */
    size_t moves, kicks; /* users that are still to be moved, kicked */
    /* Moves, of this control and of those that have handed theirs on to it; the first of them was
     * that of epoch `moves_since`. What was under way before died with its control. */
    uint64_t given_up;
    uint32_t moves_since;
};

void operate_status(const struct operate *o, struct operate_status *out_status);

/* Which sessions or users are meant; what is empty, BACKEND_NONE or -1 fits everything. The backend
 * of a user is that of the user's first session; `client` is about sessions only. */
struct operate_filter {
    struct slice user;
    uint32_t backend;
    int pool;
    const struct in6_addr *client; /* as control/network.h maps it; NULL: any */
};

/* A session, named for as long as it lives. */
struct operate_key {
    uint32_t instance, id; /* "instance.id" in the log */
};

struct operate_session {
    struct operate_key key;
    struct slice user; /* empty: nobody is logging in */
    struct in6_addr client;
    uint32_t backend; /* BACKEND_NONE: none yet */
    uint16_t pool;
    enum stage stage;
};

/* "opening", "open", "asking", "delayed", "held", "looking", "queued", "resolving", "leased",
 * "logged in". */
const char *operate_stage_name(enum stage stage);

/* Names all sessions that fit, in the order of their keys. The caller frees *out_keys, which may be
 * NULL when there are none. Takes a few milliseconds for 100,000; what follows may be done in
 * pieces. */
int operate_sessions(const struct operate *o, const struct operate_filter *filter,
                     struct operate_key **out_keys, size_t *out_n, struct err *err) MUST_CHECK;

/* What is known of one now; false: it has ended. Slices are valid until control does anything. */
bool operate_session(const struct operate *o, struct operate_key key,
                     struct operate_session *out_session);

struct operate_user {
    struct slice name;
    uint16_t pool;
    uint32_t backend;     /* where its sessions are; BACKEND_NONE: none is on one */
    uint32_t placed, pin; /* BACKEND_NONE: neither */
    uint32_t sessions;
    bool is_held, is_moving;
};

/* Calls each() for each user with sessions that fits; ends when it returns -1, and returns that.
 * each() calls nothing here. */
int operate_users(const struct operate *o, const struct operate_filter *filter,
                  int (*each)(void *arg, const struct operate_user *user), void *arg);

/* All pins and holds, likewise; `backend` is the pin, `pool` the pin's or, where there is none in
 * the configuration, 0. A pin may be to a backend that is not in the configuration any more. */
int operate_orders(const struct operate *o, int (*each)(void *arg, const struct operate_user *user),
                   void *arg);

/* Sessions and users that are on a backend, or on their way there, but not in its queue; a user
 * counts once. One pass over all sessions for all backends: `out_counts` has one for each
 * configured backend; what is on others is not in it. */
struct operate_counts {
    uint32_t sessions, users;
};
void operate_count(const struct operate *o, struct operate_counts *out_counts);

/* Has the directories asked about a user, as a login does (control/facts_wait.h): the asker is
 * told, and never from here. -1 when memory is out. */
int operate_ask(struct operate *o, struct asker *asker, struct slice user, bool is_fresh,
                uint64_t now_ms) MUST_CHECK;

/* Where a user would be sent now, and why. */
struct operate_choice {
    uint32_t backend;
    double score;   /* of the weighted hash: the highest wins */
    bool may_serve; /* has a weight and is up */
};

struct operate_route {
    uint16_t pool;
    uint32_t pin, placed, live, affinity; /* each BACKEND_NONE: none */
    uint32_t chosen;                      /* BACKEND_NONE: the login would be refused */
    char why[256];                        /* which rule decided; or why nobody serves the login */
    bool is_held, is_moving;
    struct operate_choice *hash; /* all backends of the pool, the best first; the caller frees it */
    size_t hash_n;
};

/* `told`: where a directory says that the user is; BACKEND_NONE: it does not. */
int operate_route(const struct operate *o, uint16_t pool, struct slice user, uint32_t told,
                  uint64_t now_ms, struct operate_route *out_route, struct err *err) MUST_CHECK;

struct operate_move {
    struct slice user;
    uint16_t pool;
    uint32_t from, to;
    uint32_t sessions; /* that still live */
    uint64_t since_ms; /* 0: it waits for its turn */
};

int operate_moves(const struct operate *o, int (*each)(void *arg, const struct operate_move *move),
                  void *arg);

struct operate_worker {
    uint32_t generation, slot, pid;
    uint64_t started_s; /* since 1970 */
    size_t sessions;
    bool is_retired;
    char version[WORKER_VERSION]; /* of its program; empty: not known */
};

/* All of them, by generation and then by slot. The caller frees *out_workers, which may be NULL
 * when there are none. */
int operate_workers(const struct operate *o, struct operate_worker **out_workers, size_t *out_n,
                    struct err *err) MUST_CHECK;

/* What a user or an address is charged with; NULL: not asked, and 0. Of both: also as a known pair.
 */
void operate_penalties(const struct operate *o, const struct slice *user,
                       const struct in6_addr *client, uint64_t now_ms,
                       struct penalty_record *out_record);

/* --- steering --------------------------------------------------------------------------------- */

/* Names that are none, and backends that are not in the configuration, are errors. What is so
 * already is done again. */

int operate_backend(struct operate *o, uint32_t backend, enum backend_state state,
                    struct err *err) MUST_CHECK;

/* `backend` BACKEND_NONE: unpin. A user who is being moved is an error. */
int operate_pin(struct operate *o, struct slice user, uint32_t backend, struct err *err) MUST_CHECK;

/* Own storage only. A user who is being moved is an error. */
int operate_place(struct operate *o, struct slice user, uint32_t backend,
                  struct err *err) MUST_CHECK;

int operate_hold(struct operate *o, struct slice user, bool is_held, uint64_t now_ms,
                 struct err *err) MUST_CHECK;

/* Begins the move of one user to a backend, in the backend's pool. Without sessions and logins
 * elsewhere it is over at once. Errors: who is being moved already; a backend that is down; shared
 * storage, and the user's one pin is of another pool; MOVES_MAX moves under way. */
int operate_move(struct operate *o, struct slice user, uint32_t to, uint64_t now_ms,
                 struct err *err) MUST_CHECK;

/* All known users of a backend: with sessions there, placed there, or pinned there, but for who is
 * pinned elsewhere; `per_second` begin in each second. *out_n: how many. `from` may be a title that
 * is not in the configuration any more. Users of shared storage of whom there is affinity only
 * cannot be enumerated: the affinity of `from` is forgotten, and they go where the hash says; as
 * long as `from` is up that may be there again, so it is drained first. Who has left `from` when
 * its turn comes is left alone. A second time for the same `from`, while the first lasts, is an
 * error. One pass over all known users: some ten milliseconds for a million. */
int operate_move_all(struct operate *o, uint32_t from, uint32_t to, uint32_t per_second,
                     uint64_t now_ms, size_t *out_n, struct err *err) MUST_CHECK;

/* Shared storage: the users who have sessions elsewhere in the backend's pool, and belong to it by
 * the hash, are moved there at the pool's return_rate; not who is pinned. Nothing lasting comes of
 * it. Returns how many users will be moved. One pass over all sessions. */
size_t operate_return(struct operate *o, uint32_t backend, uint64_t now_ms);

/* A login is to go to `to`, but its user's sessions are on a backend that the pool does not have
 * any more: they are ended, and the login is served when they have. Nothing lasting comes of it. */
int operate_strand(struct operate *o, struct user *u, uint32_t to, uint64_t now_ms,
                   struct err *err) MUST_CHECK;

/* Whatever stage they are in. Returns how many are told to end; each is told once. */
size_t operate_kick_user(struct operate *o, struct slice user);
/* False: there is none. */
bool operate_kick_session(struct operate *o, struct operate_key key);

/* All users with sessions on a backend, paced; *out_n: how many users. It may be a title that is
 * not in the configuration any more. */
int operate_kick_all(struct operate *o, uint32_t backend, uint32_t per_second, uint64_t now_ms,
                     size_t *out_n, struct err *err) MUST_CHECK;

/* Shared storage: forgets where a user was (all pools); where everybody of a backend was. Returns
 * how many were forgotten. */
size_t operate_flush_user(struct operate *o, struct slice user);
size_t operate_flush_backend(struct operate *o, uint32_t backend);

/* Forgets what directories have answered and lookup keeps, of a user; empty: of all. */
void operate_flush_facts(struct operate *o, struct slice user);

/* Forgets what failed logins have charged; NULL: not asked. */
void operate_clear_penalties(struct operate *o, const struct slice *user,
                             const struct in6_addr *client);

/* --- changing usher itself -------------------------------------------------------------------- */

/* Who has asked for a reload or an upgrade, and waits for what comes of it. Embedded by its owner.
 * What is told is valid for the moment. If it goes well control is stopped right behind on_over().
 */
struct changer {
    struct list node; /* in operate.changers, while it waits */
    uint32_t id;      /* of MSG_CHANGE */
    /* A line about what changes, or, before a refusal, about what is wrong. */
    void (*on_line)(struct changer *c, struct slice line);
    /* The last that is told. `generation`: that of the new processes; 0: none were needed.
     * `words`: of CHANGE_REFUSED, why. */
    void (*on_over)(struct changer *c, enum change_status status, uint32_t generation,
                    struct slice words);
};

static inline void changer_init(struct changer *c)
{
    list_init(&c->node);
}

/* Nothing more is told; the change goes on. Harmless when it does not wait. */
static inline void changer_leave(struct changer *c)
{
    list_remove(&c->node);
}

/* Asks for a change. Never tells from here. The parent makes one at a time, and refuses another.
 * The changer must leave before `o` is freed. */
int operate_change(struct operate *o, struct changer *c, enum change_kind what,
                   struct err *err) MUST_CHECK;

/* The parent has said MSG_CHANGED. Who has left is not told. */
void operate_changed(struct operate *o, uint32_t id, const struct msg_changed *m,
                     struct slice words);

#endif
