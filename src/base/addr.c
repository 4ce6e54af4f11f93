/* Network addresses: parsing and printing. */
#include "base/addr.h"

#include "base/num.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

socklen_t addr_len(const struct addr *a)
{
    return a->sa.sa_family == AF_INET6 ? sizeof a->in6 : sizeof a->in;
}

uint16_t addr_port(const struct addr *a)
{
    return ntohs(a->sa.sa_family == AF_INET6 ? a->in6.sin6_port : a->in.sin_port);
}

void addr_set_port(struct addr *a, uint16_t port)
{
    if (a->sa.sa_family == AF_INET6)
        a->in6.sin6_port = htons(port);
    else
        a->in.sin_port = htons(port);
}

bool addr_equals(const struct addr *a, const struct addr *b)
{
    if (a->sa.sa_family != b->sa.sa_family)
        return false;
    if (a->sa.sa_family == AF_INET)
        return a->in.sin_port == b->in.sin_port && a->in.sin_addr.s_addr == b->in.sin_addr.s_addr;
    if (a->sa.sa_family == AF_INET6)
        return a->in6.sin6_port == b->in6.sin6_port &&
               a->in6.sin6_scope_id == b->in6.sin6_scope_id &&
               IN6_ARE_ADDR_EQUAL(&a->in6.sin6_addr, &b->in6.sin6_addr);
    return true;
}

struct addr addr_from_sockaddr(const struct sockaddr_storage *ss)
{
    struct addr a;

    memset(&a, 0, sizeof a);
    if (ss->ss_family == AF_INET) {
        memcpy(&a.in, ss, sizeof a.in);
    } else if (ss->ss_family == AF_INET6) {
        memcpy(&a.in6, ss, sizeof a.in6);
        if (IN6_IS_ADDR_V4MAPPED(&a.in6.sin6_addr)) {
            struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = a.in6.sin6_port};

            memcpy(&in.sin_addr, &a.in6.sin6_addr.s6_addr[12], 4);
            memset(&a, 0, sizeof a);
            a.in = in;
        }
    }
    return a;
}

struct addr addr_unmapped(const struct addr *a)
{
    struct sockaddr_storage ss;

    memset(&ss, 0, sizeof ss);
    memcpy(&ss, a, sizeof *a);
    return addr_from_sockaddr(&ss);
}

const char *addr_format(const struct addr *a, char out[ADDR_TEXT])
{
    char ip[INET6_ADDRSTRLEN] = "";
    char scope[IF_NAMESIZE + 1] = "";

    switch (a->sa.sa_family) {
    case AF_INET:
        inet_ntop(AF_INET, &a->in.sin_addr, ip, sizeof ip);
        snprintf(out, ADDR_TEXT, "%s:%u", ip, addr_port(a));
        break;
    case AF_INET6:
        inet_ntop(AF_INET6, &a->in6.sin6_addr, ip, sizeof ip);
        if (a->in6.sin6_scope_id)
            snprintf(scope, sizeof scope, "%%%u", a->in6.sin6_scope_id);
        snprintf(out, ADDR_TEXT, "[%s%s]:%u", ip, scope, addr_port(a));
        break;
    default:
        snprintf(out, ADDR_TEXT, "-");
    }
    return out;
}

bool addr_parse_ip(struct slice s, uint16_t port, struct addr *out_addr)
{
    char text[INET6_ADDRSTRLEN];
    struct addr a;

    if (s.n == 0 || s.n >= sizeof text || slice_has(s, '\0'))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    memset(&a, 0, sizeof a);
    if (inet_pton(AF_INET, text, &a.in.sin_addr) == 1)
        a.in.sin_family = AF_INET;
    else if (inet_pton(AF_INET6, text, &a.in6.sin6_addr) == 1)
        a.in6.sin6_family = AF_INET6;
    else
        return false;
    addr_set_port(&a, port);
    *out_addr = a;
    return true;
}

int addr_net_parse(struct slice s, struct addr_net *out_net, struct err *err)
{
    const char *slash = s.n ? memchr(s.p, '/', s.n) : NULL;
    size_t host_n = slash ? (size_t)(slash - s.p) : s.n;
    struct addr_net net;
    uint64_t bits;
    unsigned most;

    if (!addr_parse_ip(slice_sub(s, 0, host_n), 0, &net.addr))
        return err_set(err, 0, "\"%.*s\" is no network; write ip or ip/bits, as in 192.0.2.0/24",
                       SLICE_ARG(s));
    most = net.addr.sa.sa_family == AF_INET6 ? 128 : 32;
    bits = most;
    if (slash && !num_parse(slice_sub(s, host_n + 1, s.n), most, &bits))
        return err_set(err, 0, "\"%.*s\": the number behind the slash must be from 0 to %u",
                       SLICE_ARG(s), most);
    net.bits = (unsigned)bits;
    /* Whoever comes from such a network is known by IPv4. */
    if (most == 128 && bits >= 96 && IN6_IS_ADDR_V4MAPPED(&net.addr.in6.sin6_addr)) {
        net.addr = addr_unmapped(&net.addr);
        net.bits -= 96;
    }
    *out_net = net;
    return 0;
}

static const unsigned char *address_bytes(const struct addr *a)
{
    return a->sa.sa_family == AF_INET6 ? a->in6.sin6_addr.s6_addr
                                       : (const unsigned char *)&a->in.sin_addr;
}

bool addr_in_net(const struct addr *a, const struct addr_net *net)
{
    const unsigned char *x = address_bytes(a), *y = address_bytes(&net->addr);
    unsigned whole = net->bits / 8, rest = net->bits % 8;

    if (a->sa.sa_family != net->addr.sa.sa_family || memcmp(x, y, whole) != 0)
        return false;
    return rest == 0 || (x[whole] ^ y[whole]) >> (8 - rest) == 0;
}

int addr_split(struct slice s, struct slice *out_host, uint16_t *out_port, struct err *err)
{
    struct slice host, port;
    uint64_t number;
    size_t colon = s.n;

    while (colon > 0 && s.p[colon - 1] != ':')
        colon--;
    if (colon == 0)
        return err_set(err, 0, "\"%.*s\" has no port; write host:port", SLICE_ARG(s));
    host = slice_sub(s, 0, colon - 1);
    port = slice_sub(s, colon, s.n);
    if (!num_parse(port, 65535, &number))
        return err_set(err, 0, "\"%.*s\" is not a port; write a number from 0 to 65535",
                       SLICE_ARG(port));
    if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = slice_sub(host, 1, host.n - 1);
    else if (slice_has(host, ':'))
        return err_set(err, 0, "write the IPv6 address in brackets: [%.*s]:%u", SLICE_ARG(host),
                       (unsigned)number);
    if (host.n == 0)
        return err_set(err, 0, "\"%.*s\" has no host; write host:port", SLICE_ARG(s));
    *out_host = host;
    *out_port = (uint16_t)number;
    return 0;
}
