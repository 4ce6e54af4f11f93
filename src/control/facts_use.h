/* What facts about a user mean here: titles become numbers of this configuration. Pure. */
#ifndef USHER_CONTROL_FACTS_USE_H
#define USHER_CONTROL_FACTS_USE_H

#include "base/err.h"
#include "control/backends.h"
#include "directory/facts.h"

#include <stdbool.h>
#include <stdint.h>

struct facts_use {
    uint32_t backend; /* where the user is; BACKEND_NONE: the facts do not say */
    uint16_t pool;
    const char *how; /* which fact gave the pool: "pool", "tag", "backend", "host"; NULL: none */
};

/* `pool` is that of the listener, which counts where the facts name none. A pool, tag, backend or
 * host that the configuration does not have, or a backend of another pool, is an error: nobody is
 * sent to a server because a directory names it. */
int facts_use(const struct backends *b, const struct facts *facts, uint16_t pool,
              struct facts_use *out_use, struct err *err) MUST_CHECK;

#endif
