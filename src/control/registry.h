/* Who is here: sessions, users, whence they come, and what operators ordered about users. Data
 * structures only; the rules are those of control/route.h, limits.h, guard.h and admission.h.
 *
 * A session is named by its worker and a number that the worker chose. Each worker has a table of
 * its own, so that whatever it says finds its own sessions and no other's.
 *
 * A user is a name in a pool. It is known as long as a session names it, and for ever when it has
 * a placement (pools with own storage), so there may be millions: nothing goes into struct user
 * that does not have to.
 *
 * An order (a pin, a hold) is about a name, whatever the pool.
 */
#ifndef USHER_CONTROL_REGISTRY_H
#define USHER_CONTROL_REGISTRY_H

#include "base/list.h"
#include "base/map.h"
#include "base/slice.h"
#include "control/backends.h"
#include "control/facts_wait.h"
#include "control/names.h"
#include "control/queue.h"
#include "control/sources.h"
#include "ipc/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ATTEMPTS_MAX = 3 };

enum { WORKER_VERSION = 32 };

/* What the parent says of a worker (MSG_PEER), for operators. */
struct worker_facts {
    uint32_t generation, pid, slot;
    uint64_t started_s;
    bool is_retired;
    char version[WORKER_VERSION]; /* empty: not known */
};

/* Embedded by whoever holds the channel to a worker. */
struct admission_worker {
    struct list node;  /* in registry.workers, while it is attached */
    uint32_t instance; /* of its process; set by its owner before it is attached */
    struct map sessions;
    uint32_t bound_n; /* of these, with a connection to a backend, or about to make one */
    bool is_awaited;  /* it lived before this control did; nobody is admitted before its replay */
    bool is_replayed; /* it has said REPLAYED */
    struct worker_facts facts;
    const struct names *names; /* what it has and control too; NULL: all. Set as the facts are, by
                                  its owner before it is attached */
};

enum stage {
    STAGE_OPENING,   /* its OPEN has not been answered */
    STAGE_OPEN,      /* nobody is logging in */
    STAGE_ASKING,    /* its ADMIT waits for the replays */
    STAGE_DELAYED,   /* its ADMIT waits because of failed logins before it */
    STAGE_HELD,      /* its ADMIT waits because the user is on hold */
    STAGE_LOOKING,   /* its ADMIT waits for what directories know of the user */
    STAGE_QUEUED,    /* its ADMIT, or RESULT, waits until `backend` has room */
    STAGE_RESOLVING, /* its ADMIT waits for addresses of `backend` */
    STAGE_LEASED,    /* the worker tries `backend` under `lease` */
    STAGE_DONE       /* logged in on `backend` */
};

/* A charge is a login that counts as failed until its verdict (control/penalty.h). */
enum charge { CHARGE_NONE, CHARGE_STRANGER, CHARGE_KNOWN };

/* What a login needs until it is over, one way or the other. */
struct login {
    struct session *session;
    struct asker asker;    /* while LOOKING */
    struct queued queued;  /* while QUEUED */
    uint32_t backend;      /* where a directory says that the user is; BACKEND_NONE: it does not */
    uint32_t max_sessions; /* what a directory allows; 0: it does not say */
    uint16_t pool;         /* where it began: the session's own, until a directory says another */
    uint16_t tried[ATTEMPTS_MAX]; /* backends, by attempt; of trials the last few */
    char *backend_user;           /* what the backend is told instead of the name; NULL: the name */
    bool is_known;                /* the directories have answered, or there are none */
    bool verifies;                /* the password is lookup's to verify */
    bool is_trial;                /* its last lease was one (place = try) */
    bool is_doubtful;             /* a backend that may know the user could not be asked */
};

struct session {
    struct map_node node; /* in its worker's table */
    struct list of_user;  /* from QUEUED on: in user.sessions */
    struct list waiting;  /* in one of admission's lines */
    struct admission_worker *worker;
    struct user *user;     /* from ASKING on; NULL before */
    struct login *login;   /* from ASKING to LEASED; else NULL */
    struct source *source; /* NULL: its address is exempt, or not known */
    union {
        struct lease_id lease; /* while LEASED */
        uint64_t until_ms;     /* how long it waits in a line, in any other stage but DONE */
        uint64_t noted_ms;     /* while DONE: when its user was noted to be at home there */
    };
    struct in6_addr client; /* as the last message said; see control/network.h */
    uint32_t id;
    uint32_t backend; /* from QUEUED on. LEASED or DONE, if it began before this control: maybe one
                         that its pool does not have (any more), as backends_has() says */
    uint16_t pool;
    uint8_t attempt; /* backends tried in this login, the present one included; of trials, how far
                        the order of the hash has been gone through */
    uint8_t stage;   /* enum stage */
    uint8_t result;  /* enum result, in LEASED: one that waits for the replays; RESULT_NONE */
    uint8_t charge;  /* enum charge */
    bool is_kicked;  /* its worker was told to end it */
};

enum { RESULT_NONE = 0xff };

_Static_assert(CONF_BACKENDS_MAX <= UINT16_MAX, "login.tried");

struct user {
    struct map_node node;
    /* Its sessions that are on a backend or on the way to one; those that are DONE come first. */
    struct list sessions;
    uint32_t sessions_n; /* that name it, in any stage */
    uint32_t delayed_n;  /* of these, in STAGE_DELAYED */
    uint32_t trying_n;   /* of these, charged as strangers */
    uint32_t placed;     /* number of a backend, or BACKEND_NONE */
    uint16_t pool;
    uint16_t name_n;
    uint16_t kept;  /* by so many moves and kicks: stays known for them */
    bool is_moving; /* control/moves.h */
    bool is_seen;   /* a mark for whoever passes over all users, and needs each once */
    char name[];
};

/* Budgets. A malloc takes up to 24 bytes beside what is asked for, a table 16 a node. */
enum { NODE_COST = 24 + 16 };
_Static_assert(sizeof(struct session) + NODE_COST + sizeof(struct user) + NODE_COST <= 256,
               "control's share of a logged-in session");
_Static_assert(sizeof(struct user) + NODE_COST <= 128, "a known user, beside its name");
_Static_assert(sizeof(struct source) + NODE_COST <= 128, "a client's network");

/* A user from a source: there as long as a session is both. */
struct visit {
    struct map_node node;
    const struct user *user;
    const struct source *source;
    uint32_t sessions_n;
};

struct order {
    struct map_node node;
    uint32_t pin; /* number of a backend, or BACKEND_NONE */
    bool is_held;
    uint16_t name_n;
    char name[];
};

struct registry {
    struct list workers;       /* of admission_worker */
    struct backends *backends; /* whose sessions are counted, but for strangers'; NULL: nowhere */
    struct map users;
    struct map orders;
    struct map visits;
    struct sources sources;
    uint64_t salt; /* so that a worker cannot choose ids that fill one chain */
    size_t sessions_n;
    uint32_t opening_n; /* sessions in STAGE_OPENING */
    size_t logins_n;    /* sessions in STAGE_RESOLVING or STAGE_LEASED */
    size_t users_n;     /* that sessions name */
    /* Told when a session of a user who is being moved is on its backend no more. NULL: nobody is
     * told. Nothing may be done from there but to note it. */
    void (*on_left)(void *arg, struct user *u);
    /* Whether a session of such a user, which a worker replays, may stay on its backend: the user
     * is moved there. NULL: it may not. */
    bool (*may_stay)(void *arg, const struct user *u, uint32_t backend);
    uint64_t losing_ms; /* while a worker's sessions go because its channel has ended; else 0 */
    void *left_arg;
};

int registry_init(struct registry *r, const struct conf_global *conf, struct err *err) MUST_CHECK;

/* Frees users and orders. All sessions have been removed by then. Harmless after a failed
 * registry_init(). */
void registry_done(struct registry *r);

void registry_attach(struct registry *r, struct admission_worker *w);

/* Whether the worker can be sent to a backend, and what it says of it concerns the one that control
 * has by this number: not when its configuration has it otherwise. */
bool registry_knows(const struct registry *r, const struct admission_worker *w, uint32_t backend);

/* All its sessions have been removed. */
void registry_detach(struct registry *r, struct admission_worker *w);

/* Calls each() for all sessions; it may remove the one that it is given. */
void registry_each_session(struct registry *r, void (*each)(void *arg, struct session *s),
                           void *arg);

struct session *registry_find(const struct registry *r, const struct admission_worker *w,
                              uint32_t id);

/* A session in STAGE_OPEN of a number that is free. NULL when memory is out. */
struct session *registry_add(struct registry *r, struct admission_worker *w, uint32_t id,
                             uint16_t pool);

/* Takes it out of everything and frees it. */
void registry_remove(struct registry *r, struct session *s);

/* Between STAGE_OPEN and STAGE_OPENING, in which a session does not count yet. */
void registry_set_opening(struct registry *r, struct session *s, bool is_opening);

/* Between STAGE_ASKING and STAGE_DELAYED. */
void registry_set_delayed(struct session *s, bool is_delayed);

/* The session comes from where `client` says, and no longer from elsewhere; in STAGE_OPEN or
 * ASKING. -1 when memory is out; it comes from where it came from then. */
int registry_come(struct registry *r, struct session *s, const struct in6_addr *client) MUST_CHECK;

/* The session now names this user, and no other, and has a login. -1 when memory is out; it has
 * neither then. */
int registry_name(struct registry *r, struct session *s, struct slice user) MUST_CHECK;

/* The session names no user any more. One whom nobody names and who is not placed is forgotten. */
void registry_unname(struct registry *r, struct session *s);

/* The session names the user of the same name in another pool; its charge stays. It is bound to no
 * backend. -1 when memory is out; it names the old one then. */
int registry_repool(struct registry *r, struct session *s, uint16_t pool) MUST_CHECK;

/* The login is over. Harmless when there is none. */
void registry_end_login(struct session *s);

/* How many sessions, this one included, name its user and come from its source; both are set. */
uint32_t registry_visits(const struct registry *r, const struct session *s);

/* The session's login is charged, if it has a source. It has no charge yet. */
void registry_charge(struct session *s, enum charge charge);

/* Its charge, if it has one, is over. */
void registry_uncharge(struct session *s);

/* The session is on `backend`, or on its way there (STAGE_QUEUED, RESOLVING, LEASED, DONE). */
void registry_bind(struct registry *r, struct session *s, uint32_t backend, enum stage stage);

/* It is on no backend (any more). */
void registry_unbind(struct registry *r, struct session *s, enum stage stage);

/* NULL when nothing is known of the user. */
struct user *registry_user(const struct registry *r, uint16_t pool, struct slice name);

/* The same, made when it is not known; who makes it keeps it, or it is never forgotten. NULL when
 * memory is out. */
struct user *registry_user_make(struct registry *r, uint16_t pool, struct slice name);

/* The user stays known until it is let go as often. */
void registry_keep(struct user *u);
void registry_let_go(struct registry *r, struct user *u);

/* Records where a user belongs; makes the user when it is not known. -1 when memory is out. */
int registry_place(struct registry *r, uint16_t pool, struct slice user,
                   uint32_t backend) MUST_CHECK;

/* NULL when there is none. */
struct order *registry_order(const struct registry *r, struct slice user);

/* The same, made when there is none. NULL when memory is out. */
struct order *registry_order_make(struct registry *r, struct slice user);

/* Frees one that orders nothing any more. */
void registry_order_tidy(struct registry *r, struct order *o);

/* One byte to IPC_USER_MAX, without what SASL and IMAP never let through: NUL, CR, LF. */
bool user_is_name(struct slice name);

static inline struct slice user_name(const struct user *u)
{
    return slice_of(u->name, u->name_n);
}

/* The session that says where the user is: one that is logged in, else one on its way; NULL. */
static inline struct session *user_first(const struct user *u)
{
    return list_empty(&u->sessions) ? NULL : CONTAINER(u->sessions.next, struct session, of_user);
}

#endif
