/* IANA's registry: looking things up in the table that was made from it. */
#include "ports/iana.h"

#include "base/err.h"
#include "ports/iana_table.h"

const char *port_protocol_name(enum port_protocol protocol)
{
    static const char names[PORT_PROTOCOLS][5] = {"tcp", "udp", "sctp", "dccp"};

    INSIST(protocol < PORT_PROTOCOLS);
    return names[protocol];
}

size_t iana_count(void)
{
    return iana_table_n;
}

static uint16_t port_of(size_t i)
{
    return (uint16_t)(iana_table[i] >> TABLE_PORT_SHIFT);
}

static const char *service_of(size_t i)
{
    return &iana_texts[iana_table[i] >> TABLE_SERVICE_SHIFT & TABLE_OFFSET_MASK];
}

struct iana_entry iana_entry(size_t i)
{
    INSIST(i < iana_table_n);
    return (struct iana_entry){
        .port = port_of(i),
        .protocols = iana_table[i] >> TABLE_PROTOCOLS_SHIFT & TABLE_PROTOCOLS_MASK,
        .service = service_of(i),
        .description = &iana_texts[iana_table[i] & TABLE_OFFSET_MASK],
    };
}

/* The number of the first entry of this port or a higher one. */
static size_t lower_bound(unsigned port)
{
    size_t low = 0, high = iana_table_n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (port_of(middle) < port)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

size_t iana_find(uint16_t port, size_t *out_first)
{
    *out_first = lower_bound(port);
    return lower_bound(port + 1U) - *out_first;
}

bool iana_is_assigned(const struct iana_entry *entry)
{
    return entry->service[0] != '\0';
}

bool iana_below(uint16_t port, struct iana_entry *out_entry)
{
    size_t i = lower_bound(port), found = iana_table_n;

    /* To the first assigned one of the nearest port, which comes last on this way down. */
    while (i-- > 0 && (found == iana_table_n || port_of(i) == port_of(found)))
        if (service_of(i)[0])
            found = i;
    if (found == iana_table_n)
        return false;
    *out_entry = iana_entry(found);
    return true;
}

bool iana_above(uint16_t port, struct iana_entry *out_entry)
{
    for (size_t i = lower_bound(port + 1U); i < iana_table_n; i++)
        if (service_of(i)[0]) {
            *out_entry = iana_entry(i);
            return true;
        }
    return false;
}

static bool is_named(size_t i, struct slice name)
{
    const char *service = service_of(i);

    /* Most differ in the first letter, whatever its case. */
    return (service[0] | 0x20) == (name.p[0] | 0x20) && slice_ieq(name, slice_str(service));
}

size_t iana_next_named(struct slice name, size_t from)
{
    if (name.n == 0)
        return iana_table_n; /* the reserved and unassigned have no name */
    for (size_t i = from; i < iana_table_n; i++)
        if (is_named(i, name))
            return i;
    return iana_table_n;
}

size_t iana_size(void)
{
    return iana_table_n * sizeof iana_table[0] + iana_texts_n;
}
