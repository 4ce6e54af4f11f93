/* What the lanes of one sync share: parameters, the journal, the report, progress, the rate limit,
 * and whether to stop. All functions lock; they may be called from any lane, and never call back.
 */
#ifndef USHER_SYNC_STATE_H
#define USHER_SYNC_STATE_H

#include "base/err.h"
#include "base/slice.h"
#include "sync/report.h"
#include "sync/sync.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct journal;
struct sync;

const struct sync_params *sync_params(const struct sync *s);
struct journal *sync_journal(const struct sync *s);

/* Whether all work is to end: a signal, too many errors, or sync_give_up(). */
bool sync_is_stopping(const struct sync *s);

/* All ends, with this exit status; the first to say so counts. */
void sync_give_up(struct sync *s, int status, const struct err *err);

/* Adds to the report, the log and the journal. `folder` is an index of the report's folders or
 * UINT32_MAX; UIDs may be 0, `subject` and the words empty. Words may hold any bytes of servers. */
void sync_issue(struct sync *s, enum sync_reason reason, uint32_t folder, uint32_t from_uid,
                uint32_t to_uid, struct slice subject, const char *fmt, ...)
    __attribute__((format(printf, 7, 8)));

/* So many more exceptions are known that are not listed yet: they count for max_errors. Whoever
 * adds them takes them away when they are listed, or come up again. */
void sync_refused(struct sync *s, int64_t change);

/* A line of the log, in words for operators. */
void sync_log(struct sync *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* `n` bytes of mail are to be carried: says how many milliseconds the caller must pause before it
 * goes on, to keep to max_rate; 0 without one. Fair enough over the lanes: whoever comes later
 * pauses longer. */
uint32_t sync_pay(struct sync *s, size_t n);

/* A server has asked for a pause, or there were errors: lanes say how long they wait, for the
 * display; 0 when it is over. */
void sync_pausing(struct sync *s, unsigned lane, uint32_t ms);

/* Changes a folder of the report: `change` is called under the lock. */
void sync_change(struct sync *s, uint32_t folder,
                 void (*change)(struct sync_folder *f, const void *arg), const void *arg);

/* --- the lanes and the display ---------------------------------------------------------------- */

/* `lane` works on a folder of `all` messages; NULL: on none. */
void sync_lane_at(struct sync *s, unsigned lane, const char *folder, uint64_t all);

/* So many of them are there, be it found or carried, or given up; `bytes` of mail with them. What a
 * lane has counted goes when it begins its folder anew (sync_lane_at). */
void sync_lane_done(struct sync *s, unsigned lane, uint64_t messages, uint64_t bytes);

/* In this run the target has taken these. */
void sync_carried(struct sync *s, uint64_t messages, uint64_t bytes);

/* Both links of a lane are open, or not any more. */
void sync_lane_open(struct sync *s, unsigned lane, bool is_open);

/* So much more is at the source. */
void sync_known(struct sync *s, uint64_t folders, uint64_t messages, uint64_t bytes);
void sync_folder_over(struct sync *s, unsigned lane);
void sync_phase(struct sync *s, enum sync_phase phase);

/* Bytes on the wire of a link that is done with. */
void sync_wire(struct sync *s, bool is_from, uint64_t bytes);

/* --- connections to the source ---------------------------------------------------------------- */

/* Each lane has one, be it open or not. A lane that wants `n` further ones takes them here before
 * it opens them, and gets as many as there are without those of the lanes to be more than
 * params->lanes; it gives them back when they are closed. */
unsigned sync_sources_take(struct sync *s, unsigned n);
void sync_sources_give(struct sync *s, unsigned n);

/* The source lets no more in: none is to be had from now on. */
void sync_source_is_full(struct sync *s);

/* --- for run.c -------------------------------------------------------------------------------- */

/* A folder of the report; both names are copied, `to` may be empty. -1: memory. */
int sync_add_folder(struct sync *s, struct slice from, struct slice to, uint32_t *out_folder,
                    struct err *err) MUST_CHECK;

/* The parameters, the journal and `stop` outlive it. The report is empty. NULL with err set. */
struct sync *sync_new(const struct sync_params *params, const struct sync_stop *stop,
                      struct journal *journal, struct err *err) MUST_CHECK;

/* Takes the report out; the state is gone then. */
struct sync_report *sync_end(struct sync **s);

/* How many lanes run; whoever starts one says so before, and it says so when it ends. */
void sync_lanes(struct sync *s, int change);

/* Waits for at most `ms` for lines or the end of all lanes, gives lines and progress to the watch.
 * False: no lane runs any more. */
bool sync_attend(struct sync *s, const struct sync_watch *watch, unsigned ms);

#endif
