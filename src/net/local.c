/* Unix sockets with a path. */
#include "net/local.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* The kernel lowers it to net.core.somaxconn. */
enum { BACKLOG = 128 };

/* As many groups as a process may have (NGROUPS_MAX), and its first. */
enum { GROUPS_FIRST = 32, GROUPS_MOST = 65536 };

static int fill(const char *path, struct sockaddr_un *out_at, struct err *err)
{
    const size_t n = strlen(path);
    struct sockaddr_un at = {.sun_family = AF_UNIX};

    if (n == 0 || n >= sizeof at.sun_path)
        return err_set(err, ENAMETOOLONG,
                       "the path %s is no path for a socket, which has %zu "
                       "bytes at most",
                       path, sizeof at.sun_path - 1);
    memcpy(at.sun_path, path, n);
    *out_at = at;
    return 0;
}

static int local_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* Says by errno how it went, 0 included. */
static int try_to_connect(const struct sockaddr_un *at)
{
    int fd = local_socket();
    int code;

    if (fd < 0)
        return errno;
    code = connect(fd, (const struct sockaddr *)at, sizeof *at) == 0 ? 0 : errno;
    close(fd);
    return code;
}

/* Removes what an earlier process left. EAGAIN says that whoever listens has a full queue. */
static int make_way(const struct sockaddr_un *at, struct err *err)
{
    struct stat st;
    int code;

    if (lstat(at->sun_path, &st) < 0)
        return errno == ENOENT ? 0 : err_sys(err, errno, "cannot look at %s", at->sun_path);
    if (!S_ISSOCK(st.st_mode))
        return err_set(err, EEXIST, "%s is there and is no socket; move it away", at->sun_path);
    code = try_to_connect(at);
    if (code == 0 || code == EAGAIN)
        return err_set(err, EADDRINUSE, "somebody listens on %s already; is another usher running?",
                       at->sun_path);
    if (code != ECONNREFUSED)
        return err_sys(err, code, "cannot see whether somebody listens on %s", at->sun_path);
    if (unlink(at->sun_path) < 0 && errno != ENOENT)
        return err_sys(err, errno, "cannot remove %s", at->sun_path);
    return 0;
}

/* The mask makes the mode as the file comes to be: chmod() afterwards might meet another file. */
static int bind_for_all(int fd, const struct sockaddr_un *at)
{
    mode_t mask = umask(S_IXUSR | S_IXGRP | S_IXOTH);
    int done = bind(fd, (const struct sockaddr *)at, sizeof *at);
    int saved = errno;

    umask(mask);
    errno = saved;
    return done;
}

int local_listen(const char *path, struct local *out_local, struct err *err)
{
    struct sockaddr_un at;
    struct stat st;
    int fd;

    if (fill(path, &at, err) < 0 || make_way(&at, err) < 0)
        return -1;
    fd = local_socket();
    if (fd >= 0 && bind_for_all(fd, &at) == 0 && lstat(path, &st) == 0 &&
        listen(fd, BACKLOG) == 0) {
        *out_local = (struct local){.fd = fd, .dev = st.st_dev, .ino = st.st_ino};
        return 0;
    }
    err_sys(err, errno, "cannot make the socket %s", path);
    if (fd >= 0)
        close(fd);
    return -1;
}

void local_close(struct local *local, const char *path)
{
    struct stat st;

    if (local->fd < 0)
        return;
    if (lstat(path, &st) == 0 && st.st_dev == local->dev && st.st_ino == local->ino)
        (void)unlink(path);
    close(local->fd);
    local->fd = -1;
}

/* SO_PEERGROUPS says with ERANGE how much room it wants. Returns memory with one place more, behind
 * the groups. */
static gid_t *peer_groups(int fd, size_t *out_n)
{
    socklen_t size = GROUPS_FIRST * sizeof(gid_t);
    gid_t *groups = NULL;

    for (;;) {
        gid_t *more = realloc(groups, size + sizeof *groups);
        int done;

        if (!more) {
            free(groups);
            errno = ENOMEM;
            return NULL;
        }
        groups = more;
        done = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size);
        if (done == 0) {
            *out_n = size / sizeof *groups;
            return groups;
        }
        if (errno != ERANGE || size > GROUPS_MOST * sizeof *groups) {
            free(groups);
            return NULL;
        }
    }
}

int local_peer(int fd, struct local_peer *out_peer, struct err *err)
{
    struct ucred who;
    socklen_t size = sizeof who;
    gid_t *groups;
    size_t n;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0 || size != sizeof who)
        return err_sys(err, errno, "cannot see who has connected");
    groups = peer_groups(fd, &n);
    if (!groups)
        return err_sys(err, errno, "cannot see the groups of who has connected");
    groups[n++] = who.gid;
    *out_peer =
        (struct local_peer){.pid = who.pid, .uid = who.uid, .groups = groups, .groups_n = n};
    return 0;
}
