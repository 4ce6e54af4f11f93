/* Listening sockets: those that the service manager has passed, and those that we open. */
#include "base/log.h"
#include "net/listen.h"
#include "parent/internal.h"
#include "ports/look.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct port *add_port(struct parent *p, unsigned listener, unsigned fds_n, struct err *err)
{
    struct port *more = realloc(p->ports, (p->ports_n + 1) * sizeof *more);
    struct port *port;

    if (more) {
        p->ports = more;
        port = &more[p->ports_n];
        *port = (struct port){.listener = listener, .fds = calloc(fds_n, sizeof(int))};
        if (port->fds) {
            p->ports_n++;
            return port;
        }
    }
    err_set(err, ENOMEM, "out of memory");
    return NULL;
}

static void log_port(const struct parent *p, const struct port *port)
{
    static const char *const tls_names[] = {"off", "starttls", "implicit"};
    const struct conf_listener *listener = &p->conf->listeners[port->listener];
    struct log_line l;

    log_begin(&l, LOG_LISTENING);
    log_str(&l, "listener", listener->title);
    log_addr(&l, "address", &port->addr);
    log_str(&l, "tls", tls_names[listener->tls]);
    if (port->is_passed)
        log_uint(&l, "passed", port->fds_n);
    log_end(&l);
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
static struct port *port_at(struct parent *p, unsigned listener, const struct addr *addr)
{
    for (size_t i = 0; i < p->ports_n; i++) {
        struct port *port = &p->ports[i];

        if (port->listener == listener && addr_equals(&port->addr, addr))
            return port;
    }
    return NULL;
}

static int take_socket(struct parent *p, struct passed_socket *s, struct err *err)
{
    const int listener = listener_of(p->conf, s);
    char text[ADDR_TEXT];
    struct port *port;

    if (listener < 0)
        return err_set(err, EINVAL,
                       "descriptor %d \"%s\", which the service manager has passed, listens on %s "
                       "and fits no listener; give it a listener's name (FileDescriptorName=), or "
                       "a listener this address",
                       s->fd, s->name, addr_format(&s->addr, text));
    port = port_at(p, (unsigned)listener, &s->addr);
    if (!port) {
        port = add_port(p, (unsigned)listener, (unsigned)p->passed.n, err);
        if (!port)
            return -1;
        port->addr = s->addr;
        port->is_passed = true;
    }
    port->fds[port->fds_n++] = s->fd;
    s->fd = -1;
    return 0;
}

static int take_passed(struct parent *p, struct err *err)
{
    for (size_t i = 0; i < p->passed.n; i++) {
        if (take_socket(p, &p->passed.all[i], err) < 0)
            return -1;
    }
    for (size_t i = 0; i < p->ports_n; i++)
        log_port(p, &p->ports[i]);
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

static int open_port(struct parent *p, unsigned listener, const struct addr *addr, struct err *err)
{
    struct port *port = add_port(p, listener, p->workers_n, err);

    if (!port)
        return -1;
    port->addr = *addr;
    if (listen_open(&port->addr, port->fds, p->workers_n, err) < 0) {
        tell_who_has(addr, err);
        return err_prefix(err, "listener %s", p->conf->listeners[listener].title);
    }
    port->fds_n = p->workers_n;
    log_port(p, port);
    return 0;
}

static int open_listener(struct parent *p, unsigned listener, struct err *err)
{
    struct addr addrs[2];
    int n = listen_addresses(p->conf->listeners[listener].address, addrs, err);

    if (n < 0)
        return err_prefix(err, "listener %s", p->conf->listeners[listener].title);
    for (int k = 0; k < n; k++) {
        /* "*:0" is one port on both families. */
        if (k > 0 && addr_port(&addrs[k]) == 0)
            addr_set_port(&addrs[k], addr_port(&p->ports[p->ports_n - 1].addr));
        if (open_port(p, listener, &addrs[k], err) < 0)
            return -1;
    }
    return 0;
}

static bool has_port(const struct parent *p, unsigned listener)
{
    for (size_t i = 0; i < p->ports_n; i++) {
        if (p->ports[i].listener == listener)
            return true;
    }
    return false;
}

int ports_open(struct parent *p, struct err *err)
{
    if (take_passed(p, err) < 0)
        return -1;
    for (unsigned i = 0; i < p->conf->listeners_n; i++) {
        if (!has_port(p, i) && open_listener(p, i, err) < 0)
            return -1;
    }
    return 0;
}

bool port_is_for(const struct parent *p, const struct port *port, unsigned slot, unsigned i)
{
    const unsigned least = port->fds_n < p->workers_n ? port->fds_n : p->workers_n;

    return slot % least == i % least;
}

void ports_close(struct parent *p)
{
    for (size_t i = 0; i < p->ports_n; i++) {
        for (unsigned k = 0; k < p->ports[i].fds_n; k++)
            close(p->ports[i].fds[k]);
        free(p->ports[i].fds);
    }
    free(p->ports);
    p->ports = NULL;
    p->ports_n = 0;
}
