/* What is to be done: folders of both sides, their names, and making what the target lacks. */
#ifndef USHER_SYNC_PLAN_H
#define USHER_SYNC_PLAN_H

#include "base/err.h"
#include "sync/lane.h"

/* Lists both sides over the open links of the lane, and adds the folders to the report. -1: a link
 * has broken, memory is out, or the sync was given up; the plan and the report are as they were. */
int plan_make(struct lane *lane, struct plan *plan, struct err *err) MUST_CHECK;

/* Makes at the target what it lacks, as the parameters let it: folders, subscriptions, rights,
 * annotations, quota; some round trips for all folders together. What is refused is an issue, and
 * leaves the plan if it is the folder itself. -1: a link has broken; to be called again, and goes
 * on where it was. What breaks the link again when it is alone is refused. */
int plan_build(struct lane *lane, struct plan *plan, struct err *err) MUST_CHECK;

void plan_done(struct plan *plan);

#endif
