/* Clients' addresses and the networks that limits and penalties count as one. Pure.
 *
 * An address is kept in 16 bytes: IPv4 as IPv4-mapped IPv6, so that a client that a dual-stack
 * socket shows as one and a proxy as the other is the same; none as ::.
 */
#ifndef USHER_CONTROL_NETWORK_H
#define USHER_CONTROL_NETWORK_H

#include "base/addr.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

/* The bits behind `bits` are zero. No bits: no network. */
struct network {
    struct in6_addr prefix;
    uint8_t bits;
};

/* Without the port. */
struct in6_addr network_client(const struct addr *client);

/* Back again, with port 0, IPv4 as such. */
struct addr network_address(const struct in6_addr *client);

static inline bool network_is_ipv4(const struct in6_addr *client)
{
    return IN6_IS_ADDR_V4MAPPED(client);
}

/* `bits` of the 128: those of an IPv4 address count from 96. */
struct network network_of(const struct in6_addr *client, unsigned bits);

bool network_eq(const struct network *a, const struct network *b);

/* The address without its port and without brackets, as in "192.0.2.1", "2001:db8::1"; "" for none.
 * Returns `out`. */
const char *network_format(const struct in6_addr *client, char out[INET6_ADDRSTRLEN]);

#endif
