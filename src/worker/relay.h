/* The relay: bytes from one stream to the other and back, unchanged, with back-pressure.
 *
 * Each direction reads into the worker's one scratch buffer and writes from there at once; only
 * what the receiver does not take is kept, in memory of just that size, and then that direction
 * reads no more until it is gone. So an idle session holds no buffer, and a client that does not
 * read stops its backend, not us.
 *
 *      from --read--> scratch --write--> to
 *                        '--> held (only while `to` is full)
 *
 * An end of one side is passed on when all before it has been written; the other direction goes on.
 */
#ifndef USHER_WORKER_RELAY_H
#define USHER_WORKER_RELAY_H

#include "base/err.h"
#include "base/slice.h"
#include "imap/follow.h"
#include "net/stream.h"

#include <stdbool.h>
#include <stdint.h>

enum { RELAY_SCRATCH = 16 * 1024 };

/* One direction. Zero-initialised by its owner. */
struct relay {
    struct relay_held *held; /* what waits to be written; NULL: nothing */
    uint64_t bytes;          /* written so far, our own not counted */
    uint32_t own;            /* bytes of ours at the front of what is held: not the sender's */
    bool has_eof;            /* `from` has finished sending */
    bool is_finished;        /* and so have we, towards `to` */
    bool is_cut_short; /* the last pump stopped with bytes inside `from` for which no event comes:
                          pump again */
};

enum relay_outcome {
    RELAY_GOES_ON,
    RELAY_FROM_BROKEN, /* stream_error(from) */
    RELAY_TO_BROKEN,   /* stream_error(to) */
    RELAY_STOPPED,     /* what was read may not be passed on: see follow_client() */
    RELAY_NO_MEMORY
};

/* Puts bytes of ours, then of the sender, in front of what will be read; only before the first
 * relay_pump(). */
int relay_preload(struct relay *r, struct slice own, struct slice senders) MUST_CHECK;

/* Moves what can be moved now, but not for ever: other sessions wait too. `scratch` has
 * RELAY_SCRATCH bytes and keeps nothing between calls. `reads` follows what is read before it is
 * written, `writes` what has been written; each may be NULL. */
enum relay_outcome relay_pump(struct relay *r, struct stream *from, struct stream *to,
                              char *scratch, struct follow *reads, struct follow *writes);

/* What the direction waits for at `from` (LOOP_READ or 0) and at `to` (LOOP_WRITE or 0). */
unsigned relay_wants_from(const struct relay *r);
unsigned relay_wants_to(const struct relay *r);

/* Drops what is held. */
void relay_done(struct relay *r);

#endif
