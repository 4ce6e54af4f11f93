/* What the indices in a worker's messages stand for. A worker may be of another generation, whose
 * configuration has other listeners, pools and backends than control's, or the same in another
 * order: it says what its indices mean (MSG_NAME), and the edge of control, which is control.c and
 * effects.c, puts control's own numbers in their place, and back. Pure.
 *
 * - A listener stands for its pool: that of control's listener of the same title; if there is none,
 *   the pool that the worker's listener has, by its title; if there is none of that either, the
 *   first pool. Somebody has come in where nothing is configured any more, and if directories do
 *   not say where the user belongs, the default does.
 * - A pool is known by its title. One that control does not have is "removed", conf->pools_n
 *   (control/backends.h).
 * - A backend is known by its title too, whatever has become of it; one that control does not have
 *   is a stranger. But the worker can be sent there only if it would do there what control's
 *   configuration says: if the meaning is the same (conf/diff.h).
 *
 * The worker may have been taken over. What an index means is said once, in order, and stays so,
 * and there are no more of them than a configuration may have. Whatever it says of meanings
 * concerns where its own sessions are sent, which is in its hands anyway. Channel after channel it
 * may have brought BACKENDS_TITLES_MAX strangers; those that others name then are one and the same
 * stranger, NAMES_FURTHER: their sessions are known all the same, and nobody is sent there.
 */
#ifndef USHER_CONTROL_NAMES_H
#define USHER_CONTROL_NAMES_H

#include "base/slice.h"
#include "conf/conf.h"
#include "control/backends.h"
#include "ipc/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of one worker, embedded by its owner. */
struct names {
    struct backends *backends;
    size_t listeners_n, pools_n, backends_n; /* that were named */
    struct {
        uint16_t pool;  /* of control's listener of this title; or NAMES_NONE */
        uint16_t named; /* the worker's own index of its pool */
    } listeners[CONF_LISTENERS_MAX];
    struct {
        uint16_t pool;     /* control's */
        uint32_t *numbers; /* control's, by the worker's index */
        size_t n, cap;
    } pools[CONF_POOLS_MAX];
    uint32_t *indices; /* by control's number: the worker's pool and index; NULL until it is used */
};

enum { NAMES_NONE = UINT16_MAX };

/* No title of a configuration. */
#define NAMES_FURTHER "(further)"

/* Where a session is, in control's numbers. */
struct whereabouts {
    uint16_t door;    /* the pool of its listener; always one that is configured */
    uint16_t pool;    /* of its user; but in REPLAY_OPEN as door */
    uint32_t backend; /* in it; BACKEND_NONE in REPLAY_OPEN */
};

/* `backends` outlives it; what is a stranger's title is added there. */
void names_init(struct names *n, struct backends *backends);
void names_done(struct names *n);

/* MSG_NAME. NULL, or what is wrong with it. */
const char *names_take(struct names *n, const struct msg_name *m, struct slice title);

/* The pool of a listener. False: the worker has not named it. */
bool names_door(const struct names *n, uint32_t listener, uint16_t *out_pool);

/* Where a session is that is told anew. NULL, or what is wrong with the message. */
const char *names_whereabouts(const struct names *n, const struct msg_replay *m,
                              struct whereabouts *out_at);

/* The worker's indices of a backend of control's. False: it does not have it, or not as it is in
 * control's configuration. */
bool names_index(const struct names *n, uint32_t backend, uint16_t *out_pool, uint16_t *out_index);

#endif
