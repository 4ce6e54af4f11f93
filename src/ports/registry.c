/* IANA's registry: looking things up in the table that was made from it. */
#include "ports/registry.h"

#include "base/err.h"
#include "ports/registry_table.h"

const char *port_protocol_name(enum port_protocol protocol)
{
    static const char names[PORT_PROTOCOLS][5] = {"tcp", "udp", "sctp", "dccp"};

    INSIST(protocol < PORT_PROTOCOLS);
    return names[protocol];
}

size_t registry_count(void)
{
    return registry_table_n;
}

static uint16_t port_of(size_t i)
{
    return (uint16_t)(registry_table[i] >> TABLE_PORT_SHIFT);
}

static const char *service_of(size_t i)
{
    return &registry_texts[registry_table[i] >> TABLE_SERVICE_SHIFT & TABLE_OFFSET_MASK];
}

struct registry_entry registry_entry(size_t i)
{
    INSIST(i < registry_table_n);
    return (struct registry_entry){
        .port = port_of(i),
        .protocols = registry_table[i] >> TABLE_PROTOCOLS_SHIFT & TABLE_PROTOCOLS_MASK,
        .service = service_of(i),
        .description = &registry_texts[registry_table[i] & TABLE_OFFSET_MASK],
    };
}

/* The number of the first entry of this port or a higher one. */
static size_t lower_bound(unsigned port)
{
    size_t low = 0, high = registry_table_n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (port_of(middle) < port)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

size_t registry_find(uint16_t port, size_t *out_first)
{
    *out_first = lower_bound(port);
    return lower_bound(port + 1U) - *out_first;
}

bool registry_is_assigned(const struct registry_entry *entry)
{
    return entry->service[0] != '\0';
}

bool registry_below(uint16_t port, struct registry_entry *out_entry)
{
    size_t i = lower_bound(port), found = registry_table_n;

    /* To the first assigned one of the nearest port, which comes last on this way down. */
    while (i-- > 0 && (found == registry_table_n || port_of(i) == port_of(found)))
        if (service_of(i)[0])
            found = i;
    if (found == registry_table_n)
        return false;
    *out_entry = registry_entry(found);
    return true;
}

bool registry_above(uint16_t port, struct registry_entry *out_entry)
{
    for (size_t i = lower_bound(port + 1U); i < registry_table_n; i++)
        if (service_of(i)[0]) {
            *out_entry = registry_entry(i);
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

size_t registry_next_named(struct slice name, size_t from)
{
    if (name.n == 0)
        return registry_table_n; /* the reserved and unassigned have no name */
    for (size_t i = from; i < registry_table_n; i++)
        if (is_named(i, name))
            return i;
    return registry_table_n;
}

size_t registry_size(void)
{
    return registry_table_n * sizeof registry_table[0] + registry_texts_n;
}
