/* usher ctl: the unix socket, and lines of JSON on it. */
#include "cli/ctl_link.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { RECEIVE_LEAST = 64 << 10 };

void ctl_link_init(struct ctl_link *link, const char *path)
{
    *link = (struct ctl_link){.path = path, .fd = -1, .silence_s = CTL_SILENCE_S};
    buf_init(&link->in, CTL_ANSWER_MAX, false);
}

void ctl_link_done(struct ctl_link *link)
{
    if (link->fd >= 0)
        close(link->fd);
    link->fd = -1;
    link->whole_n = link->line_at = 0;
    buf_release(&link->in);
}

static int failed(const char *path, int code, struct err *err)
{
    switch (code) {
    case ENOENT:
        return err_set(err, code,
                       "no usher is running: there is no socket %s; -c FILE or --socket PATH names "
                       "another",
                       path);
    case ECONNREFUSED:
        return err_set(err, code, "no usher is running: nobody listens at %s", path);
    case EACCES:
    case EPERM:
        return err_set(
            err, code,
            "%s is out of your reach: ask as root, or as the account that usher "
            "runs as; the settings admin_socket, admin_see and admin_steer let others in",
            path);
    default:
        return err_sys(err, code, "cannot connect to %s", path);
    }
}

int ctl_link_open(struct ctl_link *link, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const size_t n = strlen(link->path);

    ctl_link_done(link);
    if (n == 0 || n >= sizeof address.sun_path)
        return err_set(err, ENAMETOOLONG,
                       "%s is too long for a socket's name: %zu bytes, %zu are "
                       "the most",
                       link->path, n, sizeof address.sun_path - 1);
    memcpy(address.sun_path, link->path, n);
    link->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (link->fd < 0)
        return err_sys(err, errno, "cannot make a socket");
    if (connect(link->fd, (const struct sockaddr *)&address, sizeof address) == 0)
        return 0;
    failed(link->path, errno, err);
    ctl_link_done(link);
    return -1;
}

/* Until it may be read or written. */
static int await(const struct ctl_link *link, short events, struct err *err)
{
    struct pollfd wanted = {.fd = link->fd, .events = events};
    int n;

    do
        n = poll(&wanted, 1, link->silence_s * 1000);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_sys(err, errno, "cannot wait for %s", link->path);
    return n > 0 ? 0
                 : err_set(err, ETIMEDOUT, "usher at %s has said nothing for %d s", link->path,
                           link->silence_s);
}

int ctl_link_send(struct ctl_link *link, const json_t *request, struct err *err)
{
    char *text = json_dumps(request, JSON_COMPACT);
    size_t n = text ? strlen(text) : 0, sent = 0;
    int done = 0;

    if (!text)
        return err_set(err, ENOMEM, "out of memory");
    text[n++] = '\n'; /* in the place of the NUL */
    while (sent < n && done == 0) {
        ssize_t now = send(link->fd, text + sent, n - sent, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (now >= 0)
            sent += (size_t)now;
        else if (errno == EPIPE || errno == ECONNRESET)
            break; /* what it said before it went is to be read */
        else if (errno == EAGAIN)
            done = await(link, POLLOUT, err);
        else if (errno != EINTR)
            done = err_sys(err, errno, "cannot ask usher at %s", link->path);
    }
    free(text);
    return done;
}

static int receive(struct ctl_link *link, struct err *err)
{
    size_t room;
    char *at = buf_room_some(&link->in, RECEIVE_LEAST, &room);
    ssize_t n;

    if (!at || room == 0)
        return err_set(err, ENOMEM, "usher's answer at %s has no end, or memory is out",
                       link->path);
    if (await(link, POLLIN, err) != 0)
        return -1;
    n = recv(link->fd, at, room, 0);
    if (n > 0) {
        buf_added(&link->in, (size_t)n);
        return 0;
    }
    if (n < 0 && errno == EINTR)
        return 0;
    if (n < 0 && errno != ECONNRESET)
        return err_sys(err, errno, "cannot read from %s", link->path);
    return err_set(err, ECONNRESET, "usher at %s hung up before it had answered: ask again",
                   link->path);
}

/* Looks for the end of the answer, the line that is no row, in what has come since. */
static bool is_whole(struct ctl_link *link)
{
    const struct slice all = buf_slice(&link->in), row = SLICE("{\"row\"");

    while (link->whole_n == 0) {
        const struct slice rest = slice_sub(all, link->line_at, all.n);
        const char *end = rest.n > 0 ? memchr(rest.p, '\n', rest.n) : NULL;

        if (!end)
            return false;
        link->line_at = (size_t)(end - all.p) + 1;
        if (!slice_eq(slice_sub(rest, 0, row.n), row))
            link->whole_n = link->line_at;
    }
    return true;
}

static int parse(const struct ctl_link *link, struct slice line, json_t **out_object,
                 struct err *err)
{
    json_t *object = json_loadb(line.p, line.n, JSON_REJECT_DUPLICATES, NULL);

    if (json_is_object(object)) {
        *out_object = object;
        return 0;
    }
    json_decref(object);
    return err_set(err, EPROTO, "who listens at %s does not speak as usher does", link->path);
}

int ctl_link_next(struct ctl_link *link, json_t **out_object, struct err *err)
{
    const char *end;
    size_t n;
    int done;

    while (!is_whole(link))
        if (receive(link, err) != 0)
            return -1;
    end = memchr(buf_slice(&link->in).p, '\n', link->whole_n);
    INSIST(end);
    n = (size_t)(end - buf_slice(&link->in).p);
    done = parse(link, slice_sub(buf_slice(&link->in), 0, n), out_object, err);
    buf_take(&link->in, n + 1);
    link->whole_n -= n + 1;
    link->line_at -= n + 1;
    return done;
}
