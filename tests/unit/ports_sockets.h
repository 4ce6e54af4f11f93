/* Sockets of a test's own, and looks at them. Ports are such that nobody else has, and whatever
 * else listens on the machine is not looked at. */
#ifndef USHER_TESTS_UNIT_PORTS_SOCKETS_H
#define USHER_TESTS_UNIT_PORTS_SOCKETS_H

#include "cm.h"

#include "ports/bind.h"
#include "ports/look.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct sock {
    int fd;
    struct addr addr; /* with the port that it has got */
    uint64_t inode;
};

enum sock_option { V6ONLY = 1, DUAL = 2, REUSEPORT = 4, REUSEADDR = 8 };

static inline struct addr at(const char *ip, uint16_t port)
{
    struct addr a;

    assert_true(addr_parse_ip(slice_str(ip), port, &a));
    return a;
}

static inline uint64_t inode_of(int fd)
{
    struct stat st;

    assert_int_equal(fstat(fd, &st), 0);
    return st.st_ino;
}

static inline void set_flag(int fd, int level, int option, int value)
{
    assert_int_equal(setsockopt(fd, level, option, &value, sizeof value), 0);
}

/* A port that nobody has on any address, so that what is seen there is the test's own. */
static inline uint16_t free_port(void)
{
    for (;;) {
        struct addr any = at("0.0.0.0", 0);
        socklen_t n = sizeof any;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        assert_int_equal(bind(fd, &any.sa, addr_len(&any)), 0);
        assert_int_equal(getsockname(fd, &any.sa, &n), 0);
        close(fd);
        if (bind_try_all(addr_port(&any), PORT_TCP) == 0 &&
            bind_try_all(addr_port(&any), PORT_UDP) == 0)
            return addr_port(&any);
    }
}

/* Bound; port 0 is any that is free. */
static inline struct sock bound(const char *ip, uint16_t port, int type, unsigned options)
{
    struct sock s = {.addr = at(ip, port)};

    s.fd = socket(s.addr.sa.sa_family, type | SOCK_CLOEXEC, 0);
    assert_true(s.fd >= 0);
    if (options & (V6ONLY | DUAL))
        set_flag(s.fd, IPPROTO_IPV6, IPV6_V6ONLY, options & V6ONLY ? 1 : 0);
    if (options & REUSEPORT)
        set_flag(s.fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (options & REUSEADDR)
        set_flag(s.fd, SOL_SOCKET, SO_REUSEADDR, 1);
    do
        addr_set_port(&s.addr, port ? port : free_port());
    while (bind(s.fd, &s.addr.sa, addr_len(&s.addr)) != 0 && errno == EADDRINUSE && port == 0);
    s.inode = inode_of(s.fd);
    return s;
}

static inline struct sock listening(const char *ip, uint16_t port, unsigned options, int backlog)
{
    struct sock s = bound(ip, port, SOCK_STREAM, options);

    assert_int_equal(listen(s.fd, backlog), 0);
    return s;
}

/* For as long as the process lives; the port. */
static inline uint16_t listen_for_good(const char *ip)
{
    struct sock s = listening(ip, 0, 0, 5);

    return addr_port(&s.addr);
}

/* A connected socket; -1 is never returned. */
static inline int connected(const struct addr *to)
{
    int fd = socket(to->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, &to->sa, addr_len(to)), 0);
    return fd;
}

/* --- looking ---------------------------------------------------------------------------------- */

/* What is asked for, with a set of ports to fill. */
struct question {
    uint64_t ports[65536 / 64];
    struct look_params params;
};

static inline void ask_for(struct question *q, uint16_t port)
{
    q->ports[port / 64] |= UINT64_C(1) << port % 64;
}

static inline struct look *answer(struct question *q)
{
    struct look *look = NULL;
    struct err err = {0};

    q->params.ports = q->ports;
    if (look_take(&q->params, &look, &err) != 0 || !look) {
        print_error("%s\n", err.text);
        abort(); /* not to return, as gcc knows */
    }
    return look;
}

/* A look at one port, for TCP. */
static inline struct look *look_at(const struct sock *s)
{
    struct question q = {0};

    ask_for(&q, addr_port(&s->addr));
    return answer(&q);
}

static inline const struct look_socket *find_inode(const struct look *look, uint64_t inode)
{
    for (size_t i = 0; i < look->sockets_n; i++) {
        if (look->sockets[i].inode == inode)
            return &look->sockets[i];
    }
    return NULL;
}

static inline const struct look_socket *seen(const struct look *look, const struct sock *s)
{
    const struct look_socket *found = find_inode(look, s->inode);

    assert_non_null(found);
    if (!found)
        abort(); /* gcc does not know that this cannot be */
    return found;
}

static inline const struct look_process *owner(const struct look *look, const struct look_socket *s,
                                               size_t i)
{
    assert_true(i < s->processes_n);
    return &look->processes[s->processes_i[i]];
}

static inline void assert_addr(const struct look_socket *s, const char *expected)
{
    char text[ADDR_TEXT];

    assert_string_equal(addr_format(&s->addr, text), expected);
}

/* --- other processes -------------------------------------------------------------------------- */

/* A child that has done something and keeps what it has until it is told to end. */
struct child {
    pid_t pid;
    int told; /* a byte: end */
};

/* `act` returns what the parent is to be told, 0 to 65535: a port. */
static inline struct child begin_child(uint32_t (*act)(void *arg), void *arg, uint32_t *out_told)
{
    struct child c;
    int up[2], down[2];

    assert_int_equal(pipe(up), 0);
    assert_int_equal(pipe(down), 0);
    fflush(NULL);
    c.pid = fork();
    assert_true(c.pid >= 0);
    if (c.pid == 0) {
        uint32_t told;
        char end;

        setenv("CMOCKA_TEST_ABORT", "1", 1);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(up[0]);
        close(down[1]);
        told = act(arg);
        if (write(up[1], &told, sizeof told) != sizeof told)
            _exit(1);
        (void)!read(down[0], &end, 1);
        _exit(0);
    }
    close(up[1]);
    close(down[0]);
    c.told = down[1];
    assert_int_equal(read(up[0], out_told, sizeof *out_told), sizeof *out_told);
    close(up[0]);
    return c;
}

static inline void end_child(const struct child *c)
{
    /* Its end alone would not do: later children have the pipe too. */
    assert_int_equal(write(c->told, "", 1), 1);
    close(c->told);
    assert_int_equal(waitpid(c->pid, NULL, 0), c->pid);
}

static inline uint32_t do_nothing(void *arg)
{
    (void)arg;
    return 0;
}

/* Does in a child what changes the process for good; a failed assertion there is one here. */
static inline void in_child(void (*act)(void *arg), void *arg)
{
    int status;
    pid_t pid;

    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        setenv("CMOCKA_TEST_ABORT", "1", 1);
        act(arg);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* From now on socket() refuses netlink, as the rules of some containers do, and with
 * `without_files` no file can be opened either. */
static inline void refuse_netlink(bool without_files)
{
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, without_files ? __NR_openat : 0xffffffff, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_socket, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_NETLINK, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof program / sizeof program[0], program};

    assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
}

#endif
