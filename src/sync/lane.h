/* A thread of a sync: one link to each side, the folders that it takes from the plan, and further
 * links to the source for the one that it carries, where that pays (lane_wide.c). What
 * breaks is opened again here; what the folders need is done by folder.h. */
#ifndef USHER_SYNC_LANE_H
#define USHER_SYNC_LANE_H

#include "base/err.h"
#include "base/slice.h"
#include "imap/data.h"
#include "sync/mailboxes.h"
#include "sync/sync.h"
#include "sync/width.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct identity_reader;
struct link;
struct loop;
struct sync;

/* A folder that is to be carried. */
struct job {
    char *from, *to; /* UTF-8 */
    uint32_t folder; /* its index in the report */
    struct data_status from_status,
        to_status; /* as they were listed; to_status.told 0: see has_to */
    bool has_to;   /* the target has the folder */
    bool wants_subscription;
    char use[16];      /* the special use that a new folder is to have, or "" */
    bool lacks_use;    /* another folder of the target has it */
    bool is_refused;   /* the target does not take it */
    bool is_unchanged; /* since an earlier run; what hangs on it is let be */
    bool is_known; /* its size was told for the display, as the list of folders did not have it */
    uint32_t suspects[16]; /* messages that have broken a link twice: not tried any more */
    size_t suspects_n;
};

/* What is to be done, made by the first lane before the others begin, then taken from. */
struct plan {
    struct job *jobs;
    size_t n;
    size_t made;     /* how far plan_build() is: so many jobs, in each of its steps, are done */
    size_t at_once;  /* how many jobs it has in flight next; 0: it has not begun */
    bool has_broken; /* the link broke over the next one when that was alone in flight */
    size_t next;     /* __atomic */
};

struct lane {
    struct sync *sync;
    struct plan *plan;
    unsigned index; /* 0: the one that plans */
    pthread_t thread;
    struct loop *loop;
    struct loop *beside; /* of the target's link, in lane_both() */
    struct link *from, *to;
    struct identity_reader *reader;
    bool is_judged; /* whether COMPRESS pays is known: is_slow */
    bool is_slow;   /* the way between the servers brings little: COMPRESS, where a server has it */
    bool was_open;  /* both links were, once: what fails now may pass */

    /* for the folder that is carried */
    struct link *sources[SYNC_LANES]; /* `from`, and the further ones, which are ours */
    size_t sources_n;
    unsigned further;   /* that we have taken: sync_sources_take() */
    unsigned breaks;    /* of further ones, in this run */
    struct width width; /* how many it is worth */
    size_t wanted;
};

/* Everything of a lane but its links. -1: memory, descriptors. */
int lane_init(struct lane *lane, struct sync *sync, struct plan *plan, unsigned index,
              struct err *err) MUST_CHECK;
void lane_done(struct lane *lane);

/* Does something for both links at the same time: `work` is called for the source here, and for the
 * target in another thread, which has ended when this returns. It uses the link of its side and
 * what `arg` has for that side, and otherwise nothing but what locks (sync/state.h). 0, or -1 with
 * the words of the source's failure, if it has failed, before the target's. */
typedef int lane_side(struct lane *lane, bool is_from, void *arg, struct err *err);
int lane_both(struct lane *lane, lane_side *work, void *arg, struct err *err) MUST_CHECK;

/* Opens the links that are not open, with pauses where a server is busy or was reached before. -1:
 * it is not to be; the sync has been given up then, or is stopping, or this lane alone ends
 * (index above 0). */
int lane_connect(struct lane *lane) MUST_CHECK;

/* Closes both links, as somebody breaks off. */
void lane_disconnect(struct lane *lane);

/* Whether lane_judge() has still to learn something that may be of use: a first part of a folder is
 * carried by itself then. */
bool lane_wants_to_judge(const struct lane *lane);

/* So many bytes of mail took so long: says whether COMPRESS would pay, once there is enough to go
 * by, and begins it then. No command is out. -1: a link is broken. */
int lane_judge(struct lane *lane, uint64_t bytes, uint64_t ms, struct err *err) MUST_CHECK;

/* --- lane_wide.c: several links to the source ------------------------------------------------- */

/* Begins to carry, with `from` alone, in lane->sources. */
void lane_narrow(struct lane *lane);

/* What came in some time: whether there should be another number of links, be it more or less.
 * lane_widen() then. */
bool lane_judge_width(struct lane *lane, const struct width_pace *pace);

/* Has the number of links that was found, as far as it can be had: further ones are opened, with
 * the folder `name` (UTF-8) as `uidvalidity` has it, or closed. No command is out at any of them.
 * What has broken is closed. */
void lane_widen(struct lane *lane, struct slice name, uint32_t uidvalidity);

/* COMPRESS=DEFLATE where it is asked for, or pays. A server that has none goes without. -1: the
 * link is broken. */
int lane_compress(struct lane *lane, struct link *l, struct err *err) MUST_CHECK;

/* Takes one folder after the other until there is none. */
void lane_work(struct lane *lane);

/* Waits, but not for longer than the sync goes on. False: it is stopping. */
bool lane_pause(struct lane *lane, uint32_t ms);

#endif
