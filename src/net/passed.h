/* Listening sockets that a service manager has opened for us and passed, as sd_listen_fds(3)
 * describes: so ports below 1024 need no rights of ours.
 */
#ifndef USHER_NET_PASSED_H
#define USHER_NET_PASSED_H

#include "base/addr.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { PASSED_FIRST_FD = 3, PASSED_MOST = 1024, PASSED_NAME = 256 };

/* One socket. The name is the unit's FileDescriptorName=, which by default is that of the unit
 * itself; "" when none was given. */
struct passed_socket {
    int fd; /* -1: somebody else has it now */
    struct addr addr;
    char name[PASSED_NAME];
};

struct passed {
    struct passed_socket *all;
    size_t n;
};

/* The words of LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES; NULL: not set. */
struct passed_words {
    const char *pid, *fds, *names;
};

/* Reads the words: *out_passed has so many sockets with their names, by their descriptors, of which
 * none has been looked at. None when they are for another process than `self`, as they are when
 * they were left in the environment. To be ended by passed_close(). */
int passed_parse(const struct passed_words *words, pid_t self, struct passed *out_passed,
                 struct err *err) MUST_CHECK;

/* Whether a descriptor is a listening socket of TCP, and of which address. The error says what it
 * is instead. Makes it non-blocking and close-on-exec. */
int passed_look(int fd, struct addr *out_addr, struct err *err) MUST_CHECK;

/* Both, of our own environment, from which the words are removed: no child shall take them for its
 * own. Call it before anything else is opened in a process that was passed sockets. */
int passed_take(struct passed *out_passed, struct err *err) MUST_CHECK;

/* Whether a socket at `addr` is what a listener with the address `text` asks for: the same address
 * and port; "*:PORT" asks for every address, so either wildcard is a part of it, and a socket that
 * takes both families all of it. Port 0 asks for none in particular. */
bool passed_fits(const struct addr *addr, const char *text);

/* Closes those that nobody has taken. Harmless twice. */
void passed_close(struct passed *p);

#endif
