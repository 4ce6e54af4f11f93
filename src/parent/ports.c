/* Listening sockets: those that the service manager has passed, those that we open, and what of
 * both goes on under another configuration. */
#include "parent/ports.h"

#include "base/log.h"
#include "net/listen.h"
#include "ports/look.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void free_port(struct port *port)
{
    free(port->fds);
    free(port->title);
    free(port->address);
}

struct port *ports_add(struct ports *p, const struct conf_listener *l, unsigned listener,
                       const struct addr *addr, unsigned fds_n, struct err *err)
{
    struct port *more = reallocarray(p->all, p->n + 1, sizeof *more);
    struct port port = {.listener = listener, .addr = *addr};

    if (more)
        p->all = more;
    port.fds = calloc(fds_n + 1, sizeof(int));
    port.title = strdup(l->title);
    port.address = strdup(l->address);
    if (!more || !port.fds || !port.title || !port.address) {
        free_port(&port);
        err_set(err, ENOMEM, "out of memory");
        return NULL;
    }
    p->all[p->n] = port;
    return &p->all[p->n++];
}

int ports_name(struct port *port, const struct conf_listener *l)
{
    char *title = strdup(l->title), *address = strdup(l->address);

    free(port->title);
    free(port->address);
    port->title = title;
    port->address = address;
    return title && address ? 0 : -1;
}

/* NULL: there is none. */
static struct port *port_at(const struct ports *p, const struct addr *addr)
{
    for (size_t i = 0; i < p->n; i++) {
        if (addr_equals(&p->all[i].addr, addr))
            return &p->all[i];
    }
    return NULL;
}

void ports_log(const struct ports *p, const struct conf *conf, const struct ports *before)
{
    static const char *const tls_names[] = {"off", "starttls", "implicit"};

    for (size_t i = 0; i < p->n; i++) {
        const struct port *port = &p->all[i];
        struct log_line l;

        if (before && port_at(before, &port->addr))
            continue;
        log_begin(&l, LOG_LISTENING);
        log_str(&l, "listener", port->title);
        log_addr(&l, "address", &port->addr);
        log_str(&l, "tls", tls_names[conf->listeners[port->listener].tls]);
        if (port->is_passed)
            log_uint(&l, "passed", port->fds_n);
        log_end(&l);
    }
}

/* --- those that were passed
 * -------------------------------------------------------------------------------------------- */

/* Whose a socket is: the listener's of its name, else that of its address; -1: nobody's. */
static int listener_of(const struct conf *conf, const struct passed_socket *s)
{
    for (unsigned i = 0; i < conf->listeners_n; i++) {
        if (strcmp(conf->listeners[i].title, s->name) == 0)
            return (int)i;
    }
    for (unsigned i = 0; i < conf->listeners_n; i++) {
        if (passed_fits(&s->addr, conf->listeners[i].address))
            return (int)i;
    }
    return -1;
}

/* Several may have one address, by SO_REUSEPORT. */
static int take_socket(struct ports *p, const struct conf *conf, struct passed_socket *s, size_t n,
                       struct err *err)
{
    const int listener = listener_of(conf, s);
    char text[ADDR_TEXT];
    struct port *port;

    if (listener < 0)
        return err_set(err, EINVAL,
                       "descriptor %d \"%s\", which the service manager has passed, listens on %s "
                       "and fits no listener; give it a listener's name (FileDescriptorName=), or "
                       "a listener this address",
                       s->fd, s->name, addr_format(&s->addr, text));
    port = port_at(p, &s->addr);
    if (!port || port->listener != (unsigned)listener) {
        port = ports_add(p, &conf->listeners[listener], (unsigned)listener, &s->addr, (unsigned)n,
                         err);
        if (!port)
            return -1;
        port->is_passed = true;
    }
    port->fds[port->fds_n++] = s->fd;
    s->fd = -1;
    return 0;
}

/* --- those that we open
 * ------------------------------------------------------------------------------------------------
 */

/* Who is in the way, where the port is taken and the kernel tells. */
static void tell_who_has(const struct addr *addr, struct err *err)
{
    char text[ADDR_TEXT], who[256];

    if (err->code == EADDRINUSE && look_who(addr, PORT_TCP, who, sizeof who)[0])
        err_set(err, EADDRINUSE,
                "cannot listen on %s: it is taken by %s; `usher ports %u` tells more",
                addr_format(addr, text), who, addr_port(addr));
}

static bool is_any(const struct addr *a)
{
    return a->sa.sa_family == AF_INET6 ? IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr)
                                       : a->in.sin_addr.s_addr == INADDR_ANY;
}

/* Whether a socket of our own would be found by the trial, which cannot tell whose it is. */
static bool is_ours(const struct ports *old, const struct addr *addr)
{
    for (size_t i = 0; i < old->n; i++) {
        const struct addr *other = &old->all[i].addr;

        if (other->sa.sa_family == addr->sa.sa_family && addr_port(other) == addr_port(addr) &&
            (is_any(other) || is_any(addr) || addr_equals(other, addr)))
            return true;
    }
    return false;
}

/* At once at the start. For another configuration they only have their place until ports_listen():
 * by then the kernel would lead every second connection, say, to where nobody accepts yet, and
 * reset those if the change is refused. A port that other sockets of ours have is not tried. */
static int open_sockets(const struct ports *old, struct port *port, unsigned n, struct err *err)
{
    int done = 0;

    if (!old)
        done = listen_open(&port->addr, port->fds, n, err);
    else if (is_ours(old, &port->addr) || (done = listen_try(&port->addr, err)) == 0)
        done = listen_bind(&port->addr, port->fds, n, err);
    if (done < 0) {
        tell_who_has(&port->addr, err);
        return err_prefix(err, "listener %s", port->title);
    }
    port->fds_n = n;
    return 0;
}

/* The port in `p`, with the sockets that it needs beside those of `kept` (may be NULL). */
static int add_port(struct ports *p, const struct ports *old, const struct conf *conf,
                    unsigned listener, const struct addr *addr, const struct port *kept,
                    unsigned workers_n, struct err *err)
{
    unsigned more = !kept                                         ? workers_n
                    : kept->is_passed || kept->fds_n >= workers_n ? 0
                                                                  : workers_n - kept->fds_n;
    struct port *port = ports_add(p, &conf->listeners[listener], listener, addr, more, err);

    if (!port)
        return -1;
    port->is_passed = kept && kept->is_passed;
    return more == 0 ? 0 : open_sockets(old, port, more, err);
}

static int add_addresses(struct ports *p, const struct ports *old, const struct conf *conf,
                         unsigned listener, unsigned workers_n, struct err *err)
{
    struct addr addrs[2];
    int n = listen_addresses(conf->listeners[listener].address, addrs, err);

    if (n < 0)
        return err_prefix(err, "listener %s", conf->listeners[listener].title);
    for (int k = 0; k < n; k++) {
        /* "*:0" is one port on both families. */
        if (k > 0 && addr_port(&addrs[k]) == 0)
            addr_set_port(&addrs[k], addr_port(&p->all[p->n - 1].addr));
        if (add_port(p, old, conf, listener, &addrs[k], old ? port_at(old, &addrs[k]) : NULL,
                     workers_n, err) < 0)
            return -1;
    }
    return 0;
}

static bool has_port(const struct ports *p, unsigned listener)
{
    for (size_t i = 0; i < p->n; i++) {
        if (p->all[i].listener == listener)
            return true;
    }
    return false;
}

int ports_open(struct ports *p, const struct conf *conf, struct passed *passed, unsigned workers_n,
               struct err *err)
{
    for (size_t i = 0; i < passed->n; i++) {
        if (take_socket(p, conf, &passed->all[i], passed->n, err) < 0)
            return -1;
    }
    for (unsigned i = 0; i < conf->listeners_n; i++) {
        if (!has_port(p, i) && add_addresses(p, NULL, conf, i, workers_n, err) < 0)
            return -1;
    }
    return 0;
}

/* --- another configuration
 * ------------------------------------------------------------------------------------------------
 */

/* Whether what is open is what a listener asks for as a whole: it was written so before, which is
 * the only way to keep a port 0; or the service manager has passed it. */
static bool is_kept(const struct port *port, const struct conf_listener *l)
{
    if (port->is_passed && passed_fits(&port->addr, l->address))
        return true;
    return strcmp(port->title, l->title) == 0 && strcmp(port->address, l->address) == 0;
}

static int plan_listener(const struct ports *old, const struct conf *conf, unsigned listener,
                         unsigned workers_n, struct ports *p, struct err *err)
{
    const struct conf_listener *l = &conf->listeners[listener];

    for (size_t i = 0; i < old->n; i++) {
        if (is_kept(&old->all[i], l) && !port_at(p, &old->all[i].addr) &&
            add_port(p, old, conf, listener, &old->all[i].addr, &old->all[i], workers_n, err) < 0)
            return -1;
    }
    return has_port(p, listener) ? 0 : add_addresses(p, old, conf, listener, workers_n, err);
}

int ports_plan(const struct ports *old, const struct conf *conf, unsigned workers_n,
               struct ports *out_new, struct err *err)
{
    struct ports p = {0};

    for (unsigned i = 0; i < conf->listeners_n; i++) {
        if (plan_listener(old, conf, i, workers_n, &p, err) < 0) {
            ports_close(&p);
            return -1;
        }
    }
    *out_new = p;
    return 0;
}

int ports_listen(const struct ports *p, struct err *err)
{
    int done = 0;

    for (size_t i = 0; i < p->n; i++) {
        const struct port *port = &p->all[i];

        for (unsigned k = 0; k < port->fds_n; k++) {
            if (listen_begin(port->fds[k], &port->addr, err) < 0)
                done = err_prefix(err, "listener %s", port->title);
        }
    }
    return done;
}

int ports_take_over(struct ports *p, struct ports *old, struct err *err)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct port *from = port_at(old, &p->all[i].addr);
        unsigned n = p->all[i].fds_n + (from ? from->fds_n : 0);
        int *more = reallocarray(p->all[i].fds, n + 1, sizeof(int));

        if (!more)
            return err_set(err, ENOMEM, "out of memory");
        p->all[i].fds = more;
    }
    for (size_t i = 0; i < p->n; i++) {
        struct port *port = &p->all[i], *from = port_at(old, &port->addr);

        if (!from)
            continue;
        port->is_passed = from->is_passed;
        /* In front: they were there first, and keep their worker slots. */
        memmove(port->fds + from->fds_n, port->fds, port->fds_n * sizeof(int));
        memcpy(port->fds, from->fds, from->fds_n * sizeof(int));
        port->fds_n += from->fds_n;
        from->fds_n = 0;
    }
    return 0;
}

bool port_is_for(const struct port *port, unsigned workers_n, unsigned slot, unsigned i)
{
    const unsigned least = port->fds_n < workers_n ? port->fds_n : workers_n;

    return slot % least == i % least;
}

void ports_close(struct ports *p)
{
    for (size_t i = 0; i < p->n; i++) {
        for (unsigned k = 0; k < p->all[i].fds_n; k++)
            close(p->all[i].fds[k]);
        free_port(&p->all[i]);
    }
    free(p->all);
    *p = (struct ports){0};
}
