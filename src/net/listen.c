/* Listening sockets: opening them with words that help, and accepting. */
#include "net/listen.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

/* The kernel lowers it to net.core.somaxconn. */
enum { BACKLOG = 4096 };

static int set_flag(int fd, int level, int option)
{
    int on = 1;

    return setsockopt(fd, level, option, &on, sizeof on);
}

/* A socket bound to `addr`; -1 with errno. */
static int bound_socket(const struct addr *addr, bool shares_port)
{
    int fd = socket(addr->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int saved;

    if (fd < 0)
        return -1;
    /* Lets us bind although connections of an earlier process linger in TIME_WAIT; a listener on
     * the same port still refuses it. */
    if (set_flag(fd, SOL_SOCKET, SO_REUSEADDR) == 0 &&
        (!shares_port || set_flag(fd, SOL_SOCKET, SO_REUSEPORT) == 0) &&
        (addr->sa.sa_family != AF_INET6 || set_flag(fd, IPPROTO_IPV6, IPV6_V6ONLY) == 0) &&
        bind(fd, &addr->sa, addr_len(addr)) == 0)
        return fd;
    saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static bool has_ipv6(void)
{
    struct addr any = {.in6 = {.sin6_family = AF_INET6}};
    int fd = bound_socket(&any, false);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

int listen_addresses(const char *text, struct addr out_addrs[2], struct err *err)
{
    struct slice host;
    uint16_t port;

    if (addr_split(slice_str(text), &host, &port, err) != 0)
        return -1;
    if (slice_eq(host, SLICE("*"))) {
        memset(out_addrs, 0, 2 * sizeof out_addrs[0]);
        out_addrs[0].in.sin_family = AF_INET;
        addr_set_port(&out_addrs[0], port);
        if (!has_ipv6())
            return 1;
        out_addrs[1].in6.sin6_family = AF_INET6;
        addr_set_port(&out_addrs[1], port);
        return 2;
    }
    if (!addr_parse_ip(host, port, &out_addrs[0]))
        return err_set(err, 0,
                       "\"%s\": \"%.*s\" is not an address to listen on; write 192.0.2.1:%u, "
                       "[2001:db8::1]:%u or *:%u",
                       text, SLICE_ARG(host), port, port, port);
    return 1;
}

static int explain(const struct addr *addr, int code, struct err *err)
{
    char text[ADDR_TEXT];

    addr_format(addr, text);
    switch (code) {
    case EADDRINUSE:
        return err_set(err, code,
                       "cannot listen on %s: somebody listens there already; "
                       "`usher ports %u` tells who",
                       text, addr_port(addr));
    case EACCES:
        return err_set(err, code,
                       "cannot listen on %s: ports below 1024 need root, "
                       "CAP_NET_BIND_SERVICE, or a lower sysctl "
                       "net.ipv4.ip_unprivileged_port_start",
                       text);
    case EADDRNOTAVAIL:
        return err_set(err, code,
                       "cannot listen on %s: this machine does not have the address; "
                       "`ip addr` tells which it has",
                       text);
    case EAFNOSUPPORT:
        return err_set(err, code, "cannot listen on %s: this machine has no %s", text,
                       addr->sa.sa_family == AF_INET6 ? "IPv6" : "IPv4");
    case EMFILE:
        return err_set(err, code,
                       "cannot listen on %s: this process may not open more files; "
                       "raise its limit (LimitNOFILE=, ulimit -n)",
                       text);
    default:
        return err_sys(err, code, "cannot listen on %s", text);
    }
}

/* Binds without SO_REUSEPORT, which the kernel refuses as long as anyone listens there. */
int listen_try(const struct addr *addr, struct err *err)
{
    int fd;

    if (addr_port(addr) == 0)
        return 0;
    fd = bound_socket(addr, false);
    if (fd < 0)
        return explain(addr, errno, err);
    close(fd);
    return 0;
}

/* One socket; tells the address that it has got. -1 with errno. */
static int shared_socket(const struct addr *addr, struct addr *out_bound)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;
    int fd = bound_socket(addr, true);
    int saved;

    if (fd < 0)
        return -1;
    if (getsockname(fd, (struct sockaddr *)&ss, &len) == 0) {
        *out_bound = addr_from_sockaddr(&ss);
        return fd;
    }
    saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static void close_all(const int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++)
        close(fds[i]);
}

int listen_bind(struct addr *addr, int *out_fds, size_t n, struct err *err)
{
    struct addr bound = *addr;

    INSIST(n > 0);
    for (size_t i = 0; i < n; i++) {
        int fd = shared_socket(&bound, &bound);

        if (fd < 0) {
            int saved = errno;

            close_all(out_fds, i);
            return explain(&bound, saved, err);
        }
        out_fds[i] = fd;
    }
    *addr = bound;
    return 0;
}

int listen_begin(int fd, const struct addr *addr, struct err *err)
{
    return listen(fd, BACKLOG) == 0 ? 0 : explain(addr, errno, err);
}

int listen_open(struct addr *addr, int *out_fds, size_t n, struct err *err)
{
    struct addr bound = *addr;

    if (listen_try(addr, err) != 0 || listen_bind(&bound, out_fds, n, err) != 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (listen_begin(out_fds[i], &bound, err) != 0) {
            close_all(out_fds, n);
            return -1;
        }
    }
    *addr = bound;
    return 0;
}

int listen_mend(int fd, const struct addr *addr, struct err *err)
{
    const struct sockaddr none = {.sa_family = AF_UNSPEC};
    int is_listening = 0;
    socklen_t len = sizeof is_listening;

    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &len) == 0 && is_listening)
        return 0;
    /* Ends the connection that it may have become. Then it has no port only if the kernel had
     * chosen that; with one, bind() says EINVAL. */
    (void)connect(fd, &none, sizeof none);
    if ((bind(fd, &addr->sa, addr_len(addr)) != 0 && errno != EINVAL) || listen(fd, BACKLOG) != 0)
        return explain(addr, errno, err);
    return 1;
}

int listen_accept(int fd, struct addr *out_peer, struct addr *out_local)
{
    struct sockaddr_storage ss;
    socklen_t len;
    int conn;

    do {
        len = sizeof ss;
        conn = accept4(fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    } while (conn < 0 && (errno == EINTR || errno == ECONNABORTED || errno == EPROTO));
    if (conn < 0)
        return -1;
    *out_peer = addr_from_sockaddr(&ss);
    if (out_local) {
        len = sizeof ss;
        memset(&ss, 0, sizeof ss);
        (void)getsockname(conn, (struct sockaddr *)&ss, &len);
        *out_local = addr_from_sockaddr(&ss);
    }
    return conn;
}

bool listen_is_pending(int fd)
{
    struct pollfd pfd = {.fd = fd, .events = POLLIN};

    return poll(&pfd, 1, 0) == 1;
}
