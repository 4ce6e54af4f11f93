/* usher ports --json: one object on standard output. Names stay as they are; docs/ports.md lists
 * them. A port is a line, made and forgotten one after the other, since a range may have all of
 * them. */
#include "cli/ports_facts.h"
#include "ports/custom.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* Jansson refuses what is NULL, so memory that is out shows where a value is put. */
struct writer {
    const struct ports_facts *f;
    bool is_failed;
};

static void put(struct writer *w, json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new(object, key, value) != 0)
        w->is_failed = true;
}

static void append(struct writer *w, json_t *array, json_t *value)
{
    if (json_array_append_new(array, value) != 0)
        w->is_failed = true;
}

static json_t *number(uint64_t n)
{
    return json_integer((json_int_t)n);
}

/* -1 is nobody's number, and stands for one that is not known. */
static json_t *user_number(uint32_t uid)
{
    return uid == UINT32_MAX ? json_null() : number(uid);
}

/* "" is null: not known. */
static json_t *text(const char *s)
{
    return s && s[0] ? json_string(s) : json_null();
}

static json_t *ip_text(const struct addr *addr)
{
    char all[ADDR_TEXT];
    char *end;

    if (!addr_is_set(addr))
        return json_null();
    addr_format(addr, all);
    end = strrchr(all, ':');
    if (end)
        *end = '\0';
    if (all[0] != '[')
        return json_string(all);
    all[strlen(all) - 1] = '\0';
    return json_string(all + 1);
}

static json_t *neighbour(struct writer *w, bool is_there, const struct iana_entry *e)
{
    json_t *o;

    if (!is_there)
        return json_null();
    o = json_object();
    put(w, o, "port", number(e->port));
    put(w, o, "service", text(e->service));
    return o;
}

static json_t *iana(struct writer *w, uint16_t port)
{
    json_t *all = json_array();
    size_t first;
    size_t n = iana_find(port, &first);

    for (size_t i = first; i < first + n; i++) {
        struct iana_entry e = iana_entry(i);

        for (unsigned p = 0; p < PORT_PROTOCOLS; p++) {
            json_t *o;

            if (!(e.protocols & 1U << p))
                continue;
            o = json_object();
            put(w, o, "protocol", json_string(port_protocol_name((enum port_protocol)p)));
            put(w, o, "service", text(e.service));
            put(w, o, "description", text(e.description));
            append(w, all, o);
        }
    }
    return all;
}

static json_t *neighbours(struct writer *w, uint16_t port)
{
    json_t *o = json_object();
    struct iana_entry e;
    bool is_there = iana_below(port, &e);

    put(w, o, "below", neighbour(w, is_there, &e));
    is_there = iana_above(port, &e);
    put(w, o, "above", neighbour(w, is_there, &e));
    return o;
}

static json_t *services_file(struct writer *w, uint16_t port)
{
    json_t *o = json_object();

    for (unsigned p = 0; p < PORT_PROTOCOLS; p++) {
        const char *name = services_find(w->f->services, port, (enum port_protocol)p);

        if (name)
            put(w, o, port_protocol_name((enum port_protocol)p), json_string(name));
    }
    return o;
}

static json_t *custom(struct writer *w, uint16_t port)
{
    json_t *all = json_array();
    const struct custom_port *rows;
    size_t n = custom_find(port, &rows);

    for (size_t i = 0; i < n; i++) {
        json_t *o = json_object();

        put(w, o, "name", json_string(rows[i].name));
        put(w, o, "what", json_string(rows[i].what));
        put(w, o, "who", text(rows[i].who));
        put(w, o, "source", json_string(rows[i].source));
        append(w, all, o);
    }
    return all;
}

static json_t *process(struct writer *w, const struct look_process *p)
{
    json_t *o = json_object();

    put(w, o, "pid", number((uint64_t)p->pid));
    put(w, o, "name", json_string(p->name));
    put(w, o, "command", text(p->command));
    put(w, o, "uid", user_number(p->uid));
    put(w, o, "user", text(p->user));
    put(w, o, "unit", text(p->unit));
    put(w, o, "container", text(p->container));
    return o;
}

static json_t *processes(struct writer *w, const struct look_socket *s)
{
    json_t *all = json_array();

    for (size_t i = 0; i < s->processes_n; i++)
        append(w, all, process(w, &w->f->look->processes[s->processes_i[i]]));
    return all;
}

static json_t *namespace(struct writer *w, const struct look_namespace *n)
{
    json_t *o = json_object();

    put(w, o, "inode", number(n->inode));
    put(w, o, "name", text(n->name));
    put(w, o, "pid", n->pid ? number((uint64_t)n->pid) : json_null());
    put(w, o, "ours", json_boolean(n->is_ours));
    return o;
}

static json_t *listener(struct writer *w, const struct look_socket *s)
{
    const struct look_namespace *n = &w->f->look->namespaces[s->namespace_i];
    json_t *o = json_object();

    if (addr_is_set(&s->addr)) {
        put(w, o, "protocol", json_string(port_protocol_name(s->protocol)));
        put(w, o, "family", json_string(s->addr.sa.sa_family == AF_INET6 ? "ipv6" : "ipv4"));
        put(w, o, "address", ip_text(&s->addr));
        put(w, o, "port", number(addr_port(&s->addr)));
        put(w, o, "dual_stack", json_boolean(s->takes_ipv4));
        put(w, o, "interface", text(s->interface));
    } else {
        put(w, o, "protocol", json_string("unix"));
        put(w, o, "path", json_string(s->path));
    }
    put(w, o, "uid", user_number(s->uid));
    put(w, o, "inode", number(s->inode));
    put(w, o, "queue", number(s->queue));
    put(w, o, "backlog", number(s->backlog));
    put(w, o, "sharing", number(s->group));
    put(w, o, "namespace", n->is_ours ? json_null() : namespace(w, n));
    put(w, o, "processes", processes(w, s));
    return o;
}

static json_t *connections(struct writer *w, uint16_t port)
{
    const struct look_connections *c = ports_connections(w->f, port);
    json_t *o = json_object();

    for (unsigned state = 1; c && state < LOOK_TCP_STATES; state++)
        if (c->by_state[state] > 0)
            put(w, o, look_state_name(state), number(c->by_state[state]));
    return o;
}

static json_t *verdict(struct writer *w, uint16_t port, const struct addr *addr,
                       enum port_protocol protocol)
{
    struct port_verdict v = ports_judge(w->f, port, addr, protocol);
    json_t *o = json_object();

    put(w, o, "state", json_string(port_state_name(v.state)));
    put(w, o, "error", v.code ? json_string(strerror(v.code)) : json_null());
    return o;
}

static json_t *words(struct writer *w, const char *s)
{
    json_t *all = json_array();

    while (*s) {
        size_t n = strcspn(s, " ");

        if (n > 0)
            append(w, all, json_stringn(s, n));
        s += n + (s[n] == ' ');
    }
    return all;
}

static json_t *seconds(int64_t s)
{
    return json_integer(s);
}

static json_t *certificate(struct writer *w, const struct probe_report *r)
{
    json_t *o, *names = json_array();

    if (!r->has_certificate) {
        json_decref(names);
        return json_null();
    }
    o = json_object();
    for (size_t i = 0; i < r->certificate.names_n; i++)
        append(w, names, json_string(r->certificate.names[i]));
    put(w, o, "subject", text(r->subject));
    put(w, o, "issuer", text(r->issuer));
    put(w, o, "names", names);
    put(w, o, "key", text(r->certificate.key_kind));
    put(w, o, "not_before", seconds(r->certificate.not_before));
    put(w, o, "not_after", seconds(r->certificate.not_after));
    put(w, o, "untrusted", text(r->untrusted));
    return o;
}

static json_t *probe_proxy(struct writer *w, const struct probe_report *r)
{
    json_t *all = json_array();

    if (r->proxy & PROBE_PROXY_V1)
        append(w, all, json_string("v1"));
    if (r->proxy & PROBE_PROXY_V2)
        append(w, all, json_string("v2"));
    return all;
}

static json_t *probe(struct writer *w, const struct ports_probe *p)
{
    const struct probe_report *r = p->report;
    json_t *o = json_object();

    put(w, o, "host", text(p->name));
    put(w, o, "address", ip_text(&p->addr));
    put(w, o, "port", number(addr_port(&p->addr)));
    put(w, o, "connected", json_boolean(r->is_connected));
    put(w, o, "trouble", text(r->trouble));
    put(w, o, "speaks", json_string(speaks_key(r->speaks)));
    put(w, o, "proxy_header", probe_proxy(w, r));
    put(w, o, "implicit_tls", json_boolean(r->is_implicit_tls));
    put(w, o, "starttls", json_boolean(r->offers_starttls));
    put(w, o, "greeting", text(r->greeting));
    put(w, o, "server", text(r->server));
    put(w, o, "capabilities", words(w, r->caps_clear));
    put(w, o, "capabilities_tls", words(w, r->caps_tls));
    put(w, o, "tls_version", text(r->tls_version));
    put(w, o, "tls_cipher", text(r->tls_cipher));
    put(w, o, "certificate", certificate(w, r));
    return o;
}

static json_t *probes(struct writer *w, const struct target *t, uint16_t port)
{
    json_t *all = json_array();

    for (size_t i = 0; i < w->f->probes_n; i++)
        if (w->f->probes[i].target == t && addr_port(&w->f->probes[i].addr) == port)
            append(w, all, probe(w, &w->f->probes[i]));
    return all;
}

static json_t *port_object(struct writer *w, const struct target *t, uint16_t port)
{
    json_t *o = json_object();

    put(w, o, "port", number(port));
    put(w, o, "host", text(t->host));
    put(w, o, "class", json_string(port_class_name(port_class(port))));
    put(w, o, "privileged", json_boolean(port < w->f->machine.unprivileged_from));
    put(w, o, "ephemeral", json_boolean(machine_is_ephemeral(&w->f->machine, port)));
    put(w, o, "reserved", json_boolean(machine_is_reserved(&w->f->machine, port)));
    put(w, o, "iana", iana(w, port));
    put(w, o, "neighbours", neighbours(w, port));
    put(w, o, "services_file", services_file(w, port));
    put(w, o, "custom", custom(w, port));
    put(w, o, "tcp", verdict(w, port, &t->addr, PORT_TCP));
    put(w, o, "udp", w->f->with_udp ? verdict(w, port, &t->addr, PORT_UDP) : json_null());
    put(w, o, "connections", connections(w, port));
    put(w, o, "probes", probes(w, t, port));
    return o;
}

static int dump_as(struct writer *w, json_t *o, const char *before, size_t flags, struct err *err)
{
    int done;

    if (w->is_failed || !o) {
        json_decref(o);
        return err_set(err, ENOMEM, "out of memory");
    }
    fputs(before, stdout);
    done = json_dumpf(o, stdout, flags);
    json_decref(o);
    /* With the stream in order it is memory that Jansson lacks. */
    return done == 0 || ferror(stdout) ? 0 : err_set(err, ENOMEM, "out of memory");
}

static int dump(struct writer *w, json_t *o, const char *before, struct err *err)
{
    return dump_as(w, o, before, 0, err);
}

/* One by one: whoever may listen decides how many there are, and how many processes have them. */
static int dump_listeners(struct writer *w, const struct look_socket *s, size_t n,
                          const struct addr *addr, struct err *err)
{
    const char *before = "[";

    for (size_t i = 0; i < n; i++) {
        if (addr && !ports_serves(&s[i], addr))
            continue;
        if (dump(w, listener(w, &s[i]), before, err) != 0)
            return -1;
        before = ", ";
    }
    fputs(*before == '[' ? "[]" : "]", stdout);
    return 0;
}

static int dump_port(struct writer *w, const struct target *t, uint16_t port, const char *before,
                     struct err *err)
{
    const struct look_socket *s;
    size_t n = ports_sockets(w->f, port, &s);

    fputs(before, stdout);
    if (dump_as(w, port_object(w, t, port), "{", JSON_EMBED, err) != 0)
        return -1;
    fputs(", \"listeners\": ", stdout);
    if (dump_listeners(w, s, n, &t->addr, err) != 0)
        return -1;
    fputs("}", stdout);
    return 0;
}

static int dump_ports(struct writer *w, struct err *err)
{
    const char *before = "\n";

    for (size_t i = 0; i < w->f->targets_n; i++) {
        const struct target *t = &w->f->targets[i];

        for (unsigned port = t->first; port <= t->last; port++) {
            if (dump_port(w, t, (uint16_t)port, before, err) != 0)
                return -1;
            before = ",\n";
        }
    }
    return 0;
}

int ports_show_json(const struct ports_facts *f, struct err *err)
{
    struct writer w = {.f = f};
    size_t first = 0; /* of the unix sockets, which are last */

    while (first < f->look->sockets_n && addr_is_set(&f->look->sockets[first].addr))
        first++;
    fputs("{\"ports\": [", stdout);
    if (dump_ports(&w, err) != 0)
        return -1;
    printf("\n],\n\"hidden_processes\": %zu, \"hidden_namespaces\": %zu,\n\"unix\": ",
           f->look->hidden_processes, f->look->hidden_namespaces);
    if (dump_listeners(&w, f->look->sockets + first, f->look->sockets_n - first, NULL, err) != 0)
        return -1;
    fputs("}\n", stdout);
    return 0;
}

int ports_show_free_json(const uint16_t *ports, size_t n, struct err *err)
{
    struct writer w = {0};
    json_t *o = json_object(), *all = json_array();

    for (size_t i = 0; i < n; i++)
        append(&w, all, number(ports[i]));
    put(&w, o, "free", all);
    if (dump(&w, o, "", err) != 0)
        return -1;
    fputs("\n", stdout);
    return 0;
}
