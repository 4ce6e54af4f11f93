/* Datagrams to the service manager. */
#include "net/notify.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

/* All that usher ever says between two turns of a manager that is alive. */
enum { QUEUE_MOST = 4096 };

static int fill(struct notify *n, const char *socket, struct err *err)
{
    const size_t len = strlen(socket);

    if ((socket[0] != '/' && socket[0] != '@') || len < 2)
        return err_set(err, EAFNOSUPPORT,
                       "NOTIFY_SOCKET is \"%s\", which is neither a path nor @ and a name", socket);
    /* A path needs its NUL, an abstract name has none. */
    if (len >= sizeof n->at.sun_path + (socket[0] == '@'))
        return err_set(err, ENAMETOOLONG, "NOTIFY_SOCKET is too long for a socket: \"%s\"", socket);
    n->at.sun_family = AF_UNIX;
    memcpy(n->at.sun_path, socket, len);
    if (socket[0] == '@')
        n->at.sun_path[0] = '\0';
    n->at_n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (socket[0] == '/'));
    return 0;
}

int notify_open(struct notify *out_notify, const char *socket_name, struct err *err)
{
    struct notify *n = out_notify;

    *n = (struct notify){.fd = -1};
    buf_init(&n->queue, QUEUE_MOST, false);
    if (!socket_name || !socket_name[0])
        return 0;
    if (fill(n, socket_name, err) < 0)
        return -1;
    n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return n->fd < 0 ? err_sys(err, errno, "cannot make a socket for NOTIFY_SOCKET") : 0;
}

void notify_close(struct notify *n)
{
    if (n->fd >= 0)
        close(n->fd);
    n->fd = -1;
    buf_release(&n->queue);
}

/* Not connected: a manager that executes itself anew listens at the same name by another socket. */
static enum notify_result send_now(struct notify *n, const char *text, struct err *err)
{
    ssize_t done;

    do
        done = sendto(n->fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&n->at,
                      n->at_n);
    while (done < 0 && errno == EINTR);
    if (done >= 0)
        return NOTIFY_SENT;
    if (errno == EAGAIN || errno == ENOBUFS)
        return NOTIFY_WAITS;
    err_sys(err, errno, "cannot tell the service manager at NOTIFY_SOCKET");
    return NOTIFY_FAILED;
}

enum notify_result notify_flush(struct notify *n, struct err *err)
{
    while (buf_len(&n->queue) > 0) {
        const char *text = buf_slice(&n->queue).p;
        enum notify_result result = send_now(n, text, err);

        if (result == NOTIFY_WAITS)
            return result;
        buf_take(&n->queue, strlen(text) + 1);
        if (result == NOTIFY_FAILED)
            return result;
    }
    return NOTIFY_SENT;
}

enum notify_result notify_send(struct notify *n, const char *text, bool must_arrive,
                               struct err *err)
{
    enum notify_result result;

    if (n->fd < 0)
        return NOTIFY_SENT;
    result = notify_flush(n, err);
    if (result == NOTIFY_SENT)
        result = send_now(n, text, err);
    if (result != NOTIFY_WAITS || !must_arrive)
        return result == NOTIFY_WAITS ? NOTIFY_SENT : result;
    if (buf_put(&n->queue, slice_of(text, strlen(text) + 1)) == 0)
        return NOTIFY_WAITS;
    err_set(err, ENOBUFS, "the service manager does not read what it is told at NOTIFY_SOCKET");
    return NOTIFY_FAILED;
}
