/* What lasts: placements, pins, holds and the operators' states of backends, in the SQLite file
 * usher.db of the state directory.
 *
 * Control reads everything once, when it starts. From then on it adds placements, which are queued
 * in memory and written many in one transaction, so that no login waits for a disk; and what
 * operators change, which is written at once. Other programs may read the file at any time, and
 * change it while control does not run.
 *
 * Names are bytes: whatever a user is called is stored as text of the same bytes, valid UTF-8 or
 * not.
 */
#ifndef USHER_CONTROL_STATE_H
#define USHER_CONTROL_STATE_H

#include "base/err.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    STATE_VERSION = 1,
    /* Placements that may wait to be written. */
    STATE_QUEUE_MAX = 65536
};

#define STATE_FILE "usher.db"

struct state;

/* Told of each row. Slices are valid for the call only. -1 with *err ends the loading. */
struct state_rows {
    int (*placement)(void *arg, struct slice pool, struct slice user, struct slice backend,
                     struct err *err);
    int (*pin)(void *arg, struct slice user, struct slice backend, struct err *err);
    int (*hold)(void *arg, struct slice user, struct err *err);
    int (*backend_state)(void *arg, struct slice backend, struct slice state, struct err *err);
};

/* Opens the file in `directory`, which exists; makes an empty one when it is missing. A file of a
 * newer version is an error. Another control may be at work on the file: nothing is written into
 * it, and no lock is taken that the other would wait for. */
int state_open(const char *directory, struct state **out_state, struct err *err) MUST_CHECK;

/* Once nobody else works on the file. Makes the tables that are missing; tells all rows. From then
 * on it can be written. */
int state_load(struct state *state, const struct state_rows *rows, void *arg,
               struct err *err) MUST_CHECK;

/* For others than control: reads the file in `directory`, as state_load() tells it, beside an usher
 * that may have it open, and changes nothing in it. Takes no lock that control ever waits for, and
 * leaves no file behind that control could not use; root becomes the owner of the file for that
 * time. *out_is_there: there is a file; if not, there
 * are no rows, as before the first start. */
int state_read(const char *directory, const struct state_rows *rows, void *arg, bool *out_is_there,
               struct err *err) MUST_CHECK;

/* Queues a placement. -1 when STATE_QUEUE_MAX wait already, or memory is out: it is not kept. */
int state_place(struct state *state, const char *pool, struct slice user, const char *backend,
                struct err *err) MUST_CHECK;

/* How many wait to be written. */
size_t state_waiting(const struct state *state);

/* Tells those that wait, in their order; calls nothing here. */
void state_each_waiting(const struct state *state,
                        void (*each)(void *arg, const char *pool, struct slice user,
                                     const char *backend),
                        void *arg);

/* Writes all that wait in one transaction. On -1 they all still wait. Another program that has the
 * file locked holds us up for 50 ms at most. */
int state_flush(struct state *state, struct err *err) MUST_CHECK;

enum state_what {
    STATE_PLACE,
    STATE_PIN,
    STATE_UNPIN,
    STATE_HOLD,
    STATE_RELEASE,
    STATE_BACKEND,
    STATE_WHAT_COUNT
};

/* What an operator changes. */
struct state_change {
    enum state_what what;
    struct slice user;   /* of all but BACKEND */
    const char *pool;    /* of PLACE */
    const char *backend; /* a title; of PLACE, PIN and BACKEND */
    const char *word;    /* of BACKEND: "up", "drain" or "down" */
};

/* Writes these in one transaction, behind all that waits, which is written with them. On -1 nothing
 * is. As state_flush() it may be held up for 50 ms. */
int state_write(struct state *state, const struct state_change *changes, size_t n,
                struct err *err) MUST_CHECK;

/* Drops what waits. Clears *state; harmless when it is NULL. */
void state_close(struct state **state);

/* For messages. */
const char *state_path(const struct state *state);

#endif
