/* Binding to ports to see whether they are free. */
#include "ports/bind.h"

#include <errno.h>
#include <unistd.h>

static int set_flag(int fd, int level, int option)
{
    int on = 1;

    return setsockopt(fd, level, option, &on, sizeof on);
}

/* 0 or an errno value. */
static int bind_to(int fd, const struct addr *addr, enum port_protocol protocol)
{
    if ((protocol == PORT_TCP && set_flag(fd, SOL_SOCKET, SO_REUSEADDR) < 0) ||
        (addr->sa.sa_family == AF_INET6 && set_flag(fd, IPPROTO_IPV6, IPV6_V6ONLY) < 0) ||
        bind(fd, &addr->sa, addr_len(addr)) < 0)
        return errno;
    return 0;
}

int bind_try(const struct addr *addr, enum port_protocol protocol)
{
    int fd, code;

    if (protocol != PORT_TCP && protocol != PORT_UDP)
        return EPROTONOSUPPORT;
    fd = socket(addr->sa.sa_family,
                (protocol == PORT_TCP ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    code = bind_to(fd, addr, protocol);
    close(fd);
    return code;
}

int bind_try_all(uint16_t port, enum port_protocol protocol)
{
    struct addr any = {.in.sin_family = AF_INET}, any6 = {.in6.sin6_family = AF_INET6};
    int code;

    addr_set_port(&any, port);
    addr_set_port(&any6, port);
    code = bind_try(&any, protocol);
    if (code != 0)
        return code;
    code = bind_try(&any6, protocol);
    return code == EAFNOSUPPORT ? 0 : code;
}

size_t bind_find_free(uint16_t first, uint16_t last, const struct addr *addr,
                      enum port_protocol protocol, bool (*passes)(void *arg, uint16_t port),
                      void *arg, uint16_t *out_ports, size_t n)
{
    size_t found = 0;

    for (uint32_t i = first; i <= last && found < n; i++) {
        uint16_t port = (uint16_t)i;
        int code;

        if (passes && !passes(arg, port))
            continue;
        if (addr) {
            struct addr at = *addr;

            addr_set_port(&at, port);
            code = bind_try(&at, protocol);
        } else {
            code = bind_try_all(port, protocol);
        }
        if (code == 0)
            out_ports[found++] = port;
    }
    return found;
}
