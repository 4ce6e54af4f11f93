/* IANA's Service Name and Transport Protocol Port Number Registry (RFC 6335), as a sorted table in
 * the program: no file is needed at run time.
 *
 * The data is src/tables/iana-ports.tsv, whose head tells origin and date; tools/ports_table.py
 * makes the table at build time, tools/ports_renew.py renews the data from IANA's CSV.
 */
#ifndef USHER_PORTS_IANA_H
#define USHER_PORTS_IANA_H

#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In the order in which they are shown. */
enum port_protocol { PORT_TCP, PORT_UDP, PORT_SCTP, PORT_DCCP, PORT_PROTOCOLS };

/* "tcp". */
const char *port_protocol_name(enum port_protocol protocol);

/* Rows of the data that differ in nothing but the protocol are one entry. Texts are static, UTF-8
 * without control characters, never NULL. */
struct iana_entry {
    uint16_t port;
    uint8_t protocols;       /* bits 1 << enum port_protocol, at least one */
    const char *service;     /* "imap"; "" when the port is reserved or unassigned by a row */
    const char *description; /* "Internet Message Access Protocol", "Reserved", "Unassigned"; may be
                                "" where there is a service */
};

/* Entries are numbered from 0, sorted by port; those of one port by the first of their protocols,
 * then in the order of the data. */
size_t iana_count(void);
struct iana_entry iana_entry(size_t i);

/* How many entries a port has; theirs are the numbers from *out_first on. 0, with *out_first at the
 * first entry of a higher port: none. A port may have several services for the same protocol. */
size_t iana_find(uint16_t port, size_t *out_first);

/* Whether a service has it; else it is reserved, unassigned, or left without a name by the data. */
bool iana_is_assigned(const struct iana_entry *entry);

/* The first assigned entry of the nearest port below (above) this one that has any; false: there is
 * none. */
bool iana_below(uint16_t port, struct iana_entry *out_entry);
bool iana_above(uint16_t port, struct iana_entry *out_entry);

/* The next entry from number `from` on whose service is `name`, case folded (RFC 6335 section 5.1);
 * iana_count() when there is none. */
size_t iana_next_named(struct slice name, size_t from);

/* What the table takes in the program, in bytes. */
size_t iana_size(void);

#endif
