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

/* Which control answers: one that replaces another takes up no moves. */
int ctl_epoch(struct ctl_link *link, json_int_t *out_epoch, struct err *err) MUST_CHECK;

/* Returns when the move that `request` has begun is over, or when no move at all is left if it was
 * of many. A terminal on standard error sees how far it is. The error says so if control was
 * replaced since `epoch`, and moves were given up with it. A broken connection is made anew. */
int ctl_wait(struct ctl_link *link, const json_t *request, json_int_t epoch,
             struct err *err) MUST_CHECK;

#endif
