/* The way in to a backend: what it may take, and who waits until it can. Halves of admission as
 * control/answers.h is; nobody else includes it.
 *
 * A backend has room for a login while its sessions are fewer than max_sessions and than there are
 * ports for connections to it, those on their way fewer than max_connecting, all that are on their
 * way anywhere fewer than max_logins, and login_rate has a token; for a trial its pool's try_rate
 * must have one too. The session's worker must have a descriptor to spare. Who finds no room waits
 * in the backend's queue (control/queue.h), for the pool's queue_timeout at most.
 *
 * Trials wait in a queue of their own, else strangers who are tried could keep all others out;
 * where one of each could begin they take turns. The backends of a pool take turns at its try_rate.
 */
#ifndef USHER_CONTROL_ENTRANCE_H
#define USHER_CONTROL_ENTRANCE_H

#include "control/registry.h"

#include <stdint.h>

enum {
    /* Whose worker has no descriptors is passed over; so many at one time. */
    PASSED_OVER_MAX = 64,
    /* Descriptors of a worker that are not for sessions. */
    WORKER_RESERVE = 64,
    DESCRIPTORS_AGAIN_MS = 1000,
    QUEUE_TOLD_MS = 10 * 1000
};

struct admission;

struct entrance {
    struct list queueing; /* of backend.queueing */
    struct list *lines;   /* of each pool: who waits, in the order in which they are late */
    size_t waiting_n;
    bool lacks_logins;    /* somebody waits because of max_logins */
    uint32_t descriptors; /* of a worker; 0: not known */
    uint32_t ports;       /* for connections from one address to one backend; 0: not known */
};

int entrance_init(struct entrance *e, const struct conf *conf) MUST_CHECK;
void entrance_done(struct entrance *e);

/* A session in STAGE_ASKING goes to a backend, now or when it has room. */
void entrance_go(struct admission *a, struct session *s, uint32_t backend, uint64_t now_ms);

/* A session in STAGE_QUEUED waits no more; it is in STAGE_ASKING then, and on no backend. */
void entrance_leave(struct admission *a, struct session *s);

/* Lets in whoever can be. To be called when sessions have left, or time has passed. */
void entrance_settle(struct admission *a, uint64_t now_ms);

/* The backend is not to be had any more: who waits for it goes another way, or is refused. */
void entrance_empty(struct admission *a, uint32_t backend, uint64_t now_ms);

/* Who has waited long enough is refused. */
void entrance_tick(struct admission *a, uint64_t now_ms);

/* When entrance_settle() or entrance_tick() has something to do by time alone; 0: never. */
uint64_t entrance_due_ms(const struct admission *a);

/* The most sessions that the backend can have; 0: no limit. */
uint32_t entrance_sessions_max(const struct entrance *e, const struct conf_backend *b);

#endif
