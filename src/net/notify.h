/* Telling the service manager that has started us how we are: datagrams of lines NAME=VALUE to the
 * unix socket that the environment names, as sd_notify(3) describes. Only sockets with a path or an
 * abstract name ("@..."), which is all that reaches a process on the same machine.
 *
 * Nothing here blocks. What must arrive waits in a short queue while the manager does not read;
 * what is said again anyway is dropped then.
 */
#ifndef USHER_NET_NOTIFY_H
#define USHER_NET_NOTIFY_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

struct notify {
    int fd; /* -1: nobody wants to know */
    struct sockaddr_un at;
    socklen_t at_n;
    struct buf queue; /* messages, each with a NUL behind it */
};

enum notify_result { NOTIFY_SENT, NOTIFY_WAITS, NOTIFY_FAILED };

/* `socket`: what NOTIFY_SOCKET says; NULL or empty: nobody is to be told, and all sending succeeds.
 * *out_notify is usable after a failure too, and tells nobody. */
int notify_open(struct notify *out_notify, const char *socket, struct err *err) MUST_CHECK;

/* Drops what waits. Harmless twice. */
void notify_close(struct notify *n);

/* Sends one datagram, after those that wait. With `must_arrive` it waits if it cannot go now, and
 * NOTIFY_WAITS is returned: call notify_flush() in a moment. The error is set with NOTIFY_FAILED
 * only; what failed is gone. */
enum notify_result notify_send(struct notify *n, const char *text, bool must_arrive,
                               struct err *err) MUST_CHECK;

/* Sends what waits. */
enum notify_result notify_flush(struct notify *n, struct err *err) MUST_CHECK;

#endif
