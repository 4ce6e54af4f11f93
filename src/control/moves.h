/* Moves of users from one backend to another, and kicks of many users, at a pace. A state machine
 * over control/admission.h: time is an argument, what lasts is written by a callback.
 *
 *     waiting     in a batch, until its turn comes
 *        |  begin: logins wait (admission_move_begin()), sessions elsewhere are kicked
 *     under way   until the last session elsewhere has ended, as its worker says or by its death
 *        |
 *     ready       settle() writes where the user belongs now; when that fails it is tried again,
 *        |        MOVES_TRIES times in all, then the move is given up
 *     over        logins that waited are served
 *
 * Two sessions of the user on two backends there can never be: while the user is being moved no
 * session comes to be logged in, and the user belongs elsewhere only when none is left. A session
 * that does not end, as of a worker that hangs, holds its move up; those who wait to log in are
 * refused one by one by hold_timeout. Where a worker's channel ends it may be the channel alone:
 * what it may tell anew is waited for, for MOVES_LOST_MS.
 *
 * A user in a batch is known (registry_keep()) and costs a pointer; there are as many moves under
 * way as MOVES_MAX, further ones of a batch wait for these; so they do while settle() fails. When a
 * user's turn has come it is looked at anew: who does not belong to the backend any more, or was
 * pinned elsewhere, is left alone. While its health says that the new backend is down a batch
 * waits.
 *
 * When control is replaced on purpose its successor goes on with all of them (moves_resume(),
 * control/succession.h). A move under way has then either not been settled or is over, since a
 * callback that writes and the end that follows are one step; so it is resumed as ready, and the
 * first tick finds out which sessions elsewhere the workers have replayed and been told to end.
 * Before the replays are in nothing is due and nothing happens here: a session that is not known
 * yet might be anywhere.
 */
#ifndef USHER_CONTROL_MOVES_H
#define USHER_CONTROL_MOVES_H

#include "control/admission.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MOVES_MAX = 1000,
    MOVES_TRIES = 5,
    MOVES_RETRY_MS = 1000,
    MOVES_LOST_MS = 5000,
    BATCHES_MAX = 64
};

struct move {
    struct list node; /* in moves.under_way or ready */
    struct map_node by_user;
    struct user *user;
    uint32_t from, to; /* `from` may be BACKEND_NONE: nobody knew */
    uint64_t since_ms;
    uint64_t retry_ms; /* in ready: not before */
    unsigned tries;
    bool is_return; /* to where the hash says: nothing that lasts is written */
};

/* Users who are moved or kicked one after the other. */
struct batch {
    struct list node;  /* in moves.batches */
    uint32_t from, to; /* BACKEND_NONE as `to`: they are kicked; as `from`: it is a return */
    uint32_t per_second;
    uint64_t last_ms; /* when credit was last given */
    uint64_t credit;  /* thousandths of a user */
    size_t at, n;
    struct user **users;
    bool is_return; /* as in struct move */
};

/* Called from within the functions below; none of them may be called from there. */
struct moves_effects {
    /* No session of the user is anywhere else: it now belongs to move.to, lastingly but for a
     * return. */
    int (*settle)(void *arg, const struct move *m, uint64_t now_ms, struct err *err);
    void (*begun)(void *arg, const struct move *m);
    void (*moved)(void *arg, const struct move *m, uint64_t now_ms);
    /* One of a batch could not be moved, or a move was given up; nothing has changed. */
    void (*failed)(void *arg, const struct user *u, const struct err *why);
};

struct moves {
    struct admission *admission;
    const struct moves_effects *effects;
    void *arg;
    struct list under_way, ready, batches;
    struct map by_user;
    size_t n;             /* under way or ready */
    uint64_t given_up;    /* since control, or the first of those that have handed on, began */
    uint32_t since_epoch; /* of that control */
    size_t batches_n;
    bool is_failing; /* settle() has failed; batches wait while others try again */
};

/* `admission` and `effects` outlive it; the registry tells it, and nobody else, who has left. */
void moves_init(struct moves *m, struct admission *admission, const struct moves_effects *effects,
                void *arg);

/* Forgets all of them; who waits goes on waiting. */
void moves_done(struct moves *m);

/* The user is not being moved. If no session is elsewhere the move is over at once, and -1 means
 * that nothing has changed; otherwise it is only when there is no memory or no room. */
int moves_begin(struct moves *m, struct user *u, uint32_t from, uint32_t to, uint64_t now_ms,
                struct err *err) MUST_CHECK;

/* The user's sessions are stranded (control/route.h), and a login wants to go to `to`: as a return.
 * Never over at once. MOVES_MAX does not count, since the logins that wait for it are bounded; -1:
 * there is no memory. */
int moves_strand(struct moves *m, struct user *u, uint32_t to, uint64_t now_ms,
                 struct err *err) MUST_CHECK;

/* Takes over `users`, each once in it and kept; on -1 it does not. `to` BACKEND_NONE: kicks those
 * of their sessions that are on `from`. */
int moves_add_batch(struct moves *m, uint32_t from, uint32_t to, uint32_t per_second,
                    struct user **users, size_t n, uint64_t now_ms, struct err *err) MUST_CHECK;

/* The same from wherever they are, back to where the hash says that they belong (shared storage).
 * It ends when that cannot serve any more. */
int moves_add_return(struct moves *m, uint32_t to, uint32_t per_second, struct user **users,
                     size_t n, uint64_t now_ms, struct err *err) MUST_CHECK;

/* Before admission_start(). Goes on with a move that another control had begun; of `as` counts who
 * is moved and whence, where to, since when, and how far it has come: retry_ms, tries.
 * MOVES_MAX does not count, as it has counted when they began. -1: there is no memory, or the user
 * is being moved already. */
int moves_resume(struct moves *m, const struct move *as, struct err *err) MUST_CHECK;

/* The same for a batch, of which all counts but the node and last_ms; takes over its users as
 * moves_add_batch() does. */
int moves_resume_batch(struct moves *m, const struct batch *as, uint64_t now_ms,
                       struct err *err) MUST_CHECK;

/* Tells that what another control had begun or would have begun cannot be gone on with. */
void moves_give_up(struct moves *m, const struct user *u, const struct err *why);

/* Whether users return there. */
bool moves_are_returning(const struct moves *m, uint32_t to);

/* A batch from there; NULL: none. */
const struct batch *moves_batch(const struct moves *m, uint32_t from, bool is_kick);

/* Whether the user has sessions on a backend, or on their way there. */
bool moves_is_there(const struct user *u, uint32_t backend);

/* Whether the user is one of those whom a batch from there moves: has sessions there, or is placed
 * or pinned there; but not who is pinned elsewhere, with shared storage in whatever pool. */
bool moves_concern(const struct moves *m, const struct user *u, uint32_t from);

/* The user's move; NULL: none. */
const struct move *moves_find(const struct moves *m, const struct user *u);

/* Users in batches that are still to be moved, or kicked. */
size_t moves_waiting(const struct moves *m, bool is_kick);

/* When moves_tick() should be called; 0: not before something else happens. */
uint64_t moves_due_ms(const struct moves *m);
void moves_tick(struct moves *m, uint64_t now_ms);

#endif
