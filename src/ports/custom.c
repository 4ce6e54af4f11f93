/* The custom ports of tables/custom_ports.def. */
#include "ports/custom.h"

static const struct custom_port table[] = {
#define CUSTOM_PORT(port, name, what, who, source) {port, name, what, who, source},
#include "tables/custom_ports.def"
#undef CUSTOM_PORT
};

enum { ROWS = sizeof table / sizeof *table };

size_t custom_ports(const struct custom_port **out_rows)
{
    *out_rows = table;
    return ROWS;
}

/* The first row of `port` or of a higher one. */
static size_t first_from(uint32_t port)
{
    size_t low = 0, high = ROWS;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (table[middle].port < port)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

size_t custom_find(uint16_t port, const struct custom_port **out_rows)
{
    size_t first = first_from(port);

    *out_rows = table + first;
    return first_from((uint32_t)port + 1) - first;
}
