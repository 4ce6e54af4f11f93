/* What the parent leaves to the next program in its process, as JSON in memory that only the two
 * have: numbers of descriptors, children, the change under way. Version 1.
 *
 * Whoever prepares an upgrade reads it too, as a trial: so a program that would not understand it
 * says so before anything has happened. Unknown members are passed over; a member that is missing
 * or not what it should be is an error.
 */
#ifndef USHER_PARENT_HANDOVER_H
#define USHER_PARENT_HANDOVER_H

#include "base/err.h"
#include "base/slice.h"

#include <stdbool.h>

struct parent;

enum { HANDOVER_VERSION = 1, HANDOVER_OLDEST = 1 };

/* Has the pieces that JSON is made of wiped as they are freed, since the keys are among them. From
 * the first of the functions below on that is so. */
void handover_wipe_pieces(void);

/* Its descriptor; the memory has keys of TLS tickets in it. */
int handover_print(const struct parent *p, int *out_fd, struct err *err) MUST_CHECK;

/* Calls each() for every descriptor that is named in it. */
void handover_each_fd(const struct parent *p, void (*each)(int fd));

/* Fills in a parent after parent_init() that has its loop and channels. With `is_trial` it has none
 * of the descriptors and children, but is otherwise the same, and needs no loop. To be ended by
 * parent_free(), also on failure. */
int handover_read(struct parent *p, struct slice text, bool is_trial, struct err *err) MUST_CHECK;

#endif
