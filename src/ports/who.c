/* Who has an address, in one line for an error. */
#include "ports/look_parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Processes that are named; the others are counted. */
enum { NAMED = 3 };

struct line {
    char *out;
    size_t n, cap;
};

static void add(struct line *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void add(struct line *l, const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(l->out + l->n, l->cap - l->n, fmt, ap);
    va_end(ap);
    l->n += n < 0 ? 0 : (size_t)n;
    if (l->n >= l->cap)
        l->n = l->cap - 1;
}

static bool is_any(const struct addr *a)
{
    return a->sa.sa_family == AF_INET6 ? IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr)
                                       : a->in.sin_addr.s_addr == htonl(INADDR_ANY);
}

static bool is_same_ip(const struct addr *a, const struct addr *b)
{
    if (a->sa.sa_family == AF_INET)
        return a->in.sin_addr.s_addr == b->in.sin_addr.s_addr;
    return IN6_ARE_ADDR_EQUAL(&a->in6.sin6_addr, &b->in6.sin6_addr) &&
           (a->in6.sin6_scope_id == 0 || b->in6.sin6_scope_id == 0 ||
            a->in6.sin6_scope_id == b->in6.sin6_scope_id);
}

/* Whether bind(2) to `addr`, of IPv6 for IPv6 alone, meets the socket. The port is the same. */
static bool meets(const struct look_socket *s, const struct addr *addr)
{
    if (s->path[0])
        return false;
    if (s->addr.sa.sa_family != addr->sa.sa_family)
        return addr->sa.sa_family == AF_INET && s->takes_ipv4;
    return is_any(addr) || is_any(&s->addr) || is_same_ip(addr, &s->addr);
}

/* --- words ------------------------------------------------------------------------------------ */

/* Workers of one server: they are one to whoever reads of them. */
static bool is_same_server(const struct look_process *a, const struct look_process *b)
{
    return strcmp(a->name, b->name) == 0 && strcmp(a->unit, b->unit) == 0 &&
           strcmp(a->container, b->container) == 0;
}

static void add_process(struct line *l, const struct look_process *p)
{
    add(l, "%s (pid %d, user %s", p->name, (int)p->pid, p->user);
    if (p->unit[0])
        add(l, ", %s", p->unit);
    if (p->container[0])
        add(l, ", %s", p->container);
    add(l, ")");
}

/* Processes are sorted by pid: the parent, which most likely is the lowest, speaks for its
 * workers. */
static void add_processes(struct line *l, const struct look *look, const bool *has_it)
{
    const struct look_process *named[NAMED];
    size_t named_n = 0, others = 0;

    for (size_t i = 0; i < look->processes_n; i++) {
        const struct look_process *p = &look->processes[i];
        bool is_new = has_it[i] && named_n < NAMED;

        for (size_t k = 0; is_new && k < named_n; k++)
            is_new = !is_same_server(named[k], p);
        if (is_new)
            named[named_n++] = p;
        else
            others += has_it[i];
    }
    for (size_t k = 0; k < named_n; k++) {
        if (k > 0)
            add(l, "%s", k + 1 == named_n && others == 0 ? " and " : ", ");
        add_process(l, named[k]);
    }
    if (others > 0)
        add(l, " and %zu more process%s", others, others == 1 ? "" : "es");
}

/* --- looking ---------------------------------------------------------------------------------- */

/* Whether anybody has the address. */
static bool tell(struct line *l, const struct look *look, const struct addr *addr)
{
    const struct look_socket *nobodys = NULL;
    char user[USER_TEXT];
    bool *has_it = calloc(look->processes_n + 1, sizeof *has_it);
    bool is_seen = false;

    for (size_t i = 0; has_it && i < look->sockets_n; i++) {
        const struct look_socket *s = &look->sockets[i];

        if (!meets(s, addr))
            continue;
        for (size_t k = 0; k < s->processes_n; k++)
            has_it[s->processes_i[k]] = is_seen = true;
        if (s->processes_n == 0)
            nobodys = s;
    }
    if (is_seen)
        add_processes(l, look, has_it);
    else if (nobodys)
        add(l, "a process of user %s that is hidden from us", owners_user(nobodys->uid, user));
    free(has_it);
    return is_seen || nobodys;
}

static struct look *take(const struct addr *addr, uint32_t tcp_states, uint32_t udp_states)
{
    uint64_t ports[65536 / 64] = {0};
    struct look_draft *d = draft_new();
    struct look *look;

    if (!d)
        return NULL;
    ports[addr_port(addr) / 64] |= UINT64_C(1) << addr_port(addr) % 64;
    d->ports = ports;
    d->tcp_states = tcp_states;
    d->udp_states = udp_states;
    d->lists_connections = true;
    return look_take_draft(d, false, &look, NULL) == 0 ? look : NULL;
}

/* Who listens comes first; else it is a connection that goes out from the port, or a server that
 * has not begun to listen. */
const char *look_who(const struct addr *addr, enum port_protocol protocol, char *out, size_t cap)
{
    struct addr asked = addr_unmapped(addr);
    struct line l = {.out = out, .cap = cap};
    bool is_tcp = protocol == PORT_TCP;
    struct look *look;

    INSIST(cap > 0);
    out[0] = '\0';
    if (!addr_is_set(&asked) || (!is_tcp && protocol != PORT_UDP))
        return out;
    look = take(&asked, is_tcp ? STATES_LISTEN : 0, is_tcp ? 0 : STATES_UDP_UNCONNECTED);
    if (look && tell(&l, look, &asked)) {
        look_free(&look);
        return out;
    }
    look_free(&look);
    look = take(&asked, is_tcp ? STATES_CONNECTIONS | STATES_BOUND : 0,
                is_tcp ? 0 : STATES_UDP_CONNECTED);
    if (look && tell(&l, look, &asked) && is_tcp)
        add(&l, ", which does not listen there");
    look_free(&look);
    return out;
}
