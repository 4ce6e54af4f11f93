/* What is to be done: folders of both sides, their names, and making what the target lacks. */
#ifndef USHER_SYNC_PLAN_H
#define USHER_SYNC_PLAN_H

#include "base/err.h"
#include "sync/lane.h"

/* Over the open links of the lane. What is refused is an issue. -1: a link has broken, or memory is
 * out; the plan is as it was. `is_final`: nothing will be tried again. */
int plan_make(struct lane *lane, struct plan *plan, struct err *err) MUST_CHECK;

void plan_done(struct plan *plan);

#endif
