/* The sandbox of a child: which system calls it may make (seccomp), which files it may open
 * (Landlock). Closed once, when everything is open that the role needs, and never opened again.
 *
 * What a role may do stands in the table of proc/sandbox_calls.c. A call that is not there is
 * trapped: crash.h's handler names it in the log and ends the process (mode enforce), or the kernel
 * notes it in its audit log and lets it pass (mode log, which is without Landlock). Nobody may
 * execute a program, map memory executable, or trace another process. Options of sockets are
 * allowed one by one.
 *
 *     worker   no files; sockets of TCP towards anybody; binds only if a backend has `source`, to
 *              ports of the kernel's choice
 *     lookup   reads below /etc, where its files of names are links to, and in the folders of the
 *              maps of directories; UDP and TCP towards anybody
 *     control  reads and writes in the state directory; no sockets but those that the unix door
 *              accepts
 *
 * None may make a socket listen, signal another process, or reach a unix socket by an address.
 * Towards whom is not limited, as a reload may bring other backends and nameservers while a filter
 * cannot be changed any more. A state directory that is removed and made anew is another one:
 * control has to be started again. The same goes for the folder of a map, and for the folder that a
 * map is a link to: lookup reads there only if they are there when it closes its sandbox.
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

/* Begins the threads of the role, and returns -1 or when all of them run. */
typedef int sandbox_threads(void *arg, struct err *err);

/* Closes it for this role, and for the threads that `threads` (may be NULL) begins: Landlock closes
 * for those alone who begin behind it, the list of calls for all that run. What the kernel, or a
 * container's host, denies is logged as SANDBOX_PARTIAL and left out. -1 only for faults of our
 * own, and when a file or folder of the role's cannot be opened. */
int sandbox_close(enum role role, const struct conf *conf, sandbox_threads *threads, void *arg,
                  struct err *err) MUST_CHECK;

#endif
