/* Listening sockets. A listener's address becomes one socket for each worker slot, all bound to the
 * same address with SO_REUSEPORT; the kernel spreads connections over them.
 */
#ifndef USHER_NET_LISTEN_H
#define USHER_NET_LISTEN_H

#include "base/addr.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

/* "192.0.2.1:143", "[::1]:143", or "*:143" for every address (0.0.0.0 and [::], two entries; the
 * second only if the machine has IPv6). Returns how many (1 or 2), or -1. */
int listen_addresses(const char *text, struct addr out_addrs[2], struct err *err) MUST_CHECK;

/* Opens `n` (at least 1) listening sockets on `addr`, non-blocking and close-on-exec, after a trial
 * without SO_REUSEPORT that finds a port which somebody listens on, our own user with SO_REUSEPORT
 * included, whom the kernel would let us share connections with. The trial only binds: it takes no
 * connection from anybody. Port 0: the kernel's choice, the same for all; *addr is updated. IPv6
 * sockets take no IPv4. Connections of an earlier process that still linger do not matter.
 *
 * On failure nothing stays open; the error says what to do for a port that is taken or needs
 * privileges. */
int listen_open(struct addr *addr, int *out_fds, size_t n, struct err *err) MUST_CHECK;

/* The parts of it. The trial alone: */
int listen_try(const struct addr *addr, struct err *err) MUST_CHECK;

/* The sockets, without the trial, which do not listen: nobody can connect, and where others listen
 * at the same address none of those who come wait in these. Such a socket can be closed again
 * without harm; one that listens resets who waits in it. */
int listen_bind(struct addr *addr, int *out_fds, size_t n, struct err *err) MUST_CHECK;

/* And that one of them listens; harmless if it does. */
int listen_begin(int fd, const struct addr *addr, struct err *err) MUST_CHECK;

/* Makes a socket of listen_open(), bound to `addr`, listen again if it was shut down or connected:
 * a process that it was given to shares it with us, and may have been taken over. Returns 0 if it
 * listened, 1 if it did not and does now, -1 if it cannot. */
int listen_mend(int fd, const struct addr *addr, struct err *err) MUST_CHECK;

/* Accepts one connection, non-blocking and close-on-exec. Returns it, or -1 with errno; EAGAIN when
 * there is none. Connections that died in the queue are passed over. With EMFILE, ENFILE, ENOBUFS
 * or ENOMEM the connection stays in the queue, and the event with it: stop watching for a while.
 * `out_local` may be NULL, which saves a system call. */
int listen_accept(int fd, struct addr *out_peer, struct addr *out_local);

/* Whether a connection waits. Out of descriptors, listen_accept() says so (EMFILE) without looking
 * whether one does. */
bool listen_is_pending(int fd);

#endif
