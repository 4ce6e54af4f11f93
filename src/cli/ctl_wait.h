/* What usher ctl waits for beyond an answer: a move that was begun, a control that is new. */
#ifndef USHER_CLI_CTL_WAIT_H
#define USHER_CLI_CTL_WAIT_H

#include "base/err.h"
#include "cli/ctl_link.h"

#include <stdint.h>

/* Asks what changes nothing, and gathers: an answer that is small. One that is cut, as control has
 * been replaced in that moment, is asked for once more. Its "done", which the caller has, or the
 * error that was answered (code 0), or that of the connection (its code). `rows` may be NULL. */
int ctl_ask(struct ctl_link *link, const json_t *request, json_t *rows, json_t **out_done,
            struct err *err) MUST_CHECK;

/* After a reload or an upgrade: returns when the new control has heard from all workers, and so can
 * be asked for anything; or when that cannot be seen or takes very long. */
void ctl_settle(struct ctl_link *link);

/* Since which control moves are known: one that replaces another behind a crash takes up none, one
 * that comes with a reload or an upgrade takes up all. And how many were given up. */
struct ctl_before {
    json_int_t since, given_up;
};
int ctl_before(struct ctl_link *link, struct ctl_before *out_before, struct err *err) MUST_CHECK;

/* Returns when the move that `request` has begun is over, or when no move at all is left if it was
 * of many. A terminal on standard error sees how far it is. The error says so if moves
 * were given up since `before`, with a control or by it. A broken connection is made anew, and
 * what is shown goes on where it was. */
int ctl_wait(struct ctl_link *link, const json_t *request, const struct ctl_before *before,
             struct err *err) MUST_CHECK;

#endif
