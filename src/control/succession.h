/* What a control that is replaced on purpose (a reload, an upgrade) tells its successor, so that no
 * more is lost by it than by no change at all; and how that goes on with it. After a crash there is
 * nothing to go on with, and all begins as ARCHITECTURE.md says.
 *
 * Told, in the form of control/notes.h:
 *
 * - health: of each backend, since when, the probes and rests that count, how far its slow start
 * is. It counts for a backend that means the same in both configurations (conf_meaning()).
 * - placed: placements that the state file would not take.
 * - move: each move that is under way; batch, user: who waits for a turn, to be moved or kicked.
 * - given: how many moves were given up, and since which epoch moves have been handed on, for
 * operators.
 *
 * Users, pools and backends by their names, as the next configuration may be another one. A move to
 * a backend that is not there any more is given up, which the log tells; who was to return there is
 * left alone. Times are ages and remainders: they then hold whatever the clock of another release
 * counts from, and the moment between two controls, in which nothing happens, does not count.
 *
 * Not told, as it costs a moment to have it again: addresses of names and answers of directories
 * (asked anew), when the next probe of a backend is due, the row of failed logins behind its
 * health, the buckets of rates, who waits in a queue, a hold or a penalty's delay (workers ask
 * again, and their time begins anew), who was kicked (who has not ended is kicked again where a
 * move needs it). Sessions come from the workers, and what lasts from the state file and the shared
 * memory.
 */
#ifndef USHER_CONTROL_SUCCESSION_H
#define USHER_CONTROL_SUCCESSION_H

#include "base/buf.h"
#include "base/err.h"
#include "control/admission.h"
#include "control/backends.h"
#include "control/state.h"

#include <stddef.h>
#include <stdint.h>

struct moves;

/* What the notes are about. */
struct succession {
    const struct conf *conf;
    struct backends *backends;
    struct admission *admission;
    struct moves *moves;
    struct state *state; /* NULL: there are no placements to hand over */
};

struct succession_sum {
    size_t backends, moves, waiting; /* users */
    size_t lost;    /* lines that were passed over, or for which there was no room */
    struct err why; /* of the first of these */
};

/* Puts all notes to `out`, as far as its ceiling allows. */
void succession_write(const struct succession *s, uint64_t now_ms, struct buf *out,
                      struct succession_sum *out_sum);

/* Goes on with what they say; once, before admission_start(). Nothing in them is fatal. */
void succession_take(const struct succession *s, struct slice text, uint64_t now_ms,
                     struct succession_sum *out_sum);

/* --- as a descriptor -------------------------------------------------------------------------- */

/* Memory for notes, made before the sandbox closes. */
int succession_create(struct err *err) MUST_CHECK;

/* Writes the notes into it and seals it. -1: it holds none; told in the log, as what was lost of
 * them is. */
int succession_leave(const struct succession *s, int fd, uint64_t now_ms) MUST_CHECK;

/* Takes what another control has left there; the log is told. Closes it. */
void succession_follow(const struct succession *s, int fd, uint64_t now_ms);

#endif
