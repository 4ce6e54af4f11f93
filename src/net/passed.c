/* Sockets passed by a service manager: the words of the environment, and what each socket is. */
#include "net/passed.h"

#include "base/num.h"
#include "net/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int number(const char *word, const char *what, uint64_t max, uint64_t *out_n,
                  struct err *err)
{
    if (num_parse(slice_str(word), max, out_n))
        return 0;
    return err_set(err, EINVAL, "%s is \"%s\", which is no number up to %llu", what, word,
                   (unsigned long long)max);
}

/* Names stand with colons between, one for each socket. */
static int take_names(const char *names, struct passed *p, struct err *err)
{
    for (size_t i = 0; i < p->n; i++) {
        const size_t n = strcspn(names, ":");

        if (n >= PASSED_NAME)
            return err_set(err, EINVAL, "a name in LISTEN_FDNAMES has more than %d bytes",
                           PASSED_NAME - 1);
        memcpy(p->all[i].name, names, n);
        names += n;
        if ((*names == ':') != (i + 1 < p->n))
            return err_set(err, EINVAL,
                           "LISTEN_FDNAMES has %s names than the %zu sockets of LISTEN_FDS",
                           *names ? "more" : "fewer", p->n);
        names += *names == ':';
    }
    return 0;
}

int passed_parse(const struct passed_words *words, pid_t self, struct passed *out_passed,
                 struct err *err)
{
    struct passed p = {NULL, 0};
    uint64_t pid, n;

    if (!words->pid || !words->fds) {
        *out_passed = p;
        return 0;
    }
    if (number(words->pid, "LISTEN_PID", INT_MAX, &pid, err) < 0)
        return -1;
    if ((pid_t)pid != self) {
        *out_passed = p;
        return 0;
    }
    if (number(words->fds, "LISTEN_FDS", PASSED_MOST, &n, err) < 0)
        return -1;
    p.n = (size_t)n;
    p.all = calloc(p.n + 1, sizeof *p.all);
    if (!p.all)
        return err_set(err, ENOMEM, "out of memory");
    for (size_t i = 0; i < p.n; i++)
        p.all[i].fd = PASSED_FIRST_FD + (int)i;
    if (p.n > 0 && words->names && take_names(words->names, &p, err) < 0) {
        free(p.all);
        return -1;
    }
    *out_passed = p;
    return 0;
}

/* An option of a socket that is a number; -1 when it has none. */
static int option(int fd, int name)
{
    int value;
    socklen_t n = sizeof value;

    return getsockopt(fd, SOL_SOCKET, name, &value, &n) == 0 ? value : -1;
}

/* What it is, for somebody who reads a unit. */
static int refuse(int domain, int type, int protocol, struct err *err)
{
    if (domain == AF_UNIX)
        return err_set(err, EINVAL, "it is a unix socket; write ListenStream= with ip:port");
    if (domain != AF_INET && domain != AF_INET6)
        return err_set(err, EINVAL, "it is a socket of another kind than IPv4 or IPv6");
    if (type == SOCK_DGRAM)
        return err_set(err, EINVAL,
                       "it is a socket of UDP; write ListenStream=, not ListenDatagram=");
    if (type != SOCK_STREAM || protocol != IPPROTO_TCP)
        return err_set(err, EINVAL, "it is no socket of TCP");
    return err_set(err, EINVAL, "it does not listen; in a unit, that is Accept=yes for Accept=no");
}

int passed_look(int fd, struct addr *out_addr, struct err *err)
{
    const int domain = option(fd, SO_DOMAIN);
    const int type = option(fd, SO_TYPE), protocol = option(fd, SO_PROTOCOL);
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;
    int flags;

    if (domain < 0)
        return err_set(err, errno, errno == EBADF ? "it is not open" : "it is no socket");
    if ((domain != AF_INET && domain != AF_INET6) || type != SOCK_STREAM ||
        protocol != IPPROTO_TCP || option(fd, SO_ACCEPTCONN) != 1)
        return refuse(domain, type, protocol, err);
    flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || getsockname(fd, (struct sockaddr *)&ss, &len) < 0)
        return err_sys(err, errno, "it cannot be used");
    *out_addr = addr_from_sockaddr(&ss);
    return 0;
}

static int look_at_each(struct passed *p, struct err *err)
{
    for (size_t i = 0; i < p->n; i++) {
        struct passed_socket *s = &p->all[i];

        if (passed_look(s->fd, &s->addr, err) < 0)
            return err_prefix(err, "descriptor %d \"%s\", which the service manager has passed",
                              s->fd, s->name);
    }
    return 0;
}

int passed_take(struct passed *out_passed, struct err *err)
{
    const struct passed_words words = {getenv("LISTEN_PID"), getenv("LISTEN_FDS"),
                                       getenv("LISTEN_FDNAMES")};
    struct passed p;
    int done = passed_parse(&words, getpid(), &p, err);

    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    if (done < 0)
        return -1;
    if (look_at_each(&p, err) < 0) {
        passed_close(&p);
        return -1;
    }
    *out_passed = p;
    return 0;
}

bool passed_fits(const struct addr *addr, const char *text)
{
    struct addr wanted[2] = {0};
    struct err ignored;
    int n = listen_addresses(text, wanted, &ignored);

    for (int i = 0; i < n; i++) {
        if (addr_port(&wanted[i]) != 0 && addr_equals(&wanted[i], addr))
            return true;
    }
    return false;
}

void passed_close(struct passed *p)
{
    for (size_t i = 0; i < p->n; i++) {
        if (p->all[i].fd >= 0)
            close(p->all[i].fd);
    }
    free(p->all);
    *p = (struct passed){NULL, 0};
}
