/* The backends as control knows them: those of the configuration, with what operators say of them
 * and the addresses they have now; and titles that are no longer in the configuration but still
 * have users, so that nobody is sent to an empty mailbox.
 *
 * A backend is named by one number, its index over all pools in the order of the file; strangers
 * (titles that are not configured) have numbers behind. Numbers hold for the life of the process.
 */
#ifndef USHER_CONTROL_BACKENDS_H
#define USHER_CONTROL_BACKENDS_H

#include "backend/health.h"
#include "backend/rendezvous.h"
#include "base/addr.h"
#include "base/map.h"
#include "conf/conf.h"
#include "control/queue.h"
#include "ipc/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BACKEND_NONE UINT32_MAX

/* Titles that workers name: generation after generation may have had others, and who has been taken
 * over names what he likes. */
enum { BACKENDS_TITLES_MAX = 65535 };

/* As operators put them. Drain: nothing new. Down: nothing. */
enum backend_state { BACKEND_UP, BACKEND_DRAIN, BACKEND_DOWN };

struct backend {
    const struct conf_backend *conf;
    uint16_t pool, index; /* in the configuration */
    enum backend_state state;
    uint64_t meaning; /* conf_meaning() */
    struct slice host;
    uint16_t port;
    /* 0: none known yet. */
    size_t addresses_n;
    struct addr addresses[IPC_ADDRESSES_MAX];
    /* control/resolve.c's; due_ms 0: the address was given as such. */
    uint64_t due_ms;
    bool is_asked;
    bool has_failed;
    bool is_back;           /* it serves again, and starts slowly */
    struct health health;   /* changed by control/wellness.c only */
    uint32_t probe;         /* the number of the one under way; 0: none. control/probes.h's */
    uint32_t prober;        /* the worker (its instance) that was ordered it */
    uint64_t probe_late_ms; /* when it is given up */
    /* What it may take, and who waits for it: control/entrance.h's. The counts are the registry's:
     * those that are there or on their way, and of these, on their way. */
    uint32_t sessions, connecting;
    bool has_room_again; /* somebody has left */
    struct bucket logins;
    struct queue queue, trials; /* for trials, which try_rate holds up too, a line of their own */
    bool is_trials_turn;        /* of the two, when both could begin */
    struct list queueing;       /* while somebody waits: in entrance.queueing */
    uint64_t room_due_ms;       /* when somebody who waits may begin, by time alone; 0: never */
    uint64_t told_queue_ms;     /* when the log was last told that logins wait */
};

struct title {
    struct map_node node;
    uint32_t number;
    char text[];
};

struct backends {
    const struct conf *conf;
    struct backend *all;
    struct rendezvous_node *nodes; /* in the same order */
    size_t n;                      /* configured */
    uint32_t *first;               /* of each pool */
    struct bucket *tries;          /* of each pool: try_rate */
    struct map by_title;
    struct title **titles; /* by number, strangers too */
    size_t titles_n, titles_cap;
};

/* `conf` must outlive it. */
int backends_init(struct backends *b, const struct conf *conf, struct err *err) MUST_CHECK;
void backends_done(struct backends *b);

/* The number of a title; one that is not configured becomes a stranger. BACKEND_NONE when memory
 * is out. */
uint32_t backends_number(struct backends *b, struct slice title);

/* The same, but one that is not known stays so: BACKEND_NONE. */
uint32_t backends_find(const struct backends *b, struct slice title);

const char *backends_title(const struct backends *b, uint32_t number);

static inline bool backends_is_stranger(const struct backends *b, uint32_t number)
{
    return number >= b->n;
}

/* Whether the pool has this backend. A session may be on one that was taken out of the
 * configuration, or put into another pool, since it began. */
static inline bool backends_has(const struct backends *b, uint32_t number, uint16_t pool)
{
    return number < b->n && b->all[number].pool == pool;
}

/* Whether it is one of the configuration's; else it is "removed", conf->pools[conf->pools_n], which
 * stands for all pools that were taken out of it while they had sessions. */
static inline bool backends_has_pool(const struct backends *b, uint16_t pool)
{
    return pool < b->conf->pools_n;
}

/* Whether it may be used by what its probes and the logins there say; operators' states are another
 * thing. */
static inline bool backends_serves(const struct backends *b, uint32_t number)
{
    return health_serves(&b->all[number].health);
}

/* Not to be had: by an operator's order, or as its health says. */
static inline bool backends_is_down(const struct backends *b, uint32_t number)
{
    return b->all[number].state == BACKEND_DOWN || !backends_serves(b, number);
}

/* Logins that wait for it. */
static inline size_t backends_queued(const struct backend *b)
{
    return b->queue.n + b->trials.n;
}

/* What its health goes by. */
struct health_params backends_health_params(const struct backends *b, uint32_t number);

/* By indices as messages have them; BACKEND_NONE when there is no such backend. */
uint32_t backends_at(const struct backends *b, uint32_t pool, uint32_t index);

/* "up", "drain", "down". */
const char *backend_state_name(enum backend_state state);

/* Says whether it was one of these. */
bool backend_state_parse(struct slice word, enum backend_state *out_state);

#endif
