/* The file system's and network's half of the sandbox (landlock(7)). */
#ifndef USHER_PROC_SANDBOX_LANDLOCK_H
#define USHER_PROC_SANDBOX_LANDLOCK_H

#include "base/err.h"
#include "conf/conf.h"
#include "ipc/message.h"

/* From now on this process opens only the files of its role, binds to no port of TCP (a worker
 * whose backends have `source`: to those that the kernel chooses), and signals nobody but itself,
 * as far as this kernel can deny it: *out_version says how far, 0 for not at all, with the reason
 * in `why`. no_new_privs must be set. -1 for faults of our own, or for a file or folder of the
 * role's that cannot be opened. */
int sandbox_landlock(enum role role, const struct conf *conf, int *out_version, struct err *why,
                     struct err *err) MUST_CHECK;

/* Whether a backend is connected to from an address of its own. */
bool sandbox_has_source(const struct conf *conf);

#endif
