/* Names to addresses: c-ares bound to the loop. Its sockets become watches, its timeouts a
 * deadline.
 *
 * c-ares calls back from anywhere within a call to it, even at once. So an answer is only noted
 * there, in a list, and told when c-ares has returned to the loop. */
#include "lookup/resolver.h"

#include <ares.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

enum { TIMEOUT_MS = 1000, TRIES = 2, DNS_PORT = 53 };

struct resolver {
    struct loop *loop;
    ares_channel channel;
    struct deadline tick; /* c-ares' next timeout, or soon when an answer is to be told */
    struct list sockets;
    struct list answered;
    bool is_telling;
};

/* A socket of c-ares, which owns the descriptor. */
struct dns_socket {
    struct list node;
    struct watch watch;
    struct resolver *resolver;
    int fd;
};

struct question {
    struct list node; /* in `answered`; else c-ares alone knows it */
    struct resolver *resolver;
    resolver_done *done;
    void *arg;
    struct addr addresses[RESOLVER_ADDRESSES];
    size_t n;
    uint32_t ttl_s;
    uint16_t port;
    struct err err;
    char name[];
};

/* ---- answers ---- */

static void take_addresses(struct question *q, const struct ares_addrinfo *info)
{
    uint32_t ttl_s = UINT32_MAX;

    for (const struct ares_addrinfo_cname *c = info->cnames; c; c = c->next)
        if ((uint32_t)c->ttl < ttl_s)
            ttl_s = (uint32_t)c->ttl;
    for (const struct ares_addrinfo_node *node = info->nodes; node; node = node->ai_next) {
        struct sockaddr_storage ss = {0};

        if ((uint32_t)node->ai_ttl < ttl_s)
            ttl_s = (uint32_t)node->ai_ttl;
        if (q->n == RESOLVER_ADDRESSES || node->ai_addrlen > sizeof ss)
            continue;
        memcpy(&ss, node->ai_addr, node->ai_addrlen);
        q->addresses[q->n] = addr_from_sockaddr(&ss);
        if (!addr_is_set(&q->addresses[q->n]))
            continue;
        addr_set_port(&q->addresses[q->n], q->port);
        q->n++;
    }
    q->ttl_s = ttl_s;
}

static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
    struct question *q = arg;

    (void)timeouts;
    if (status == ARES_SUCCESS && info)
        take_addresses(q, info);
    if (q->n == 0)
        (void)err_set(&q->err, 0, "cannot resolve \"%s\": %s", q->name,
                      ares_strerror(status == ARES_SUCCESS ? ARES_ENODATA : status));
    if (info)
        ares_freeaddrinfo(info);
    list_append(&q->resolver->answered, &q->node);
}

static void tell_answers(struct resolver *r)
{
    r->is_telling = true;
    while (!list_empty(&r->answered)) {
        struct question *q = CONTAINER(r->answered.next, struct question, node);

        list_remove(&q->node);
        if (q->n)
            q->done(q->arg, q->addresses, q->n, q->ttl_s, NULL);
        else
            q->done(q->arg, NULL, 0, 0, &q->err);
        free(q);
    }
    r->is_telling = false;
}

/* ---- between c-ares and the loop ---- */

static void wait_on(struct resolver *r)
{
    struct timeval tv;

    if (!list_empty(&r->answered))
        deadline_set(r->loop, &r->tick, 0);
    else if (ares_timeout(r->channel, NULL, &tv))
        deadline_set(r->loop, &r->tick,
                     (uint64_t)tv.tv_sec * 1000 + ((uint64_t)tv.tv_usec + 999) / 1000);
    else
        deadline_clear(&r->tick);
}

static void go_on(struct resolver *r, int readable_fd, int writable_fd)
{
    ares_process_fd(r->channel, readable_fd, writable_fd);
    tell_answers(r);
    wait_on(r);
}

static void on_tick(struct deadline *d)
{
    go_on(CONTAINER(d, struct resolver, tick), ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

static void on_socket(struct watch *w, unsigned events)
{
    struct dns_socket *s = CONTAINER(w, struct dns_socket, watch);

    go_on(s->resolver, events & LOOP_READ ? s->fd : ARES_SOCKET_BAD,
          events & LOOP_WRITE ? s->fd : ARES_SOCKET_BAD);
}

static struct dns_socket *socket_of(struct resolver *r, int fd)
{
    list_for_each (it, &r->sockets) {
        struct dns_socket *s = CONTAINER(it, struct dns_socket, node);

        if (s->fd == fd)
            return s;
    }
    return NULL;
}

/* Called by c-ares with what it waits for on `fd`; neither: before it closes it. */
static void on_socket_state(void *arg, int fd, int wants_read, int wants_write)
{
    struct resolver *r = arg;
    struct dns_socket *s = socket_of(r, fd);

    if (!s) {
        if (!wants_read && !wants_write)
            return;
        s = calloc(1, sizeof *s);
        /* The question times out then. */
        if (!s)
            return;
        s->resolver = r;
        s->fd = fd;
        watch_init(&s->watch, fd, on_socket);
        list_append(&r->sockets, &s->node);
    }
    watch_set(r->loop, &s->watch,
              (wants_read ? (unsigned)LOOP_READ : 0) | (wants_write ? (unsigned)LOOP_WRITE : 0));
    if (!wants_read && !wants_write) {
        list_remove(&s->node);
        free(s);
    }
}

/* ---- asking ---- */

void resolver_resolve(struct resolver *r, const char *name, uint16_t port, resolver_done *done,
                      void *arg)
{
    static const struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC,
                                                     .ai_socktype = SOCK_STREAM};
    size_t n = strlen(name) + 1;
    struct question *q = calloc(1, sizeof *q + n);

    INSIST(q != NULL);
    q->resolver = r;
    q->done = done;
    q->arg = arg;
    q->port = port;
    memcpy(q->name, name, n);
    list_init(&q->node);
    ares_getaddrinfo(r->channel, q->name, NULL, &hints, on_answer, q);
    wait_on(r);
}

/* ---- making and freeing ---- */

static int parse_nameserver(const char *text, struct addr *out_addr, struct err *err)
{
    struct slice whole = slice_str(text), host;
    uint16_t port;

    if (addr_parse_ip(whole, DNS_PORT, out_addr))
        return 0;
    if (addr_split(whole, &host, &port, NULL) == 0 && port != 0 &&
        addr_parse_ip(host, port, out_addr))
        return 0;
    return err_set(err, 0, "nameserver \"%s\": write ip or ip:port, as in 192.0.2.53 or [::1]:5353",
                   text);
}

static int set_nameservers(struct resolver *r, const char *const *texts, size_t n, struct err *err)
{
    struct ares_addr_port_node *nodes = calloc(n, sizeof *nodes);
    int status;

    if (!nodes)
        return err_sys(err, ENOMEM, "the resolver");
    for (size_t i = 0; i < n; i++) {
        struct addr addr;

        if (parse_nameserver(texts[i], &addr, err) != 0) {
            free(nodes);
            return -1;
        }
        nodes[i].next = i + 1 < n ? &nodes[i + 1] : NULL;
        nodes[i].family = addr.sa.sa_family;
        nodes[i].udp_port = nodes[i].tcp_port = addr_port(&addr);
        if (addr.sa.sa_family == AF_INET)
            nodes[i].addr.addr4 = addr.in.sin_addr;
        else
            memcpy(&nodes[i].addr.addr6, &addr.in6.sin6_addr, sizeof nodes[i].addr.addr6);
    }
    status = ares_set_servers_ports(r->channel, nodes);
    free(nodes);
    if (status != ARES_SUCCESS)
        return err_set(err, 0, "the resolver: %s", ares_strerror(status));
    return 0;
}

struct resolver *resolver_new(struct loop *loop, const char *const *nameservers, size_t n,
                              struct err *err)
{
    struct resolver *r = calloc(1, sizeof *r);
    struct ares_options options = {
        .timeout = TIMEOUT_MS,
        .tries = TRIES,
        .sock_state_cb = on_socket_state,
        .sock_state_cb_data = r,
    };
    int status;

    if (!r) {
        (void)err_sys(err, ENOMEM, "the resolver");
        return NULL;
    }
    r->loop = loop;
    list_init(&r->sockets);
    list_init(&r->answered);
    deadline_init(&r->tick, on_tick);
    status = ares_library_init(ARES_LIB_INIT_ALL);
    if (status == ARES_SUCCESS) {
        status = ares_init_options(&r->channel, &options,
                                   ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB |
                                       ARES_OPT_NOROTATE);
        if (status != ARES_SUCCESS)
            ares_library_cleanup();
    }
    if (status != ARES_SUCCESS) {
        (void)err_set(err, 0, "the resolver: %s", ares_strerror(status));
        free(r);
        return NULL;
    }
    if (n && set_nameservers(r, nameservers, n, err) != 0)
        resolver_free(&r);
    return r;
}

void resolver_free(struct resolver **resolver)
{
    struct resolver *r = *resolver;

    if (!r)
        return;
    INSIST(!r->is_telling);
    /* Answers all questions that are open and closes its sockets. */
    ares_destroy(r->channel);
    ares_library_cleanup();
    deadline_clear(&r->tick);
    list_for_each_safe (it, &r->answered)
        free(CONTAINER(it, struct question, node));
    INSIST(list_empty(&r->sockets));
    free(r);
    *resolver = NULL;
}
