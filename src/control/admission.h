/* Admission: control's side of the dialogue in ipc/message.h. Who may come in, on which backend,
 * who waits and for how long.
 *
 * A login passes, in this order: the limits (control/limits.h), the guard, who may make it wait
 * (control/guard.h), a hold, max_logins, what directories know (control/facts_wait.h), the choice
 * of a backend (control/route.h), and the way in there (control/entrance.h). None of these but the
 * hold, the directories and the choice ask who the user is; so that whoever has no password learns
 * nothing about it but, by waiting, whether the name is on hold, and whether it is disabled.
 *
 * Pure: time is an argument, answers and news leave through callbacks, nothing blocks. The caller
 * feeds it each worker's messages in their order and calls admission_tick() when admission_due_ms()
 * says. All backends' addresses come from control/resolve.h by way of the table that both share.
 *
 * What it guarantees, for workers that keep to the dialogue:
 *
 * - Every OPEN, ADMIT and RESULT_FAILED gets exactly one answer, and so do RESULT_OK and the
 *   RESULT_REFUSED of a trial, unless their session or worker ends first. Any other RESULT_REFUSED
 *   gets none.
 * - No two sessions of one user in one pool are ever logged in on two backends.
 * - A session that a worker replays counts for all limits and is refused for none.
 * - No session comes to be logged in while its user is being moved.
 * - After a restart nobody is admitted before all workers have replayed their sessions, since any
 *   of these may say where a user is. Questions wait meanwhile and are answered in their order.
 * - A worker is sent to no backend that its configuration does not have as control's has it
 *   (control/names.h): REFUSE_OUTDATED.
 *
 * Sessions that workers replay may be on backends that their pool does not have any more, in pools
 * that are not there any more: they are served to their end, count, and can be found and ended as
 * all others. Where their user belongs to another backend by now (control/route.h), a login has
 * them ended, and waits for that as for a move.
 *
 * A worker may have been taken over. What it says can only concern its own sessions; what makes no
 * sense (an unknown session, another's lease, an index out of range, a message out of order)
 * changes nothing, and the function returns words that say what was wrong, for the log. The channel
 * is not closed for it: a worker that lost its control for one wrong message would refuse all its
 * clients, which is worse than whatever the message meant to do.
 */
#ifndef USHER_CONTROL_ADMISSION_H
#define USHER_CONTROL_ADMISSION_H

#include "base/slice.h"
#include "conf/conf.h"
#include "control/backends.h"
#include "control/facts_wait.h"
#include "control/names.h"
#include "control/registry.h"
#include "control/shared.h"
#include "ipc/message.h"
#include "tables/tables.h"

#include <stddef.h>
#include <stdint.h>

enum {
    /* Logins of users on hold that wait at one time; further ones are refused at once. */
    HELD_MAX = 10000,
    /* Sessions that workers may replay. The setting max_sessions goes no further. */
    REPLAY_MAX = 1000000
};

/* A login that was refused by its backend, or by the guard. */
struct auth_failed {
    struct in6_addr client; /* see control/network.h */
    struct slice user;
    uint32_t failures, user_failures; /* with this one, if its backend refused it */
};

/* Called from within the functions below; none of them may be called from there. Slices and texts
 * are valid for the call. */
struct admission_effects {
    void (*go)(void *arg, struct admission_worker *w, uint32_t id);
    /* `tail`: as in ipc/message.h. */
    void (*lease)(void *arg, struct admission_worker *w, uint32_t id, const struct msg_lease *lease,
                  struct slice tail);
    void (*done)(void *arg, struct admission_worker *w, uint32_t id);
    /* `why` is for the log; `told` for the client, empty: the worker's own words. */
    void (*refuse)(void *arg, struct admission_worker *w, uint32_t id, enum refuse code,
                   const char *why, struct slice told);
    /* A user of own storage now belongs to a backend: to be recorded. */
    void (*placed)(void *arg, struct slice user, const char *pool, const char *backend);
    /* The session is to be ended. */
    void (*kick)(void *arg, struct admission_worker *w, uint32_t id, enum kick why);
    /* A login is to go to `to`, but the sessions of its user are stranded (control/route.h): the
     * user is to be moved there. admission_move_begin() may be called from there. -1: it cannot be
     * now, and nothing has changed. */
    int (*strand)(void *arg, struct user *u, uint32_t to, uint64_t now_ms, struct err *err);
    /* A login waits because its user is on hold, or is being moved; `waiting`: how many do, this
     * one included. */
    void (*held)(void *arg, struct slice user, size_t waiting);
    /* Logins wait for a backend, which has reached a limit of its own. */
    void (*queued)(void *arg, uint32_t backend, size_t waiting, const char *limit);
    /* The health of a backend has changed from `was`, which had lasted so long. */
    void (*health)(void *arg, uint32_t backend, enum health_state was, uint64_t lasted_ms,
                   struct slice detail);
    /* It serves again after it was down, and its slow start is over. Anything may be done from
     * there. */
    void (*came_back)(void *arg, uint32_t backend, uint64_t now_ms);
    /* Lookup is to be asked about a user; the answer will name `question`. */
    void (*ask_facts)(void *arg, uint32_t question, struct slice user, bool is_fresh);
    /* What lookup keeps of a user is to be forgotten; empty: of all. */
    void (*flush_facts)(void *arg, struct slice user);
    void (*auth_failed)(void *arg, const struct auth_failed *failed);
    void (*count)(void *arg, enum metric metric);
    /* All workers have replayed; from now on questions are answered. Told once. */
    void (*recovered)(void *arg, size_t sessions, size_t users);
};

struct admission_params {
    const struct conf *conf;
    struct backends *backends;
    uint32_t epoch;
    const struct admission_effects *effects;
    void *arg;
    uint32_t descriptors; /* that a worker may have open; 0: not known */
    uint32_t ports;       /* for connections from one address to one backend; 0: not known */
    uint64_t now_ms;
};

struct admission;
struct penalty;
struct route;

/* What the params point to must outlive it. */
int admission_new(const struct admission_params *params, struct admission **out_admission,
                  struct err *err) MUST_CHECK;

/* Where things are kept from now on; NULL, as at first: nowhere, and nothing is remembered. */
void admission_share(struct admission *a, enum shared_id which, struct shared *shared);

/* All workers have been detached. Clears *a; harmless when it is NULL. */
void admission_free(struct admission **a);

/* For control/load.h, before admission_start(), and for operators. */
struct registry *admission_registry(struct admission *a);

/* --- for operators (control/operate.h) --- */

const struct route *admission_route(const struct admission *a);
const struct penalty *admission_penalty(const struct admission *a);

struct admission_counts {
    size_t held, delayed, queued; /* logins that wait */
    uint32_t epoch;
    bool is_recovered; /* else the replays of workers are waited for */
};

void admission_count(const struct admission *a, struct admission_counts *out_counts);

/* Ends a user's hold: who waited is served, in order, unless the user is being moved. */
void admission_release(struct admission *a, struct slice user, uint64_t now_ms);

/* Tells the worker to end the session. False: it has been told before. */
bool admission_kick(struct admission *a, struct session *s, enum kick why);

/* From now on logins of this user wait, as on hold, those for whom no backend is tried yet
 * included; no session of the user becomes logged in, whatever its backend says, and any that a
 * worker replays is kicked, but for one that is where the user is moved to. The caller keeps the
 * user (registry_keep()). Not before the replays are in. */
void admission_move_begin(struct admission *a, struct user *u, uint64_t now_ms);

/* The same for a move that another control had begun: before admission_start(), so that its user is
 * held from the first. */
void admission_move_resume(struct admission *a, struct user *u);

/* It is over: who waited is served, in order, unless the user is on hold. */
void admission_move_end(struct admission *a, struct user *u, uint64_t now_ms);

/* --- workers --- */

/* The first `peers` workers attached will replay. Told once, after loading, before any worker. */
void admission_start(struct admission *a, size_t peers, uint64_t now_ms);

/* `w->instance`, `facts` and `names` are set. */
void admission_attach(struct admission *a, struct admission_worker *w);

/* The worker lives and has come by another channel, by which it replays if it has not done so yet:
 * before it is detached here, and then attached there as the next. */
void admission_rejoined(struct admission *a, const struct admission_worker *w);

/* The worker has gone: so have all its sessions. */
void admission_detach(struct admission *a, struct admission_worker *w, uint64_t now_ms);

/* Messages of a worker, by their names. NULL, or what is wrong with it. What indices stand for
 * comes beside the message, and these are not looked at; of OPEN that is the pool of its listener.
 */
const char *admission_open(struct admission *a, struct admission_worker *w, uint32_t id,
                           uint16_t door, const struct msg_open *m);
const char *admission_admit(struct admission *a, struct admission_worker *w, uint32_t id,
                            const struct msg_admit *m, struct slice user, uint64_t now_ms);
const char *admission_result(struct admission *a, struct admission_worker *w, uint32_t id,
                             const struct msg_result *m, uint64_t now_ms);
/* Not to know the session is nothing wrong: its OPEN may have been refused. */
void admission_end(struct admission *a, struct admission_worker *w, uint32_t id,
                   const struct msg_end *m, uint64_t now_ms);
const char *admission_replay(struct admission *a, struct admission_worker *w, uint32_t id,
                             const struct whereabouts *at, const struct msg_replay *m,
                             struct slice user, uint64_t now_ms);
const char *admission_replayed(struct admission *a, struct admission_worker *w, uint64_t now_ms);

/* --- time and news --- */

/* The backend has got addresses. */
void admission_addresses(struct admission *a, uint32_t backend, uint64_t now_ms);

/* A probe of the backend has ended, with what went wrong. */
void admission_probed(struct admission *a, uint32_t backend, bool is_ok, struct slice detail,
                      uint64_t now_ms);

/* Questions about users, for what comes from lookup and for operators. */
struct facts_wait *admission_facts(struct admission *a);
void admission_answered(struct admission *a, uint32_t question, const struct facts_answer *answer,
                        uint64_t now_ms);

/* What directories have answered, and lookup keeps, is forgotten: of a user, or if that is empty
 * of all. */
void admission_flush_facts(struct admission *a, struct slice user);

/* Whom limits, directories and the log know by this name: directory/username.h. False: it is none.
 */
bool admission_username(const struct admission *a, struct slice name, char out[IPC_USER_MAX],
                        struct slice *out_name);

/* When admission_tick() should be called; 0: not before something else happens. */
uint64_t admission_due_ms(const struct admission *a);

/* Gives up on who has waited long enough. */
void admission_tick(struct admission *a, uint64_t now_ms);

/* For the log and for tests. */
size_t admission_sessions(const struct admission *a);
size_t admission_users(const struct admission *a);

#endif
