/* The addresses of the listeners with their sockets: one socket for each worker slot, or those that
 * the service manager has passed, however many. They stay open as long as the listener is there, so
 * that connections that wait in a socket's queue outlive the worker that would have taken them; and
 * there are never fewer again, since closing one resets who waits in it.
 */
#ifndef USHER_PARENT_PORTS_H
#define USHER_PARENT_PORTS_H

#include "base/addr.h"
#include "base/err.h"
#include "conf/conf.h"
#include "net/passed.h"

#include <stdbool.h>
#include <stddef.h>

struct port {
    unsigned listener;     /* index into the configuration */
    char *title, *address; /* of the listener, as the configuration has them */
    struct addr addr;
    int *fds;
    unsigned fds_n;
    bool is_passed;
};

/* Zeroed: none. */
struct ports {
    struct port *all;
    size_t n;
};

/* NULL when memory is out. `fds_n`: room for so many descriptors; there are none yet. */
struct port *ports_add(struct ports *p, const struct conf_listener *l, unsigned listener,
                       const struct addr *addr, unsigned fds_n, struct err *err);

/* A listener's words, for one that was added without. -1: no memory. */
int ports_name(struct port *port, const struct conf_listener *l) MUST_CHECK;

/* Takes those that were passed for the listeners that they fit, opens those of all others. */
int ports_open(struct ports *p, const struct conf *conf, struct passed *passed, unsigned workers_n,
               struct err *err) MUST_CHECK;

/* What another configuration needs: *out_new has all its ports, each with the sockets that have to
 * be beside those of `old`: bound, so that what may fail has not, but not listening, so that
 * ports_close() harms nobody. The descriptors of `old` are not looked at. */
int ports_plan(const struct ports *old, const struct conf *conf, unsigned workers_n,
               struct ports *out_new, struct err *err) MUST_CHECK;

/* Has all sockets that were planned listen, before those that do already come to them. -1: one of
 * them cannot; all others do. */
int ports_listen(const struct ports *p, struct err *err) MUST_CHECK;

/* To each port of `p` come the sockets that `old` has at the same address, and leave `old`. -1: no
 * memory, and nothing has changed. */
int ports_take_over(struct ports *p, struct ports *old, struct err *err) MUST_CHECK;

/* Logs each address; but for those that are in `before` (may be NULL). */
void ports_log(const struct ports *p, const struct conf *conf, const struct ports *before);

/* Whether the worker of a slot accepts from the i-th socket of a port. Each socket has a worker,
 * and each worker a socket, however many there are of either. */
bool port_is_for(const struct port *port, unsigned workers_n, unsigned slot, unsigned i);

/* Nobody can connect any more; who waits in a queue is reset, unless another process keeps the
 * socket too. Harmless twice. */
void ports_close(struct ports *p);

#endif
