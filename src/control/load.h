/* What the state file says, taken over into the registry and the table of backends when control
 * starts. Rows that say nothing are passed over: no name or too long a name, a pool that is not
 * configured or has shared storage, a state of a backend that is not configured. A placement or pin
 * to a title that is not configured counts: its user is somewhere, and not here. */
#ifndef USHER_CONTROL_LOAD_H
#define USHER_CONTROL_LOAD_H

#include "control/backends.h"
#include "control/registry.h"
#include "control/state.h"

struct load {
    struct registry *registry;
    struct backends *backends;
};

/* For state_load(), with a struct load as `arg`. They fail only when memory is out. */
extern const struct state_rows load_rows;

#endif
