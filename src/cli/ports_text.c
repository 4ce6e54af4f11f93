/* usher ports for people: each port with all that is known of it, or a table of many. */
#include "cli/ports_page.h"

#include "ports/custom.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A range of more ports is shown without those where nobody listens. */
enum { RANGE_WHOLE_MOST = 32 };

/* Sockets of one address and interface: SO_REUSEPORT makes several of what is one to people. */
struct place {
    const struct look_socket *first;
    size_t n;
    uint64_t queue, backlog;
    const struct look_process **processes; /* each once */
    size_t processes_n;
};

static bool is_same_place(const struct look_socket *a, const struct look_socket *b)
{
    return a->protocol == b->protocol && a->namespace_i == b->namespace_i &&
           a->takes_ipv4 == b->takes_ipv4 && strcmp(a->interface, b->interface) == 0 &&
           strcmp(a->path, b->path) == 0 && addr_equals(&a->addr, &b->addr);
}

static bool has_process(const struct place *p, const struct look_process *process)
{
    for (size_t i = 0; i < p->processes_n; i++)
        if (p->processes[i] == process)
            return true;
    return false;
}

/* The place of the sockets that begin at `s`, at most `n`. The caller frees its processes; without
 * memory it has none. */
static struct place place_of(const struct look *look, const struct look_socket *s, size_t n)
{
    struct place p = {.first = s};
    size_t most = 0;

    while (p.n < n && is_same_place(s, &s[p.n])) {
        most += s[p.n].processes_n;
        p.queue += s[p.n].queue;
        p.backlog += s[p.n].backlog;
        p.n++;
    }
    p.processes = most > 0 ? reallocarray(NULL, most, sizeof *p.processes) : NULL;
    if (!p.processes)
        return p;
    for (size_t i = 0; i < p.n; i++)
        for (size_t k = 0; k < s[i].processes_n; k++) {
            const struct look_process *process = &look->processes[s[i].processes_i[k]];

            if (!has_process(&p, process))
                p.processes[p.processes_n++] = process;
        }
    return p;
}

/* What a port is called: by IANA for TCP, else for another protocol, else by custom; "". */
static const char *name_of(uint16_t port)
{
    const struct custom_port *rows;
    const char *other = "";
    size_t first, n = iana_find(port, &first);

    for (size_t i = first; i < first + n; i++) {
        struct iana_entry e = iana_entry(i);

        if (!iana_is_assigned(&e))
            continue;
        if (e.protocols & 1U << PORT_TCP)
            return e.service;
        if (!other[0])
            other = e.service;
    }
    return other[0] || custom_find(port, &rows) == 0 ? other : rows[0].name;
}

static enum term_style style_of(enum port_state state)
{
    switch (state) {
    case PORT_TAKEN:
        return TERM_BOLD;
    case PORT_FREE:
        return TERM_GOOD;
    case PORT_BLOCKED:
        return TERM_BAD;
    case PORT_DENIED:
    case PORT_NOT_HERE:
        return TERM_WARN;
    }
    return TERM_PLAIN;
}

/* --- listeners -------------------------------------------------------------------------------- */

enum { SHOWN_PROCESSES = 6 };

static const char *unit_of(const struct look_process *p)
{
    return p->container[0] ? p->container : p->unit;
}

static void namespace_cell(const struct page *page, struct table *t, const struct look_socket *s)
{
    const struct look_namespace *n = &page->f->look->namespaces[s->namespace_i];

    if (n->is_ours || n->name[0])
        table_cell(t, TERM_WARN, "%s", n->is_ours ? "" : n->name);
    else
        table_cell(t, TERM_WARN, "net:[%llu]", (unsigned long long)n->inode);
}

static void owner_cells(struct table *t, const struct place *p, size_t i)
{
    if (i < p->processes_n) {
        const struct look_process *process = p->processes[i];

        table_cell(t, TERM_PLAIN, "%s", process->user);
        table_cell(t, TERM_PLAIN, "%d", (int)process->pid);
        table_cell(t, TERM_BOLD, "%s", process->name);
        table_cell(t, TERM_PLAIN, "%s", unit_of(process));
    } else {
        const struct passwd *user = getpwuid(p->first->uid);

        if (user)
            table_cell(t, TERM_PLAIN, "%s", user->pw_name);
        else if (p->first->uid == UINT32_MAX)
            table_cell(t, TERM_DIM, "?");
        else
            table_cell(t, TERM_PLAIN, "%u", p->first->uid);
        table_cell(t, TERM_PLAIN, "%s", "");
        table_cell(t, TERM_DIM, "?");
        table_cell(t, TERM_PLAIN, "%s", "");
    }
}

/* Blank but for the process. */
static void further_processes(struct table *t, const struct place *p, size_t blanks)
{
    for (size_t i = 1; i < p->processes_n && i <= SHOWN_PROCESSES; i++) {
        const size_t more = p->processes_n - i;

        table_row(t);
        for (size_t k = 0; k < blanks; k++)
            table_cell(t, TERM_PLAIN, "%s", "");
        if (i == SHOWN_PROCESSES && more > 1) {
            table_cell(t, TERM_PLAIN, "%s", "");
            table_cell(t, TERM_PLAIN, "%s", "");
            table_cell(t, TERM_DIM, "and %zu more", more);
            return;
        }
        owner_cells(t, p, i);
        table_cell(t, TERM_PLAIN, "%s", "");
        table_cell(t, TERM_DIM, "%s", p->processes[i]->command);
    }
}

static const char *families_of(const struct look_socket *s)
{
    if (s->addr.sa.sa_family == AF_INET)
        return "4";
    return s->takes_ipv4 ? "4+6" : "6";
}

static void listener_row(const struct page *page, struct table *t, const struct place *p)
{
    const struct look_socket *s = p->first;
    char text[ADDR_TEXT];

    table_row(t);
    table_cell(t, TERM_BOLD, "%s%s%s", addr_format(&s->addr, text), s->interface[0] ? "%" : "",
               s->interface);
    table_cell(t, TERM_PLAIN, "%s", port_protocol_name(s->protocol));
    table_cell(t, TERM_PLAIN, "%s", families_of(s));
    if (p->n > 1)
        table_cell(t, TERM_PLAIN, "%zu", p->n);
    else
        table_cell(t, TERM_PLAIN, "%s", "");
    if (s->protocol == PORT_TCP)
        table_cell(t, p->queue >= p->backlog && p->backlog > 0 ? TERM_BAD : TERM_PLAIN, "%llu/%llu",
                   (unsigned long long)p->queue, (unsigned long long)p->backlog);
    else
        table_cell(t, TERM_PLAIN, "%llu", (unsigned long long)p->queue);
    owner_cells(t, p, 0);
    namespace_cell(page, t, s);
    table_cell(t, TERM_DIM, "%s", p->processes_n > 0 ? p->processes[0]->command : "");
    further_processes(t, p, 5);
}

static const struct table_column listener_columns[] = {
    {.title = "LISTENER"},
    {.title = "PROTO"},
    {.title = "IP"},
    {.title = "SOCKETS", .is_right = true},
    {.title = "QUEUE", .is_right = true},
    {.title = "USER"},
    {.title = "PID", .is_right = true},
    {.title = "PROCESS"},
    {.title = "UNIT", .may_cut = true},
    {.title = "NAMESPACE"},
    {.title = "COMMAND", .may_cut = true},
};

static void show_listeners(struct page *page, const struct target *target)
{
    const struct look_socket *s;
    size_t n = ports_sockets(page->f, target->first, &s);
    struct table t;

    table_init(&t, listener_columns, sizeof listener_columns / sizeof *listener_columns);
    t.indent = PAGE_INDENT;
    for (size_t i = 0; i < n;) {
        struct place p = place_of(page->f->look, &s[i], n - i);

        if (ports_serves(&s[i], &target->addr))
            listener_row(page, &t, &p);
        i += p.n;
        free(p.processes);
    }
    page_table(page, &t);
}

/* --- one port --------------------------------------------------------------------------------- */

/* Root of a user namespace has the capability, and not over a network from outside: bind tells. */
static bool may_bind(const struct page *page, const struct target *t)
{
    return page->f->machine.may_bind_all &&
           ports_judge(page->f, t->first, &t->addr, PORT_TCP).code != EACCES;
}

static void show_class(struct page *page, const struct target *t)
{
    const struct machine *m = &page->f->machine;
    const uint16_t port = t->first;
    const enum port_class class = port_class(port);
    char right[160], ephemeral[120] = "";
    uint16_t first, last;

    port_class_range(class, &first, &last);
    if (port >= m->unprivileged_from)
        snprintf(right, sizeof right, "any user may bind it");
    else
        snprintf(right, sizeof right, "to bind it takes CAP_NET_BIND_SERVICE%s",
                 may_bind(page, t) ? ", which we have" : ", which we do not have");
    if (machine_is_ephemeral(m, port))
        snprintf(ephemeral, sizeof ephemeral,
                 "; in this machine's ephemeral range (%u-%u): a connection that goes out may have "
                 "it first",
                 m->ephemeral_first, m->ephemeral_last);
    else if (port >= m->ephemeral_first && port <= m->ephemeral_last)
        snprintf(ephemeral, sizeof ephemeral,
                 "; reserved here (ip_local_reserved_ports), not ephemeral");
    page_field(page, "class", TERM_PLAIN, "%s (%u-%u): %s%s", port_class_name(class), first, last,
               right, ephemeral);
}

static void show_neighbours(struct page *page, const char *label, uint16_t port)
{
    struct iana_entry below, above;
    const bool has_below = iana_below(port, &below), has_above = iana_above(port, &above);

    if (has_below && has_above)
        page_field(page, label, TERM_PLAIN, "not assigned; neighbours are %u %s and %u %s",
                   below.port, below.service, above.port, above.service);
    else if (has_below)
        page_field(page, label, TERM_PLAIN, "not assigned; the last that is: %u %s", below.port,
                   below.service);
    else
        page_field(page, label, TERM_PLAIN, "not assigned");
}

static void show_registry(struct page *page, uint16_t port)
{
    size_t first, n = iana_find(port, &first);
    bool is_assigned = false;

    for (size_t i = first; i < first + n; i++) {
        struct iana_entry e = iana_entry(i);
        char protocols[32] = "";

        is_assigned |= iana_is_assigned(&e);
        for (unsigned p = 0; p < PORT_PROTOCOLS; p++)
            if (e.protocols & 1U << p)
                snprintf(protocols + strlen(protocols), sizeof protocols - strlen(protocols),
                         "%s%s", protocols[0] ? "," : "",
                         port_protocol_name((enum port_protocol)p));
        page_field(page, i == first ? "IANA" : "", TERM_PLAIN, "%s %s%s%s", protocols, e.service,
                   e.service[0] && e.description[0] ? ": " : "", e.description);
    }
    if (!is_assigned)
        show_neighbours(page, n == 0 ? "IANA" : "", port);
    for (unsigned p = 0; p < PORT_PROTOCOLS; p++) {
        const char *name = services_differs(page->f->services, port, (enum port_protocol)p);

        if (name)
            page_field(page, "services", TERM_PLAIN, "%s here (/etc/services, %s)", name,
                       port_protocol_name((enum port_protocol)p));
    }
}

static void show_custom(struct page *page, uint16_t port)
{
    const struct custom_port *rows;
    size_t n = custom_find(port, &rows);

    for (size_t i = 0; i < n; i++) {
        page_field(page, i == 0 ? "unofficial" : "", TERM_PLAIN, "%s: %s%s%s%s", rows[i].name,
                   rows[i].what, rows[i].who[0] ? " (" : "", rows[i].who,
                   rows[i].who[0] ? ")" : "");
        page_field(page, "", TERM_DIM, "%s", rows[i].source);
    }
}

static void show_connections(struct page *page, const struct target *t)
{
    const struct look_connections *c = ports_connections(page->f, t->first);
    char text[256] = "";

    for (unsigned state = 1; c && state < LOOK_TCP_STATES; state++)
        if (c->by_state[state] > 0)
            snprintf(text + strlen(text), sizeof text - strlen(text), "%s%u %s",
                     text[0] ? ", " : "", c->by_state[state], look_state_name(state));
    if (text[0])
        page_field(page, "connections", TERM_PLAIN, "%s%s", text,
                   addr_is_set(&t->addr) ? ", at any of our addresses" : "");
}

/* What a state means, and what is to be done. */
static void show_state(struct page *page, const struct target *t, enum port_protocol protocol)
{
    const struct port_verdict v = ports_judge(page->f, t->first, &t->addr, protocol);
    const char *name = port_protocol_name(protocol);

    switch (v.state) {
    case PORT_TAKEN:
        break;
    case PORT_FREE:
        page_field(page, name, TERM_GOOD, "free: nobody listens, and a bind to %s has worked",
                   addr_is_set(&t->addr) ? "the address" : "every address");
        break;
    case PORT_DENIED:
        page_field(page, name, TERM_WARN, "nobody listens; to prove that it is free is denied: %s",
                   strerror(v.code));
        break;
    case PORT_BLOCKED:
        page_field(page, name, TERM_BAD,
                   "blocked: no listener is seen, but bind says \"%s\". A socket is bound and does "
                   "not listen, or it is the near end of a connection: `ss -anp 'sport = :%u'`",
                   strerror(v.code), t->first);
        break;
    case PORT_NOT_HERE:
        page_field(page, name, TERM_WARN, "this machine does not have the address%s",
                   page->f->with_probe ? "" : "; --probe asks it");
        break;
    }
}

static void show_heading(struct page *page, const struct target *t)
{
    const char *name = name_of(t->first);
    struct addr ignored;
    char text[ADDR_TEXT];
    enum port_protocol last = page->f->with_udp ? PORT_UDP : PORT_TCP;

    page_style(page, TERM_BOLD, "Port %u", t->first);
    if (name[0])
        page_style(page, TERM_BOLD, " (%s)", name);
    if (t->host[0])
        page_style(page, TERM_PLAIN, " at %s", t->host);
    if (t->host[0] && !addr_parse_ip(slice_str(t->host), 0, &ignored))
        page_style(page, TERM_DIM, " (%s)", addr_format(&t->addr, text));
    for (unsigned p = PORT_TCP; p <= last; p++) {
        enum port_state state =
            ports_judge(page->f, t->first, &t->addr, (enum port_protocol)p).state;

        page_style(page, TERM_PLAIN, "%s ", p == PORT_TCP ? ":" : ",");
        if (page->f->with_udp)
            page_style(page, TERM_PLAIN, "%s ", port_protocol_name((enum port_protocol)p));
        page_style(page, style_of(state), "%s", port_state_name(state));
    }
    fputs("\n", page->out);
}

static void show_port(struct page *page, const struct target *t)
{
    show_heading(page, t);
    show_class(page, t);
    show_registry(page, t->first);
    show_custom(page, t->first);
    show_state(page, t, PORT_TCP);
    if (page->f->with_udp)
        show_state(page, t, PORT_UDP);
    show_connections(page, t);
    show_listeners(page, t);
}

/* --- many ports ------------------------------------------------------------------------------- */

static const struct table_column port_columns[] = {
    {.title = "PORT", .is_right = true},
    {.title = "SERVICE"},
    {.title = "STATE"},
    {.title = "LISTENER"},
    {.title = "PROTO"},
    {.title = "USER"},
    {.title = "PID", .is_right = true},
    {.title = "PROCESS"},
    {.title = "UNIT", .may_cut = true},
    {.title = "NAMESPACE"},
};

static void port_cells(struct table *t, uint16_t port, enum port_state state)
{
    const char *name = name_of(port);

    table_row(t);
    table_cell(t, TERM_BOLD, "%u", port);
    table_cell(t, TERM_PLAIN, "%s", name);
    table_cell(t, style_of(state), "%s", port_state_name(state));
}

/* Whether any of the sockets makes the port taken. */
static bool is_taken(const struct page *page, const struct target *target,
                     const struct look_socket *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (page->f->look->namespaces[s[i].namespace_i].is_ours &&
            ports_serves(&s[i], &target->addr))
            return true;
    return false;
}

/* Returns what becomes of the port. */
static enum port_state port_rows(const struct page *page, struct table *t,
                                 const struct target *target, uint16_t port, bool with_free)
{
    const struct look_socket *s;
    size_t n = ports_sockets(page->f, port, &s), shown = 0;
    const enum port_state state = is_taken(page, target, s, n)
                                      ? PORT_TAKEN
                                      : ports_judge(page->f, port, &target->addr, PORT_TCP).state;

    with_free |= state == PORT_BLOCKED;
    for (size_t i = 0; i < n;) {
        struct place p = place_of(page->f->look, &s[i], n - i);
        char text[ADDR_TEXT];

        if (ports_serves(&s[i], &target->addr)) {
            if (shown++ == 0) {
                port_cells(t, port, state);
            } else {
                table_row(t);
                for (int k = 0; k < 3; k++)
                    table_cell(t, TERM_PLAIN, "%s", "");
            }
            table_cell(t, TERM_PLAIN, "%s", addr_format(&s[i].addr, text));
            table_cell(t, TERM_PLAIN, "%s", port_protocol_name(s[i].protocol));
            owner_cells(t, &p, 0);
            namespace_cell(page, t, &s[i]);
        }
        i += p.n;
        free(p.processes);
    }
    if (shown == 0 && with_free)
        port_cells(t, port, state);
    return state;
}

static void show_range(struct page *page, const struct target *target)
{
    const unsigned n = (unsigned)target->last - target->first + 1;
    struct table t;
    unsigned taken = 0, blocked = 0;
    char words[48] = "";

    table_init(&t, port_columns, sizeof port_columns / sizeof *port_columns);
    for (unsigned port = target->first; port <= target->last; port++) {
        enum port_state state = port_rows(page, &t, target, (uint16_t)port, n <= RANGE_WHOLE_MOST);

        taken += state == PORT_TAKEN;
        blocked += state == PORT_BLOCKED;
    }
    page_table(page, &t);
    if (blocked > 0)
        snprintf(words, sizeof words, ", %u %s blocked", blocked, blocked == 1 ? "is" : "are");
    page_note(page, "%u of the %u ports from %u to %u %s taken%s.", taken, n, target->first,
              target->last, taken == 1 ? "is" : "are", words);
}

static void show_overview(struct page *page)
{
    struct table t;

    table_init(&t, port_columns, sizeof port_columns / sizeof *port_columns);
    for (size_t i = 0; i < page->f->targets_n; i++)
        (void)port_rows(page, &t, &page->f->targets[i], page->f->targets[i].first, true);
    page_table(page, &t);
}

/* --- the whole -------------------------------------------------------------------------------- */

static const struct table_column unix_columns[] = {
    {.title = "UNIX SOCKETS OF IMAP SERVERS"},
    {.title = "QUEUE", .is_right = true},
    {.title = "USER"},
    {.title = "PID", .is_right = true},
    {.title = "PROCESS"},
    {.title = "UNIT", .may_cut = true},
};

static void show_unix(struct page *page)
{
    const struct look *look = page->f->look;
    struct table t;

    table_init(&t, unix_columns, sizeof unix_columns / sizeof *unix_columns);
    for (size_t i = 0; i < look->sockets_n; i++) {
        struct place p;

        if (addr_is_set(&look->sockets[i].addr))
            continue;
        p = place_of(look, &look->sockets[i], 1);
        table_row(&t);
        table_cell(&t, TERM_PLAIN, "%s", look->sockets[i].path);
        table_cell(&t, TERM_PLAIN, "%u/%u", p.first->queue, p.first->backlog);
        owner_cells(&t, &p, 0);
        free(p.processes);
    }
    if (t.rows_n > 0)
        fputs("\n", page->out);
    page_table(page, &t);
}

static void show_notes(struct page *page)
{
    const struct ports_facts *f = page->f;

    if (ports_hides_owners(f) && geteuid() != 0)
        page_note(page,
                  "The processes of other users are hidden from us (%zu of them). As root, `sudo "
                  "usher ports ...` tells which have the sockets above.",
                  f->look->hidden_processes);
    else if (ports_hides_owners(f))
        page_note(page, "A socket without a process is the kernel's own, or of a process that is "
                        "hidden from us: of the host that runs this container, for example.");
    if (f->look->hidden_namespaces > 0)
        page_note(
            page,
            "Other network namespaces (of containers?) are closed to us, %zu in all; root may "
            "look into them.",
            f->look->hidden_namespaces);
    if (f->probes_left_out > 0)
        page_note(page, "%zu more addresses were not asked: %d are the most.", f->probes_left_out,
                  PORTS_PROBES_MAX);
}

int ports_show_text(const struct ports_facts *f, struct err *err)
{
    struct page page = page_of(f, stdout);

    if (f->is_overview)
        show_overview(&page);
    for (size_t i = 0; i < f->targets_n && !f->is_overview; i++) {
        if (i > 0)
            fputs("\n", stdout);
        if (ports_is_detailed(f, &f->targets[i]))
            show_port(&page, &f->targets[i]);
        else
            show_range(&page, &f->targets[i]);
        page_probes(&page, &f->targets[i]);
    }
    if (f->is_overview)
        for (size_t i = 0; i < f->targets_n; i++)
            page_probes(&page, &f->targets[i]);
    show_unix(&page);
    show_notes(&page);
    return page.is_failed ? err_set(err, ENOMEM, "out of memory") : 0;
}
