/* What `usher ports` has found out, for those who show it: ports_text.c to people, ports_json.c to
 * scripts. Found out once; showing changes nothing.
 */
#ifndef USHER_CLI_PORTS_FACTS_H
#define USHER_CLI_PORTS_FACTS_H

#include "base/err.h"
#include "ports/look.h"
#include "ports/machine.h"
#include "ports/probe.h"
#include "ports/target.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* At most so many addresses are asked with --probe, one after the other: it is no scanner. */
enum { PORTS_PROBES_MAX = 16 };

struct ports_probe {
    const struct target *target;
    struct addr addr;
    const char *name; /* the host as the operator wrote it, of a name; else NULL */
    struct probe_report *report;
};

struct ports_facts {
    /* what was asked */
    const struct target *targets;
    size_t targets_n;
    bool is_overview; /* no word was given: the targets are the ports of mail */
    bool with_udp;
    bool with_probe;

    /* what is so */
    struct machine machine;
    struct services *services;
    struct look *look;
    struct ports_probe probes[PORTS_PROBES_MAX];
    size_t probes_n;
    size_t probes_left_out; /* addresses beyond the most */
};

enum port_state {
    PORT_TAKEN,   /* a socket listens */
    PORT_FREE,    /* none does, and a bind has worked */
    PORT_DENIED,  /* none does, but we may not bind to prove it */
    PORT_BLOCKED, /* none that we see does, and a bind says that the address is in use */
    PORT_NOT_HERE /* the address is another machine's */
};

/* "taken", "free" ... */
const char *port_state_name(enum port_state state);

struct port_verdict {
    enum port_state state;
    int code; /* what bind(2) said: an errno value; 0: it worked, or it was not tried */
};

/* Looks who listens, and binds where nobody does. `addr`: of a target; none is every address. */
struct port_verdict ports_judge(const struct ports_facts *f, uint16_t port, const struct addr *addr,
                                enum port_protocol protocol);

/* The sockets of a port, in any namespace, but those of unix: *out_first and those behind it. */
size_t ports_sockets(const struct ports_facts *f, uint16_t port,
                     const struct look_socket **out_first);

/* Whether a connection to `addr` may end at the socket; `addr` none: whether it is any. */
bool ports_serves(const struct look_socket *s, const struct addr *addr);

/* Connections of a local port; NULL: it has none. */
const struct look_connections *ports_connections(const struct ports_facts *f, uint16_t port);

/* Whether sockets are shown whose process is hidden from us. */
bool ports_hides_owners(const struct ports_facts *f);

/* Whether a target is shown with all that is known of it, not as rows of a table. */
bool ports_is_detailed(const struct ports_facts *f, const struct target *target);

/* --- showing -----------------------------------------------------------------------------------
 */

/* For people, on standard output. */
int ports_show_text(const struct ports_facts *f, struct err *err) MUST_CHECK;

/* One JSON object on standard output, a port a line. */
int ports_show_json(const struct ports_facts *f, struct err *err) MUST_CHECK;
int ports_show_free_json(const uint16_t *ports, size_t n, struct err *err) MUST_CHECK;

#endif
