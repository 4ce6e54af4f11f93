/* Network addresses as values: IPv4 and IPv6 with a port. Parsing and printing only; sockets are
 * net/'s. */
#ifndef USHER_BASE_ADDR_H
#define USHER_BASE_ADDR_H

#include "base/err.h"
#include "base/slice.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* Family AF_UNSPEC (all zero) means: none. */
struct addr {
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    };
};

/* "[" 45 bytes of address "%" scope "]:" port, with NUL. */
enum { ADDR_TEXT = 80 };

static inline bool addr_is_set(const struct addr *a)
{
    return a->sa.sa_family != AF_UNSPEC;
}

/* Length for connect() and bind(). */
socklen_t addr_len(const struct addr *a);

uint16_t addr_port(const struct addr *a);
void addr_set_port(struct addr *a, uint16_t port);

/* Family, address, scope and port. Two that are not set are equal. */
bool addr_equals(const struct addr *a, const struct addr *b);

/* From what accept() or getsockname() gave; an IPv4-mapped IPv6 address becomes IPv4, another
 * family none. */
struct addr addr_from_sockaddr(const struct sockaddr_storage *ss);

/* The same of an address that was written, so that it compares as what accept() gives. */
struct addr addr_unmapped(const struct addr *a);

/* "192.0.2.1:143", "[2001:db8::1]:143"; "-" for none. Returns `out`. */
const char *addr_format(const struct addr *a, char out[ADDR_TEXT]);

/* A numeric address without brackets or port. Says whether it was one. */
bool addr_parse_ip(struct slice s, uint16_t port, struct addr *out_addr);

/* A network: an address (its port does not count) and how many of its bits count. */
struct addr_net {
    struct addr addr;
    unsigned bits;
};

/* "192.0.2.0/24", "2001:db8::/32", or an address alone, which is a network of itself. */
int addr_net_parse(struct slice s, struct addr_net *out_net, struct err *err) MUST_CHECK;

/* Of one family, and equal in the bits that count. An IPv4-mapped address is taken as IPv4. */
bool addr_in_net(const struct addr *a, const struct addr_net *net);

/* Cuts "host:port" or "[v6]:port" into its parts. Names no service: the port is a number, 0 to
 * 65535. */
int addr_split(struct slice s, struct slice *out_host, uint16_t *out_port,
               struct err *err) MUST_CHECK;

#endif
