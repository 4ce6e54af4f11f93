/* The listening sockets of a worker, and room for who comes: what is done when descriptors or
 * memory are out. Private to worker/.
 *
 * A socket that is closed while connections wait in its queue resets them, unless another process
 * has it too. So a worker that retires takes those first that wait.
 */
#ifndef USHER_WORKER_ACCEPT_H
#define USHER_WORKER_ACCEPT_H

#include <stdbool.h>

struct worker;

/* Connections that a worker which retires still takes: a flood does not keep it. */
enum { ACCEPT_REST_MAX = 4096 };

void accept_init(struct worker *w);

/* Learns how many descriptors we may have, and warns when they are few. */
void accept_start(struct worker *w);

/* Takes over a listening socket; nothing is accepted yet. `listener`: index into the configuration.
 */
void accept_take(struct worker *w, int fd, unsigned listener);

/* Accepts from now on. */
void accept_begin(struct worker *w);

/* The worker retires: it takes no more but by accept_rest(). */
void accept_retire(struct worker *w);

/* Accepts some of those that wait, and closes the sockets where nobody does; after
 * ACCEPT_REST_MAX all of them. True when none is open any more; else retire_go_on() is called
 * again.
 */
bool accept_rest(struct worker *w);

/* Closes all sockets. Harmless twice. */
void accept_end(struct worker *w);

#endif
