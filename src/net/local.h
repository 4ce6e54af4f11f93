/* Unix sockets with a path: listening, and who has connected. */
#ifndef USHER_NET_LOCAL_H
#define USHER_NET_LOCAL_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* A listening socket and the file that stands for it. */
struct local {
    int fd; /* -1: none */
    dev_t dev;
    ino_t ino;
};

/* Makes the socket at `path`, which everybody may connect to who can reach it. What an earlier
 * process left there is removed, but only a socket on which nobody listens any more. The socket is
 * non-blocking and close-on-exec.
 *
 * Fit for root in a folder that is another's: no link is followed, and nothing but the socket is
 * given a mode or an owner. */
int local_listen(const char *path, struct local *out_local, struct err *err) MUST_CHECK;

/* Closes the socket and removes its file, if it still is the one that was made. Harmless twice. */
void local_close(struct local *local, const char *path);

/* Who has connected, as the kernel noted it then. */
struct local_peer {
    pid_t pid;
    uid_t uid;
    gid_t *groups; /* the first and the others; the caller frees them */
    size_t groups_n;
};

/* *out_peer is written on success only. */
int local_peer(int fd, struct local_peer *out_peer, struct err *err) MUST_CHECK;

#endif
