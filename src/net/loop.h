/* The event loop of a process: descriptors, coarse deadlines, signals, and a hook before it sleeps.
 *
 * libev below, seen by this file alone; its watcher is embedded in ours, so that a watch costs no
 * allocation. Callbacks come from loop_run() only, never from within a call into the loop. One loop
 * a process, one thread.
 *
 * A callback may do anything to any watch or deadline: set, clear or free its own or another's.
 * What was stopped is not called any more, also when its event had come in the same turn.
 *
 * Deadlines are coarse: a wheel of LOOP_TICK_MS, since a server has tens of thousands of them and
 * almost none fires. One fires at its time or up to two ticks late, never early, and in the order
 * of their ticks. The wheel sleeps until the next slot that holds something: a loop without
 * deadlines does not wake. When the process was stopped for long, everything that came due
 * meanwhile fires, in order, at the next turn.
 */
#ifndef USHER_NET_LOOP_H
#define USHER_NET_LOOP_H

#include "base/err.h"
#include "base/list.h"

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

enum { LOOP_TICK_MS = 50 };
enum { LOOP_READ = EV_READ, LOOP_WRITE = EV_WRITE };

struct loop;

/* Embedded by its owner, who stops it (watch_set to 0) before the memory or the descriptor goes. */
struct watch {
    ev_io io;
    void (*cb)(struct watch *w, unsigned events);
};

/* Embedded by its owner, who clears it before the memory goes. */
struct deadline {
    struct list node;
    uint64_t at_ms; /* 0: not set */
    void (*cb)(struct deadline *d);
};

/* They are part of what an idle session costs. */
_Static_assert(sizeof(struct watch) <= 56, "budget of an idle session");
_Static_assert(sizeof(struct deadline) <= 32, "budget of an idle session");

/* Also makes the process ignore SIGPIPE: OpenSSL writes to sockets whose peer may be gone. */
struct loop *loop_new(struct err *err);

/* Every watch is stopped and every deadline cleared by then. Signals get their default action back.
 * Clears *loop; harmless when it is NULL. */
void loop_free(struct loop **loop);

/* Until loop_stop(), which only counts from within a callback. May be called again. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

/* Milliseconds of the monotonic clock: within loop_run() as of this turn of the loop, else of now.
 */
uint64_t loop_now_ms(const struct loop *loop);

/* Called each time before the loop sleeps, and once more before loop_run() returns, for what was
 * gathered during a turn; set once. */
void loop_on_turn(struct loop *loop, void (*cb)(void *arg), void *arg);

/* `cb` is called from the loop, not from the signal handler. Lasts until loop_free(). */
int loop_on_signal(struct loop *loop, int signal, void (*cb)(void *arg, int signal), void *arg,
                   struct err *err) MUST_CHECK;

/* Starts with no events. */
void watch_init(struct watch *w, int fd, void (*cb)(struct watch *w, unsigned events));

/* Watches for `events` (LOOP_READ | LOOP_WRITE, or 0: none) from now on. Level triggered: it calls
 * again as long as the event lasts; an error or a hang-up shows as each event that is watched for.
 *
 * Costs nothing when that is so already, and no system call by itself: changes are handed to the
 * kernel before the loop sleeps, and what was changed back by then costs none at all. */
void watch_set(struct loop *loop, struct watch *w, unsigned events);

void deadline_init(struct deadline *d, void (*cb)(struct deadline *d));

/* Moves it if it is set. Unset after it has fired: `cb` may set it anew. With 0 it fires soon, but
 * from the loop. */
void deadline_set(struct loop *loop, struct deadline *d, uint64_t in_ms);

/* Harmless when it is not set. */
void deadline_clear(struct deadline *d);

static inline bool deadline_is_set(const struct deadline *d)
{
    return d->at_ms != 0;
}

#endif
