/* The commands of tables/commands.def: one function a row.
 *
 * A request becomes a call. call_begin() does what is asked, or says why not, or has rows to tell,
 * which call_step() then makes in pieces; so a list of a hundred thousand holds nobody up and takes
 * no more memory than its reader leaves lying. Or directories have to be asked first, or the parent
 * has to change usher itself: then the call waits (is_waiting), and is stepped when it has been
 * told. What the lines say is in
 * tables/answers.def. Rights and the log are admin/door.h's.
 */
#ifndef USHER_ADMIN_COMMANDS_H
#define USHER_ADMIN_COMMANDS_H

#include "admin/answer.h"
#include "admin/request.h"
#include "base/err.h"
#include "control/operate.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Rows made by a call_step(), at most. */
enum { CALL_ROWS = 128 };

/* How many users a second are moved or kicked when `rate` does not say it. */
enum { CALL_RATE = 20 };

struct call;

/* Rows that are still to be told. */
struct rows {
    /* Puts row number i; none when there is nothing to tell any more. NULL: no rows. */
    void (*put)(struct call *c, size_t i);
    size_t n, next;
    size_t told;
    void *items; /* what was gathered; freed with the call */
    char *names; /* of users, where items point to */
};

/* What directories have said of the user: FACTS_UNKNOWN, and of no directory, until they have, or
 * when there are none. */
struct told {
    enum facts_status status;
    struct slice directory; /* its title; empty: none answered */
    struct slice text;      /* the facts; UNAVAILABLE: words */
    uint32_t age_ms;
    char room[IPC_TEXT_MAX]; /* what they point into */
};

/* What the parent has said of a reload or an upgrade. */
struct changed {
    bool is_done; /* else it was refused */
    uint32_t generation;
    uint32_t lines_n; /* about what changes */
    uint32_t lost_n;  /* of them, that are not in the answer */
    char words[sizeof((struct err *)0)->text];
};

struct call {
    struct operate *operate;
    const struct backends *backends;
    uint64_t now_ms;
    struct request request;
    struct answer answer;
    struct rows rows;
    char said[256]; /* what a steering command did */
    bool is_usage;  /* what is wrong is wrong with the request */
    bool is_waiting;
    struct asker asker;
    struct told told;
    struct changer changer;
    struct changed changed;
    /* What is done when it has been told; -1: nothing was told on, and *err says why. */
    int (*go_on)(struct call *c, struct err *err);
    /* The caller's: it waits no more, and is to be stepped. Nothing of it may be freed from there.
     * Set before the loop turns if call_begin() has left it waiting. */
    void (*on_told)(struct call *c);
};

/* Does what the request, which the call takes over, asks for. -1: nothing was done or told, and
 * *err says why. `out` must outlive the call, which stays where it is. */
int call_begin(struct call *c, struct operate *operate, const struct request *request,
               struct buf *out, uint64_t now_ms, struct err *err) MUST_CHECK;

/* Not while it waits. Tells some more rows, or the end. Says whether there is more to tell. */
bool call_step(struct call *c, uint64_t now_ms);

/* Whether one more call_step() ends the answer that was waited for: it has been told. */
bool call_is_told(const struct call *c);

/* It may be waiting. Harmless twice. */
void call_done(struct call *c);

/* --- the functions of the rows, called by call_begin(): commands_see.c, commands_steer.c,
 * commands_user.c, commands_change.c --- */

int admin_status(struct call *c, struct err *err);
int admin_reload(struct call *c, struct err *err);
int admin_upgrade(struct call *c, struct err *err);
int admin_workers(struct call *c, struct err *err);
int admin_sessions(struct call *c, struct err *err);
int admin_session(struct call *c, struct err *err);
int admin_users(struct call *c, struct err *err);
int admin_pools(struct call *c, struct err *err);
int admin_backends(struct call *c, struct err *err);
int admin_backend_up(struct call *c, struct err *err);
int admin_backend_drain(struct call *c, struct err *err);
int admin_backend_down(struct call *c, struct err *err);
int admin_route(struct call *c, struct err *err);
int admin_pin(struct call *c, struct err *err);
int admin_unpin(struct call *c, struct err *err);
int admin_pins(struct call *c, struct err *err);
int admin_place(struct call *c, struct err *err);
int admin_hold(struct call *c, struct err *err);
int admin_release(struct call *c, struct err *err);
int admin_move(struct call *c, struct err *err);
int admin_moves(struct call *c, struct err *err);
int admin_kick(struct call *c, struct err *err);
int admin_flush(struct call *c, struct err *err);
int admin_directory_lookup(struct call *c, struct err *err);
int admin_directory_flush(struct call *c, struct err *err);
int admin_penalties(struct call *c, struct err *err);
int admin_penalties_clear(struct call *c, struct err *err);

/* --- what they share ----------------------------------------------------------------------------
 */

/* The request is wrong; returns -1. */
int call_usage(struct call *c, struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Has the directories asked about the request's user, and goes on when they have answered. */
int call_ask(struct call *c, bool is_fresh, int (*go_on)(struct call *c, struct err *err),
             struct err *err);

/* A title, or null for BACKEND_NONE. */
json_t *call_backend(const struct call *c, uint32_t backend);
json_t *call_pool(const struct call *c, unsigned pool);

/* "up", "failing", "down", "recovering"; null where nobody looks. */
json_t *call_health(const struct call *c, uint32_t backend);

/* The weight as it is now, which grows during a slow start. */
json_t *call_weight(const struct call *c, uint32_t backend);

/* The counts of all backends; NULL when memory is out. The caller frees it. */
struct operate_counts *call_counts(const struct call *c, struct err *err);

#endif
