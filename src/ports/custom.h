/* Ports that mail software uses by custom, without IANA's assignment or beside it: the rows of
 * tables/custom_ports.def. */
#ifndef USHER_PORTS_CUSTOM_H
#define USHER_PORTS_CUSTOM_H

#include "base/slice.h"

#include <stddef.h>
#include <stdint.h>

struct custom_port {
    uint16_t port;
    const char *name;   /* short, no other row's; target_parse() takes it: "imap-backend" */
    const char *what;   /* a line: "IMAP of a hidden backend behind a proxy" */
    const char *who;    /* "mailcow, docker-mailserver" */
    const char *source; /* a URL, or the name of a document */
};

/* All rows, sorted by port. */
size_t custom_ports(const struct custom_port **out_rows);

/* Those of a port, the most usual use first; *out_rows is the first of them. 0: there is none. */
size_t custom_find(uint16_t port, const struct custom_port **out_rows);

#endif
