/* The fields of ID that tell of the client. */
#include "worker/forward.h"

#include "base/num.h"
#include "worker/session.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* As many proxies as a connection may pass, as with Dovecot. */
enum { TTL_FIRST = 5 };

/* x-originating-ip and -port, x-connected-ip and -port, x-proxy-ttl, x-session-id. */
enum { OUR_PAIRS = 6, OUR_TEXT = 64 };

struct forward {
    size_t n, texts_n;
    struct id_pair pairs[ID_PAIRS];
    char texts[OUR_PAIRS][OUR_TEXT];
};

/* The fields by which proxies tell each other of a client. */
static bool is_of_proxies(struct slice key)
{
    static const struct slice names[] = {
        SLICE("x-originating-ip"), SLICE("x-originating-port"), SLICE("x-connected-ip"),
        SLICE("x-connected-port"), SLICE("x-connected-name"),   SLICE("x-proxy-ttl"),
        SLICE("x-session-id"),     SLICE("x-session-ext-id"),   SLICE("x-client-transport"),
    };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (slice_ieq(key, names[i]))
            return true;
    }
    return slice_istarts(key, SLICE("x-forward-"));
}

static struct slice find(struct id said, struct slice key)
{
    for (size_t i = 0; i < said.n; i++) {
        if (slice_ieq(said.pairs[i].key, key))
            return said.pairs[i].value;
    }
    return slice_of(NULL, 0);
}

static void add(struct forward *f, struct slice key, struct slice value)
{
    if (f->n < ID_PAIRS)
        f->pairs[f->n++] = (struct id_pair){.key = key, .value = value};
}

/* A text of ours, kept in `f`. */
static void add_text(struct forward *f, const char *key, const char *text)
{
    char *kept = f->texts[f->texts_n++];

    INSIST(f->texts_n <= OUR_PAIRS);
    snprintf(kept, OUR_TEXT, "%s", text);
    add(f, slice_str(key), slice_str(kept));
}

static void add_addr(struct forward *f, const char *ip_key, const char *port_key,
                     const struct addr *a)
{
    char text[INET6_ADDRSTRLEN], port[8];
    const void *bytes = a->sa.sa_family == AF_INET6 ? (const void *)&a->in6.sin6_addr
                                                    : (const void *)&a->in.sin_addr;

    if (!addr_is_set(a) || !inet_ntop(a->sa.sa_family, bytes, text, sizeof text))
        return;
    snprintf(port, sizeof port, "%u", addr_port(a));
    add_text(f, ip_key, text);
    add_text(f, port_key, port);
}

int forward_believe(struct session *s, struct id said, struct err *err)
{
    struct slice ttl = find(said, SLICE("x-proxy-ttl"));
    uint64_t port = 0, left = TTL_FIRST + 1;
    struct addr client;

    s->phase->ttl = TTL_FIRST;
    if (!s->phase->is_trusted)
        return 0;
    if (ttl.n > 0 && (!num_parse(ttl, 255, &left) || left <= 1))
        return err_set(err, 0,
                       "x-proxy-ttl has run out: the proxies pass this login around in a loop");
    s->phase->ttl = (uint8_t)(left - 1);
    (void)num_parse(find(said, SLICE("x-originating-port")), 65535, &port);
    if (addr_parse_ip(find(said, SLICE("x-originating-ip")), (uint16_t)port, &client))
        s->peer = addr_unmapped(&client);
    return 0;
}

static void tell(struct forward *f, const struct session *s, struct id said)
{
    bool is_trusted = s->phase->is_trusted;
    char id[SESSION_ID_TEXT], text[8];
    struct slice session = is_trusted ? find(said, SLICE("x-session-id")) : slice_of(NULL, 0);

    add_addr(f, "x-originating-ip", "x-originating-port", &s->peer);
    add_addr(f, "x-connected-ip", "x-connected-port", &s->phase->local);
    snprintf(text, sizeof text, "%u", s->phase->ttl);
    add_text(f, "x-proxy-ttl", text);
    if (session.n > 0)
        add(f, SLICE("x-session-id"), session);
    else
        add_text(f, "x-session-id", session_id_text(s, id));
    for (size_t i = 0; is_trusted && i < said.n; i++) {
        if (slice_istarts(said.pairs[i].key, SLICE("x-forward-")))
            add(f, said.pairs[i].key, said.pairs[i].value);
    }
}

int forward_new(const struct session *s, struct id said, struct forward **out_forward,
                struct err *err)
{
    struct forward *f;

    *out_forward = NULL;
    if (said.n == 0 && !session_backend(s)->forward_id)
        return 0;
    f = calloc(1, sizeof *f);
    if (!f)
        return err_set(err, ENOMEM, "out of memory");
    /* Ours first: a client with 30 pairs does not push them out. */
    if (session_backend(s)->forward_id)
        tell(f, s, said);
    for (size_t i = 0; i < said.n && f->n < ID_PAIRS; i++) {
        if (!is_of_proxies(said.pairs[i].key))
            f->pairs[f->n++] = said.pairs[i];
    }
    *out_forward = f;
    return 0;
}

void forward_free(struct forward **f)
{
    free(*f);
    *f = NULL;
}

struct id forward_id(const struct forward *f)
{
    return f ? (struct id){f->pairs, f->n} : (struct id){NULL, 0};
}
