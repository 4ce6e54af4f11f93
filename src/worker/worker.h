/* The worker process: accepts clients and serves their sessions. It routes nothing: control does.
 */
#ifndef USHER_WORKER_WORKER_H
#define USHER_WORKER_WORKER_H

#include "base/list.h"
#include "base/map.h"
#include "conf/conf.h"
#include "ipc/channel.h"
#include "metrics/counters.h"
#include "net/listen.h"
#include "net/loop.h"
#include "net/tls.h"
#include "proc/child.h"
#include "worker/login.h"
#include "worker/relay.h"

#include <stdbool.h>
#include <stdint.h>

extern const struct child_role worker_role;

struct contexts;
struct names;
struct session;

/* What all sessions of a worker share. */
struct worker {
    struct child *child;
    struct loop *loop;
    const struct conf *conf;
    struct counters *counters;
    struct list sessions; /* in the order of accept */
    struct map by_id;
    uint32_t last_id;
    struct list accepting; /* worker/accept.h: one for each listening socket */
    struct deadline accept_again;
    unsigned accepted_rest;       /* since the worker retires */
    struct deadline retire_limit; /* worker/retire.h */
    unsigned retire_share;  /* how many sessions are ended at a time; 0: the limit is to come */
    struct deadline rejoin; /* while there is no control */
    struct channel *lookup; /* of worker/verifying.h; NULL: none now */
    struct deadline rejoin_lookup;
    uint32_t last_question;   /* to lookup */
    uint64_t told_full_ms;    /* when the log last said that descriptors are out */
    struct channel *control;  /* NULL: none now */
    uint32_t control_channel; /* which one it is, counted: a session that the last one was told of
                                 is told again, even if the same control is behind both */
    struct names *names;      /* what it is told first: worker/names.h */
    struct list *replay_next; /* the next session that a new control must be told of */
    struct contexts *contexts;
    struct login_params *login_params; /* one a listener */
    struct watch again;                /* on an eventfd that is readable while again_ids has any */
    uint32_t *again_ids;
    size_t again_n, again_cap;
    uint64_t descriptors;                    /* how many we may have open */
    struct list probes;                      /* worker/probe.h */
    unsigned probes_n, probe_descriptors;    /* how many, and what they may have open */
    uint64_t login_memory, login_memory_max; /* what sessions without a login take, and may take */
    struct deadline lighten;                 /* while they take more */
    bool is_stopping, is_retired;
    char scratch[RELAY_SCRATCH];
};

/* Queues a message about session `id`; dropped when there is no control, which is told all when it
 * comes. */
void worker_tell(struct worker *w, enum msg_type type, uint32_t id, const void *body,
                 struct slice tail);

/* The session of this id; NULL: none. */
struct session *worker_find(const struct worker *w, uint32_t id);

/* Asks the parent for a new channel with this role. */
void worker_rejoin(struct worker *w, enum role role);

/* The number of the channel to control; 0: none, or it is still being told what our indices mean.
 */
uint32_t worker_control(const struct worker *w);

/* Calls session_pump() for the session in the next turn, after the others have had theirs. */
void worker_pump_again(struct worker *w, uint32_t id);

/* Whether `more` may be opened beside what sessions and probes may have open, and what is kept for
 * the parent. */
bool worker_has_descriptors(const struct worker *w, unsigned more);

/* A session without a login has come to take `delta` bytes more, or less. */
void worker_weigh(struct worker *w, int64_t delta);

/* A session is about to be freed. */
void worker_forget(struct worker *w, struct list *session);

/* Ends the process if that is all that is left to do. */
void worker_end_if_idle(struct worker *w);

#endif
