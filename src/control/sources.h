/* The networks from which sessions come now, each with its counts. Data only; the rules are
 * control/limits.h's and control/guard.h's.
 *
 * A source is there as long as a session comes from it, so that there are never more than sessions,
 * whatever addresses clients or a worker think of. Around one of IPv6 there is a wider one, its
 * /48, which counts whatever the narrower ones in it count: who has a /48 has 65536 /64.
 *
 * Addresses in penalty_exempt have no source. Neither has a session whose address is not known.
 */
#ifndef USHER_CONTROL_SOURCES_H
#define USHER_CONTROL_SOURCES_H

#include "base/err.h"
#include "base/map.h"
#include "conf/conf.h"
#include "control/network.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SITE_BITS = 48 };

struct source {
    struct map_node node;
    struct source *wider; /* NULL: there is none */
    struct network network;
    uint32_t sessions_n; /* that come from there */
    uint32_t opening_n;  /* of these, in STAGE_OPENING */
    uint32_t delayed_n;  /* of these, in STAGE_DELAYED */
    uint32_t trying_n;   /* of these, charged with a login whose verdict is to come */
};

struct sources {
    struct map map;
    struct addr_net *exempt;
    size_t exempt_n;
    unsigned bits_v4, bits_v6;
};

/* With the address_bits_... and penalty_exempt of `conf`. */
int sources_init(struct sources *s, const struct conf_global *conf, struct err *err) MUST_CHECK;

/* No session is left. Harmless after a failed sources_init(). */
void sources_done(struct sources *s);

/* Which networks a client's sessions count for: its own, and the wider one; without bits when there
 * is none. */
void sources_networks(const struct sources *s, const struct in6_addr *client,
                      struct network *out_network, struct network *out_wider);

/* Whether sessions of this client have a source. */
bool sources_have(const struct sources *s, const struct in6_addr *client);

/* NULL: nobody comes from there. For a client that sources_have(). */
struct source *sources_find(const struct sources *s, const struct in6_addr *client);

/* One session more comes from there. NULL when memory is out. */
struct source *sources_enter(struct sources *s, const struct in6_addr *client);

/* One less; the source may be gone. */
void sources_leave(struct sources *s, struct source *source);

#endif
