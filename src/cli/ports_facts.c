/* What a port's facts amount to. */
#include "cli/ports_facts.h"

#include "ports/bind.h"

#include <errno.h>

const char *port_state_name(enum port_state state)
{
    switch (state) {
    case PORT_TAKEN:
        return "taken";
    case PORT_FREE:
        return "free";
    case PORT_DENIED:
        return "denied";
    case PORT_BLOCKED:
        return "blocked";
    case PORT_NOT_HERE:
        return "elsewhere";
    }
    return "";
}

static bool is_unix(const struct look_socket *s)
{
    return !addr_is_set(&s->addr);
}

/* Sorted by port, unix sockets last. */
size_t ports_sockets(const struct ports_facts *f, uint16_t port,
                     const struct look_socket **out_first)
{
    size_t low = 0, high = f->look->sockets_n, end;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct look_socket *s = &f->look->sockets[middle];

        if (!is_unix(s) && addr_port(&s->addr) < port)
            low = middle + 1;
        else
            high = middle;
    }
    end = low;
    while (end < f->look->sockets_n && !is_unix(&f->look->sockets[end]) &&
           addr_port(&f->look->sockets[end].addr) == port)
        end++;
    *out_first = &f->look->sockets[low];
    return end - low;
}

static bool is_any(const struct addr *a)
{
    if (a->sa.sa_family == AF_INET)
        return a->in.sin_addr.s_addr == htonl(INADDR_ANY);
    return IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr);
}

static bool is_same_ip(const struct addr *a, const struct addr *b)
{
    struct addr other = *b;

    addr_set_port(&other, addr_port(a));
    return addr_equals(a, &other);
}

/* Whether this machine has the address, so that who listens on every address listens there too. */
static bool is_here(const struct addr *addr)
{
    struct addr any_port = *addr;

    addr_set_port(&any_port, 0);
    return bind_try(&any_port, PORT_TCP) != EADDRNOTAVAIL;
}

bool ports_serves(const struct look_socket *s, const struct addr *addr)
{
    if (!addr_is_set(addr))
        return true;
    if (is_any(&s->addr) && (s->addr.sa.sa_family == addr->sa.sa_family || s->takes_ipv4))
        return s->namespace_i != 0 || is_here(addr);
    /* Asked for every address of a family: each of them is one of those. */
    if (is_any(addr) && s->addr.sa.sa_family == addr->sa.sa_family)
        return true;
    return is_same_ip(&s->addr, addr);
}

struct port_verdict ports_judge(const struct ports_facts *f, uint16_t port, const struct addr *addr,
                                enum port_protocol protocol)
{
    const struct look_socket *s;
    size_t n = ports_sockets(f, port, &s);
    struct port_verdict v = {.state = PORT_TAKEN};
    struct addr to_bind = *addr;

    for (size_t i = 0; i < n; i++)
        if (f->look->namespaces[s[i].namespace_i].is_ours && s[i].protocol == protocol &&
            ports_serves(&s[i], addr))
            return v;
    if (addr_is_set(addr))
        addr_set_port(&to_bind, port);
    v.code = addr_is_set(addr) ? bind_try(&to_bind, protocol) : bind_try_all(port, protocol);
    switch (v.code) {
    case 0:
        v.state = PORT_FREE;
        break;
    case EADDRINUSE:
        v.state = PORT_BLOCKED;
        break;
    case EADDRNOTAVAIL:
        v.state = PORT_NOT_HERE;
        break;
    default: /* EACCES, or what a wall around us says */
        v.state = PORT_DENIED;
    }
    return v;
}

const struct look_connections *ports_connections(const struct ports_facts *f, uint16_t port)
{
    const struct look_connections *all = f->look->connections;
    size_t low = 0, high = f->look->connections_n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (all[middle].port < port)
            low = middle + 1;
        else
            high = middle;
    }
    return low < f->look->connections_n && all[low].port == port ? &all[low] : NULL;
}

bool ports_hides_owners(const struct ports_facts *f)
{
    for (size_t i = 0; i < f->look->sockets_n; i++)
        if (f->look->sockets[i].processes_n == 0)
            return true;
    return false;
}

bool ports_is_detailed(const struct ports_facts *f, const struct target *target)
{
    return !f->is_overview && target->first == target->last;
}
