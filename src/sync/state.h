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

#endif
