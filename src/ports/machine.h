/* What ports mean on this machine: classes (RFC 6335 section 6), and the kernel's and the machine's
 * own settings for them. */
#ifndef USHER_PORTS_MACHINE_H
#define USHER_PORTS_MACHINE_H

#include "base/err.h"
#include "base/slice.h"
#include "ports/iana.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 0-1023, 1024-49151, 49152-65535. */
enum port_class { PORT_SYSTEM, PORT_REGISTERED, PORT_DYNAMIC };

enum port_class port_class(uint16_t port);

/* "system", "registered", "dynamic". */
const char *port_class_name(enum port_class class);

/* The first and last port of a class. */
void port_class_range(enum port_class class, uint16_t *out_first, uint16_t *out_last);

struct machine {
    uint32_t unprivileged_from; /* net.ipv4.ip_unprivileged_port_start: below it, to bind takes
                                   CAP_NET_BIND_SERVICE; 0 to 65535 */
    uint16_t ephemeral_first, ephemeral_last; /* net.ipv4.ip_local_port_range: the kernel takes from
                                                 it for connections that go out */
    uint64_t reserved[65536 / 64];            /* net.ipv4.ip_local_reserved_ports: never taken so */
    bool may_bind_all; /* we have CAP_NET_BIND_SERVICE: in our user namespace, which counts if it
                          owns the network namespace */
};

/* What cannot be read or understood has the kernel's default (1024; 32768 to 60999; none). `proc`
 * is "/proc". The settings are those of our network namespace. */
void machine_read(const char *proc, struct machine *out_machine);

/* Whether the kernel may take the port for a connection that goes out. */
bool machine_is_ephemeral(const struct machine *m, uint16_t port);
bool machine_is_reserved(const struct machine *m, uint16_t port);

/* "25,143,10000-10100" as the kernel writes it, a newline at its end or none, into a set of bits;
 * an empty text is the empty set. False: it is none, and out_set is as it was. */
bool machine_parse_set(struct slice text, uint64_t out_set[65536 / 64]);

/* ---- /etc/services: the machine's own names (services(5)) ----
 *
 *     imap2  143/tcp  imap    # a comment
 *
 * A name, port and protocol, aliases. Passed over, as getservbyport(3) does, are lines that are
 * none; and protocols other than enum port_protocol, port 0, and names that have anything but
 * printable ASCII, since they are shown. Of several lines for one port and protocol, or with one
 * name, the first counts. */

struct services;

/* A file that is not there is empty; one that has more than 4 MiB, or is no regular file, is an
 * error. */
int services_read(const char *path, struct services **out_services, struct err *err) MUST_CHECK;

/* The same of a text, which is copied. The only error is want of memory. */
int services_parse(struct slice text, struct services **out_services, struct err *err) MUST_CHECK;

/* Clears *s; harmless when it is NULL. */
void services_free(struct services **s);

/* The name of a port there; NULL: it has none. Lives as long as `s`. */
const char *services_find(const struct services *s, uint16_t port, enum port_protocol protocol);

/* The port of a name or an alias, case counting, for any protocol; false: there is none. */
bool services_find_name(const struct services *s, struct slice name, uint16_t *out_port);

/* How many names and aliases there are, those that occur twice counted twice; and one of them, from
 * 0 on, in no order. */
size_t services_count(const struct services *s);
const char *services_name(const struct services *s, size_t i);

/* What is to be shown: the file's name of the port where IANA does not have that, case folded, for
 * the protocol; else NULL. */
const char *services_differs(const struct services *s, uint16_t port, enum port_protocol protocol);

#endif
