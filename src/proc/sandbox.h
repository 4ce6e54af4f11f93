/* The sandbox of a child: which system calls it may make (seccomp), which files it may open
 * (Landlock). Closed once, when everything is open that the role needs, and never opened again.
 *
 * What a role may do stands in the tables of proc/sandbox_calls.c. A call that is not there is
 * trapped: crash.h's handler names it in the log and ends the process (mode enforce), or the kernel
 * notes it in its audit log and lets it pass (mode log). Nobody may execute a program, map memory
 * executable, or trace another process.
 *
 *     worker   no files; sockets of TCP and UDP towards anybody, none that listens
 *     lookup   reads /etc (resolv.conf, hosts); UDP and TCP towards DNS servers
 *     control  reads and writes in the state directory; no sockets
 *
 * Builds with sanitizers or coverage have a wider list (proc/sandbox_wide.c), as their run time
 * opens files, maps memory and looks at its own process.
 */
#ifndef USHER_PROC_SANDBOX_H
#define USHER_PROC_SANDBOX_H

#include "base/err.h"
#include "conf/conf.h"
#include "ipc/message.h"

/* Before anything else: no_new_privs, not dumpable, no core. */
int sandbox_prepare(struct err *err) MUST_CHECK;

/* Closes it for this role. What the kernel, or a container's host, denies is logged as
 * SANDBOX_PARTIAL and left out. -1 only for faults of our own. */
int sandbox_close(enum role role, const struct conf *conf, struct err *err) MUST_CHECK;

#endif
