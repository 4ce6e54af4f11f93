/* The parts that look.c is made of: for them and their tests alone.
 *
 *     draft.c       the memory of a look that is being taken
 *     sockets.c     sockets of the network namespace that the thread is in, from sock_diag(7)
 *     procnet.c     the same from /proc/net, for where sock_diag is refused
 *     namespaces.c  takes the thread into other namespaces, for sockets.c
 *     owners.c      whose they are: all descriptors of all processes in /proc
 *     who.c         look_who()
 */
#ifndef USHER_PORTS_LOOK_PARTS_H
#define USHER_PORTS_LOOK_PARTS_H

#include "base/addr.h"
#include "base/err.h"
#include "base/slice.h"
#include "ports/cgroup.h"
#include "ports/look.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* --- the draft -------------------------------------------------------------------------------- */

/* LOOK_TCP_STATES is that of the kernel's pseudo-state for sockets that are bound and do nothing
 * (TCP_BOUND_INACTIVE, Linux 6.8): asked for by look_who() alone. */
enum {
    STATES_LISTEN = 1 << LOOK_TCP_LISTEN,
    STATES_CONNECTIONS = ((1 << LOOK_TCP_STATES) - 2) & ~STATES_LISTEN,
    STATES_BOUND = 1 << LOOK_TCP_STATES,
    STATES_UDP_UNCONNECTED = 1 << 7, /* TCP_CLOSE */
    STATES_UDP_CONNECTED = 1 << LOOK_TCP_ESTABLISHED,
};

/* The longest texts that are kept, in bytes; what is cut ends in "...". */
enum { TEXT_MOST = 255, TEXT_MOST_COMMAND = 1023 };

struct draft_way {
    const char *file; /* in /run/netns, as it is, or NULL */
    pid_t pid;        /* or 0 */
};

struct look_draft {
    struct look look; /* what is given out; look_free() finds the rest by it */

    /* What is asked. The bits of states are of our own namespace; in others only listening and
     * unconnected sockets are of interest. */
    const uint64_t *ports;
    uint16_t first, last; /* of `ports`; last 0: there is none */
    uint32_t tcp_states, udp_states;
    bool with_unix;
    bool lists_connections; /* TCP sockets that do not listen are listed, not counted */

    size_t here; /* the namespace that the thread is in */
    size_t sockets_cap, processes_cap, namespaces_cap, connections_cap;
    struct draft_way *ways; /* into the namespaces, one each */
    uint32_t *rows;         /* of each port in look.connections, from 1 */
    size_t *owners;         /* the memory of all processes_i */
    struct draft_text *texts;
};

/* NULL: memory is out. look_free() frees it. */
struct look_draft *draft_new(void);

/* Takes the look that the draft asks for, which becomes the result's, or is freed on failure. */
int look_take_draft(struct look_draft *d, bool with_other_namespaces, struct look **out_look,
                    struct err *err) MUST_CHECK;

/* `n` members of `size` bytes are at `p`, and there is room for *cap. Returns the same with room
 * for one more; NULL: memory is out, and all is as it was. */
void *draft_room(void *p, size_t n, size_t *cap, size_t size);

/* A copy that lives as long as the draft; NULL: memory is out. The first is as it is, the second
 * for showing: without control characters, in UTF-8, cut at `most` bytes. Backslashes stay as they
 * are, since names of units have them. */
const char *draft_copy(struct look_draft *d, struct slice bytes);
const char *draft_text(struct look_draft *d, struct slice bytes, size_t most);

static inline int draft_no_memory(struct err *err)
{
    return err_set(err, ENOMEM, "memory is out");
}

/* A new namespace with a way in; NULL: memory is out. */
struct look_namespace *draft_namespace(struct look_draft *d, uint64_t inode);

/* A TCP or UDP socket as the kernel tells of it. */
struct seen_socket {
    enum port_protocol protocol;
    unsigned state;
    struct addr addr; /* IPv4-mapped: IPv4 */
    bool is_v6only;   /* of an IPv6 address */
    unsigned interface;
    uint32_t queue, backlog, uid;
    uint64_t inode;
};

/* Lists or counts it if it is asked for. */
int draft_seen(struct look_draft *d, const struct seen_socket *seen, struct err *err) MUST_CHECK;

void draft_forget_connections(struct look_draft *d);

/* A listening unix socket; a name that begins with NUL is abstract. */
struct seen_unix {
    struct slice name;
    uint32_t queue, backlog, uid;
    uint64_t inode;
};

int draft_seen_unix(struct look_draft *d, const struct seen_unix *seen, struct err *err) MUST_CHECK;

/* Puts all in order, leaves out what is there twice, counts groups. Before owners are looked for.
 */
void draft_sort(struct look_draft *d);

/* --- sockets ---------------------------------------------------------------------------------- */

/* What one dump tells of, and a file of /proc/net. */
struct socket_kind {
    int family;
    enum port_protocol protocol; /* without meaning for AF_UNIX */
    const char *file;            /* "tcp6" */
};

/* Adds the sockets of the network namespace that the thread is in. */
int sockets_collect(struct look_draft *d, struct err *err) MUST_CHECK;

/* The same of one kind from /proc/net. Returns 0 also when the file cannot be read, and tells why
 * in *out_code, an errno value. Of what it does not tell: interfaces and backlogs are left out, the
 * user of a unix socket is UINT32_MAX, and [::] is taken to serve IPv4 too unless
 * net.ipv6.bindv6only is on or an IPv4 socket has the same port. */
int procnet_collect(struct look_draft *d, const struct socket_kind *kind, uint32_t states,
                    int *out_code, struct err *err) MUST_CHECK;

/* A line of /proc/net/tcp, tcp6, udp, udp6. Pure; false: it is none, as the head is none. Protocol
 * and is_v6only are left to the caller. */
bool procnet_parse(struct slice line, int family, struct seen_socket *out_seen);

/* A line of /proc/net/unix; false: it is none of a listening stream socket with a name. The name
 * begins with NUL for an abstract one, and is written to `name`. */
enum { PROCNET_NAME = 256 };
bool procnet_parse_unix(struct slice line, char name[PROCNET_NAME], struct seen_unix *out_seen);

/* --- namespaces ------------------------------------------------------------------------------- */

/* Makes our own the first. Without /proc its inode is 0. */
int namespaces_ours(struct look_draft *d, struct err *err) MUST_CHECK;

/* Adds the sockets of all others that we may enter, and counts those that we may not. */
int namespaces_collect(struct look_draft *d, struct err *err) MUST_CHECK;

/* Leaves out those that no socket is in, and names the others. Before draft_sort(). */
int namespaces_tidy(struct look_draft *d, struct err *err) MUST_CHECK;

/* --- owners ----------------------------------------------------------------------------------- */

/* Finds the processes of all sockets. Threads that share no descriptors with their first thread
 * are not looked at. */
int owners_find(struct look_draft *d, struct err *err) MUST_CHECK;

/* The name of a user, or the number. Asks the machine's name service. */
enum { USER_TEXT = 256 };
const char *owners_user(uid_t uid, char out[USER_TEXT]);

/* Reads and parses PID/cgroup; `folder` and `path` as for openat(). */
void owners_cgroup(int folder, const char *path, struct cgroup *out_cgroup);

/* The numbers among the names of an open folder of /proc, without memory of its own. */
struct proc_numbers {
    int fd;
    size_t at, n;
    _Alignas(8) char bytes[32768];
};

void proc_numbers_begin(struct proc_numbers *it, int fd);

/* The next name, valid until the next call; NULL: no more. */
const char *proc_numbers_next(struct proc_numbers *it);

#endif
