/* A look from its beginning to its end; its parts do the work (ports/look_parts.h). */
#include "ports/look_parts.h"

#include <stddef.h>

const char *look_state_name(unsigned state)
{
    static const char *const names[LOOK_TCP_STATES] = {
        NULL,     "established", "syn-sent", "syn-recv",  "fin-wait-1", "fin-wait-2",  "time-wait",
        "closed", "close-wait",  "last-ack", "listening", "closing",    "new-syn-recv"};

    return state < LOOK_TCP_STATES && names[state] ? names[state] : "unknown";
}

/* The range that covers the set: the kernel is asked for that. */
static void cover(struct look_draft *d)
{
    for (uint32_t port = 1; port < 65536; port++) {
        if (!(d->ports[port / 64] >> port % 64 & 1))
            continue;
        if (d->last == 0)
            d->first = (uint16_t)port;
        d->last = (uint16_t)port;
    }
}

static int take(struct look_draft *d, bool with_other_namespaces, struct err *err)
{
    cover(d);
    if (namespaces_ours(d, err) < 0 || sockets_collect(d, err) < 0)
        return -1;
    if (with_other_namespaces && namespaces_collect(d, err) < 0)
        return -1;
    if (namespaces_tidy(d, err) < 0)
        return -1;
    draft_sort(d);
    return owners_find(d, err);
}

int look_take_draft(struct look_draft *d, bool with_other_namespaces, struct look **out_look,
                    struct err *err)
{
    struct look *look = &d->look;

    if (take(d, with_other_namespaces, err) < 0) {
        look_free(&look);
        return -1;
    }
    *out_look = look;
    return 0;
}

int look_take(const struct look_params *params, struct look **out_look, struct err *err)
{
    struct look_draft *d = draft_new();

    if (!d)
        return draft_no_memory(err);
    d->ports = params->ports;
    d->tcp_states = STATES_LISTEN | (params->with_connections ? STATES_CONNECTIONS : 0);
    d->udp_states = params->with_udp ? STATES_UDP_UNCONNECTED : 0;
    d->with_unix = params->with_unix;
    return look_take_draft(d, params->with_other_namespaces, out_look, err);
}
