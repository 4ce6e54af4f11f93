/* Addresses and networks of clients: cutting, comparing, printing. */
#include "control/network.h"

#include <arpa/inet.h>
#include <string.h>

enum { MAPPED_BITS = 96 };

struct in6_addr network_client(const struct addr *client)
{
    struct addr plain = addr_unmapped(client);
    struct in6_addr out = IN6ADDR_ANY_INIT;

    if (plain.sa.sa_family == AF_INET6) {
        out = plain.in6.sin6_addr;
    } else if (plain.sa.sa_family == AF_INET) {
        out.s6_addr[10] = out.s6_addr[11] = 0xff;
        memcpy(&out.s6_addr[MAPPED_BITS / 8], &plain.in.sin_addr, sizeof plain.in.sin_addr);
    }
    return out;
}

struct addr network_address(const struct in6_addr *client)
{
    struct addr a;

    memset(&a, 0, sizeof a);
    if (IN6_IS_ADDR_UNSPECIFIED(client))
        return a;
    a.in6.sin6_family = AF_INET6;
    a.in6.sin6_addr = *client;
    return addr_unmapped(&a);
}

struct network network_of(const struct in6_addr *client, unsigned bits)
{
    struct network n = {.prefix = *client, .bits = (uint8_t)bits};

    for (unsigned i = 0; i < sizeof n.prefix; i++) {
        if (8 * i >= bits)
            n.prefix.s6_addr[i] = 0;
        else if (8 * i + 8 > bits)
            n.prefix.s6_addr[i] &= (unsigned char)(0xff << (8 - bits % 8));
    }
    return n;
}

bool network_eq(const struct network *a, const struct network *b)
{
    return a->bits == b->bits && memcmp(&a->prefix, &b->prefix, sizeof a->prefix) == 0;
}

const char *network_format(const struct in6_addr *client, char out[INET6_ADDRSTRLEN])
{
    out[0] = '\0';
    if (network_is_ipv4(client))
        inet_ntop(AF_INET, &client->s6_addr[MAPPED_BITS / 8], out, INET6_ADDRSTRLEN);
    else if (!IN6_IS_ADDR_UNSPECIFIED(client))
        inet_ntop(AF_INET6, client, out, INET6_ADDRSTRLEN);
    return out;
}
