/* A worker whose generation is over (RETIRE): it takes who waits in its sockets' queues, closes
 * them, and serves its sessions, with the configuration that they began with, until the last has
 * ended. Those that have not logged in yet do so as ever. Private to worker/.
 *
 * Behind a limit of time sessions are kicked, some every moment: so their clients do not all come
 * again at once.
 */
#ifndef USHER_WORKER_RETIRE_H
#define USHER_WORKER_RETIRE_H

#include "ipc/message.h"

struct worker;

void retire_init(struct worker *w);

/* RETIRE came; another one changes nothing. The worker ends by itself from now on, maybe at once:
 * child_stopped(). */
void retire_begin(struct worker *w, const struct msg_retire *m);

/* Takes some of those that wait in the queues; when nobody does any more the worker is retired, and
 * says so in the log. */
void retire_go_on(struct worker *w);

/* STOP came, or the process ends. Harmless twice. */
void retire_end(struct worker *w);

#endif
