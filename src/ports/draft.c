/* The memory of a look that is being taken, and what becomes of a socket that is seen. */
#include "ports/look_parts.h"

#include "base/list.h"
#include "base/utf8.h"
#include "ports/paths.h"

#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PORTS = 65536, CHUNK = 16384 };

/* Texts are put one behind the other and freed together. */
struct draft_text {
    struct draft_text *next;
    size_t used, cap;
    char bytes[];
};

struct look_draft *draft_new(void)
{
    return calloc(1, sizeof(struct look_draft));
}

void look_free(struct look **look)
{
    struct look_draft *d;

    if (!*look)
        return;
    d = CONTAINER(*look, struct look_draft, look);
    for (struct draft_text *text = d->texts, *next; text; text = next) {
        next = text->next;
        free(text);
    }
    free(d->look.sockets);
    free(d->look.processes);
    free(d->look.namespaces);
    free(d->look.connections);
    free(d->ways);
    free(d->rows);
    free(d->owners);
    free(d);
    *look = NULL;
}

void *draft_room(void *p, size_t n, size_t *cap, size_t size)
{
    size_t more = *cap ? *cap * 2 : 16;

    if (n < *cap)
        return p;
    p = more <= SIZE_MAX / size ? realloc(p, more * size) : NULL;
    if (p)
        *cap = more;
    return p;
}

/* --- texts ------------------------------------------------------------------------------------ */

/* Room for `n` bytes, to be followed by adding to `used`. */
static struct draft_text *room_for_text(struct look_draft *d, size_t n)
{
    struct draft_text *text = d->texts;
    size_t cap = n > CHUNK ? n : CHUNK;

    if (text && text->cap - text->used >= n)
        return text;
    text = malloc(sizeof *text + cap);
    if (!text)
        return NULL;
    *text = (struct draft_text){.next = d->texts, .cap = cap};
    d->texts = text;
    return text;
}

const char *draft_copy(struct look_draft *d, struct slice bytes)
{
    struct draft_text *text = room_for_text(d, bytes.n + 1);
    char *to;

    if (!text)
        return NULL;
    to = text->bytes + text->used;
    if (bytes.n > 0)
        memcpy(to, bytes.p, bytes.n);
    to[bytes.n] = '\0';
    text->used += bytes.n + 1;
    return to;
}

/* How many bytes at the start may be shown as they are: one character, or none. */
static size_t showable(struct slice s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t n = utf8_char(s);

    if (n == 1 && (p[0] < ' ' || p[0] == 0x7f))
        return 0;
    /* U+0080 to U+009F are control characters too. */
    return n == 2 && p[0] == 0xc2 && p[1] < 0xa0 ? 0 : n;
}

const char *draft_text(struct look_draft *d, struct slice bytes, size_t most)
{
    struct draft_text *text = room_for_text(d, most + 1);
    size_t n = 0, whole = 0; /* up to where "..." can still follow */
    char *to;

    if (!text)
        return NULL;
    to = text->bytes + text->used;
    while (bytes.n > 0) {
        size_t as_it_is = showable(bytes), taken = as_it_is ? as_it_is : 1;
        size_t put = as_it_is ? as_it_is : sizeof "\\x00" - 1;

        if (n + put > most) {
            memcpy(to + whole, "...", 3);
            n = whole + 3;
            break;
        }
        if (as_it_is)
            memcpy(to + n, bytes.p, put);
        else
            snprintf(to + n, put + 1, "\\x%02x", (unsigned char)bytes.p[0]);
        n += put;
        if (n + 3 <= most)
            whole = n;
        bytes = slice_sub(bytes, taken, bytes.n);
    }
    to[n] = '\0';
    text->used += n + 1;
    return to;
}

/* --- namespaces, sockets, connections --------------------------------------------------------- */

struct look_namespace *draft_namespace(struct look_draft *d, uint64_t inode)
{
    size_t n = d->look.namespaces_n, ways_cap = d->namespaces_cap;
    struct draft_way *ways = draft_room(d->ways, n, &ways_cap, sizeof *ways);
    struct look_namespace *namespaces;

    if (!ways)
        return NULL;
    d->ways = ways;
    namespaces = draft_room(d->look.namespaces, n, &d->namespaces_cap, sizeof *namespaces);
    if (!namespaces)
        return NULL;
    d->look.namespaces = namespaces;
    ways[n] = (struct draft_way){0};
    namespaces[n] = (struct look_namespace){.inode = inode, .name = ""};
    d->look.namespaces_n++;
    return &namespaces[n];
}

static struct look_socket *new_socket(struct look_draft *d)
{
    struct look_socket *sockets =
        draft_room(d->look.sockets, d->look.sockets_n, &d->sockets_cap, sizeof *sockets);
    struct look_socket *s;

    if (!sockets)
        return NULL;
    d->look.sockets = sockets;
    s = &sockets[d->look.sockets_n++];
    *s = (struct look_socket){.path = "", .interface = "", .namespace_i = d->here, .group = 1};
    return s;
}

static int count_connection(struct look_draft *d, uint16_t port, unsigned state, struct err *err)
{
    if (state >= LOOK_TCP_STATES)
        return 0;
    if (!d->rows)
        d->rows = calloc(PORTS, sizeof *d->rows);
    if (!d->rows)
        return draft_no_memory(err);
    if (d->rows[port] == 0) {
        struct look_connections *rows = draft_room(d->look.connections, d->look.connections_n,
                                                   &d->connections_cap, sizeof *rows);

        if (!rows)
            return draft_no_memory(err);
        d->look.connections = rows;
        rows[d->look.connections_n++] = (struct look_connections){.port = port};
        d->rows[port] = (uint32_t)d->look.connections_n;
    }
    d->look.connections[d->rows[port] - 1].by_state[state]++;
    return 0;
}

void draft_forget_connections(struct look_draft *d)
{
    for (size_t i = 0; i < d->look.connections_n; i++)
        d->rows[d->look.connections[i].port] = 0;
    d->look.connections_n = 0;
}

static const char *interface_name(struct look_draft *d, unsigned interface)
{
    char name[IF_NAMESIZE + 16];

    if (interface == 0)
        return "";
    if (!if_indextoname(interface, name))
        snprintf(name, sizeof name, "interface %u", interface);
    return draft_text(d, slice_str(name), TEXT_MOST);
}

static bool is_any_ipv6(const struct addr *a)
{
    return a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr);
}

int draft_seen(struct look_draft *d, const struct seen_socket *seen, struct err *err)
{
    uint16_t port = addr_port(&seen->addr);
    struct look_socket *s;
    const char *interface;

    if (port == 0 || !(d->ports[port / 64] >> port % 64 & 1))
        return 0;
    if (seen->protocol == PORT_TCP && seen->state != LOOK_TCP_LISTEN && !d->lists_connections)
        return count_connection(d, port, seen->state, err);
    interface = interface_name(d, seen->interface);
    s = interface ? new_socket(d) : NULL;
    if (!s)
        return draft_no_memory(err);
    s->protocol = seen->protocol;
    s->addr = addr_unmapped(&seen->addr);
    s->takes_ipv4 = !seen->is_v6only && is_any_ipv6(&s->addr);
    s->interface = interface;
    s->uid = seen->uid;
    s->inode = seen->inode;
    s->queue = seen->queue;
    s->backlog = seen->protocol == PORT_TCP ? seen->backlog : 0;
    if (s->addr.sa.sa_family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&s->addr.in6.sin6_addr))
        s->addr.in6.sin6_scope_id = seen->interface;
    return 0;
}

int draft_seen_unix(struct look_draft *d, const struct seen_unix *seen, struct err *err)
{
    struct slice name = seen->name;
    struct look_socket *s;
    const char *path;
    char abstract[256];

    if (name.n == 0 || name.n > sizeof abstract || !path_is_imap(name))
        return 0;
    if (name.p[0] == '\0') {
        memcpy(abstract, name.p, name.n);
        abstract[0] = '@';
        name.p = abstract;
    }
    path = draft_text(d, name, TEXT_MOST);
    s = path ? new_socket(d) : NULL;
    if (!s)
        return draft_no_memory(err);
    s->path = path;
    s->uid = seen->uid;
    s->inode = seen->inode;
    s->queue = seen->queue;
    s->backlog = seen->backlog;
    return 0;
}

/* --- order ------------------------------------------------------------------------------------ */

static int compare_numbers(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int compare_addrs(const struct addr *a, const struct addr *b)
{
    if (a->sa.sa_family != b->sa.sa_family)
        return a->sa.sa_family == AF_INET ? -1 : 1;
    return a->sa.sa_family == AF_INET6
               ? memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, sizeof a->in6.sin6_addr)
               : memcmp(&a->in.sin_addr, &b->in.sin_addr, sizeof a->in.sin_addr);
}

/* All but the inode: equal ones share an address. */
static int compare_places(const struct look_socket *a, const struct look_socket *b)
{
    bool is_unix = a->path[0] != '\0';
    int order;

    if (is_unix != (b->path[0] != '\0'))
        return is_unix ? 1 : -1;
    order = is_unix ? 0 : compare_numbers(addr_port(&a->addr), addr_port(&b->addr));
    if (!order)
        order = compare_numbers(a->namespace_i, b->namespace_i);
    if (is_unix)
        return order ? order : strcmp(a->path, b->path);
    if (!order)
        order = compare_numbers(a->protocol, b->protocol);
    if (!order)
        order = compare_addrs(&a->addr, &b->addr);
    if (!order)
        order = strcmp(a->interface, b->interface);
    return order ? order : compare_numbers(a->takes_ipv4, b->takes_ipv4);
}

static int compare_sockets(const void *a, const void *b)
{
    const struct look_socket *x = a, *y = b;
    int order = compare_places(x, y);

    return order ? order : compare_numbers(x->inode, y->inode);
}

static int compare_connections(const void *a, const void *b)
{
    const struct look_connections *x = a, *y = b;

    return compare_numbers(x->port, y->port);
}

/* The kernel tells of a socket twice when its table changes while it is told. */
static void leave_out_repeated(struct look *look)
{
    size_t kept = 0;

    for (size_t i = 0; i < look->sockets_n; i++) {
        struct look_socket *s = &look->sockets[i];

        if (kept == 0 || s->inode == 0 || compare_sockets(&look->sockets[kept - 1], s) != 0)
            look->sockets[kept++] = *s;
    }
    look->sockets_n = kept;
}

static void count_groups(struct look *look)
{
    for (size_t i = 0, end; i < look->sockets_n; i = end) {
        for (end = i + 1; end < look->sockets_n; end++) {
            if (compare_places(&look->sockets[i], &look->sockets[end]) != 0)
                break;
        }
        for (size_t k = i; k < end; k++)
            look->sockets[k].group = look->sockets[k].path[0] ? 1 : (uint32_t)(end - i);
    }
}

void draft_sort(struct look_draft *d)
{
    struct look *look = &d->look;

    if (look->sockets_n > 0)
        qsort(look->sockets, look->sockets_n, sizeof *look->sockets, compare_sockets);
    if (look->connections_n > 0)
        qsort(look->connections, look->connections_n, sizeof *look->connections,
              compare_connections);
    leave_out_repeated(look);
    count_groups(look);
}
