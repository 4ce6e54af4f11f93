/* usher ctl move --wait: looks until what was begun is over. */
#ifndef USHER_CLI_CTL_WAIT_H
#define USHER_CLI_CTL_WAIT_H

#include "base/err.h"
#include "cli/ctl_link.h"

#include <stdint.h>

/* Asks once and gathers: an answer that is small. Its "done", which the caller has, or the error
 * that was answered (code 0), or that of the connection (its code). `rows` may be NULL. */
int ctl_ask(struct ctl_link *link, const json_t *request, json_t *rows, json_t **out_done,
            struct err *err) MUST_CHECK;

/* Which control answers, since one that replaces another takes up no moves; and how many it has
 * given up. */
struct ctl_before {
    json_int_t epoch, given_up;
};
int ctl_before(struct ctl_link *link, struct ctl_before *out_before, struct err *err) MUST_CHECK;

/* Returns when the move that `request` has begun is over, or when no move at all is left if it was
 * of many. A terminal on standard error sees how far it is. The error says so if moves
 * were given up since `before`, with a control or by it. A broken connection is made anew. */
int ctl_wait(struct ctl_link *link, const json_t *request, const struct ctl_before *before,
             struct err *err) MUST_CHECK;

#endif
