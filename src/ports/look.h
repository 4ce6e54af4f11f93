/* Who listens on this machine: sockets from the kernel (sock_diag(7), netlink), processes from
 * /proc. Nothing is executed and nothing is sent to anybody, but that the machine's name service is
 * asked for the names of users.
 *
 * Where the kernel refuses sock_diag, as it may in a container, /proc/net tells: nothing of
 * interfaces, of backlogs (0) and of the users of unix sockets, and whether [::] serves IPv4 too is
 * guessed then: it does unless net.ipv6.bindv6only is on or an IPv4 socket has the same port.
 *
 * Everything is a picture of one moment that was taken over some milliseconds: a process may end in
 * between, then its socket has no process here.
 *
 * Other network namespaces are looked into where we may (CAP_SYS_ADMIN): those in which a process
 * lives that we may see, and those that have a name in /run/netns. The calling thread goes there
 * and comes back; so the process must have one thread.
 */
#ifndef USHER_PORTS_LOOK_H
#define USHER_PORTS_LOOK_H

#include "base/addr.h"
#include "base/err.h"
#include "ports/iana.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* TCP's states as the kernel counts them (include/net/tcp_states.h), from 1. */
enum { LOOK_TCP_ESTABLISHED = 1, LOOK_TCP_LISTEN = 10, LOOK_TCP_STATES = 13 };

/* "established", "time-wait" ...: ss(8)'s words. */
const char *look_state_name(unsigned state);

struct look_params {
    const uint64_t *ports;      /* a set of 65536 bits: which are asked for */
    bool with_udp;              /* else TCP only */
    bool with_unix;             /* IMAP servers' unix sockets too */
    bool with_connections;      /* count connections by state */
    bool with_other_namespaces; /* else only our own */
};

/* A process that has the socket. Texts are UTF-8 or escaped to be so, for showing; never NULL. */
struct look_process {
    pid_t pid;
    uid_t uid;             /* the effective one */
    const char *user;      /* its name, or its number */
    const char *name;      /* /proc/PID/comm */
    const char *command;   /* /proc/PID/cmdline with blanks between the words, cut */
    const char *unit;      /* systemd's: "dovecot.service"; "" when none is known */
    const char *container; /* "docker 1f2e3d4c5b6a", "podman ...", "containerd ...", "cri-o ...",
                              "kubernetes ...", "lxc NAME", "machine NAME"; "" when none is known */
};

struct look_namespace {
    uint64_t inode;   /* of its file, as in net:[4026531840] */
    const char *name; /* in /run/netns, else the container of a process in it, else "" */
    pid_t pid;        /* one process in it; 0: none that we see */
    bool is_ours;
};

struct look_socket {
    enum port_protocol protocol; /* TCP or UDP; TCP, without meaning, of a unix socket */
    struct addr addr;            /* none of a unix socket */
    const char *path;            /* of a unix socket, "@" for an abstract one's NUL; else "" */
    bool takes_ipv4;             /* [::] that serves IPv4 too (IPV6_V6ONLY off) */
    const char *interface;       /* bound to that alone (SO_BINDTODEVICE); "" for all */
    uint32_t uid;                /* of who made it; UINT32_MAX when the kernel does not tell */
    uint64_t inode;
    uint32_t queue, backlog; /* TCP: connections that wait to be accepted, and how many may; UDP:
                                bytes that wait, 0 */
    uint32_t group; /* how many sockets have this address, protocol and interface in the namespace,
                       this one counted: above 1 they share it by SO_REUSEPORT (UDP: or
                       SO_REUSEADDR); 1 of a unix socket */
    size_t namespace_i;  /* into namespaces[] */
    size_t *processes_i; /* into processes[], by pid */
    size_t processes_n;  /* 0: hidden from us, ended, or of the kernel */
};

struct look {
    struct look_socket *sockets; /* by port, namespace (ours first), protocol, address, inode; unix
                                    sockets last, by namespace and path */
    size_t sockets_n;
    struct look_process *processes; /* those that have one of the sockets, by pid */
    size_t processes_n;
    struct look_namespace
        *namespaces; /* [0] is ours; others only when they have one of the sockets */
    size_t namespaces_n;
    /* For each port that has a connection: in our namespace, whose local port it is. Sorted by
     * port. */
    struct look_connections {
        uint16_t port;
        uint32_t by_state[LOOK_TCP_STATES]; /* LISTEN is not counted */
    } * connections;
    size_t connections_n;
    size_t hidden_processes;  /* whose descriptors we may not see; 0 when there is no socket whose
                                 processes were to be found */
    size_t hidden_namespaces; /* that we know of and may not enter; 0 when that was not asked */
};

/* The error says what the kernel refuses. */
int look_take(const struct look_params *params, struct look **out_look, struct err *err) MUST_CHECK;

/* Clears *look; harmless when it is NULL. */
void look_free(struct look **look);

/* Who has the address, as bind(2) meets it (an address of its own, or every address; IPv6 alone),
 * for an error of one line:
 *
 *     dovecot (pid 812, user root, dovecot.service)
 *     nginx (pid 12, user root, nginx.service) and 3 more processes
 *     a process of user www-data that is hidden from us
 *     curl (pid 99, user ann), which does not listen there
 *
 * Processes of one name and unit are named once, by the lowest pid, and three at most. The last is
 * a connection that goes out from the port, or from Linux 6.8 on a socket that is only bound. `out`
 * is "" when nobody is seen, for TCP and UDP alone. Takes its own look. Returns `out`. */
const char *look_who(const struct addr *addr, enum port_protocol protocol, char *out, size_t cap);

#endif
