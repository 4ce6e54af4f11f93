/* Whether a port is free: by binding to it, as the one who asks would. Nothing listens meanwhile,
 * no connection is taken from anybody. */
#ifndef USHER_PORTS_BIND_H
#define USHER_PORTS_BIND_H

#include "base/addr.h"
#include "ports/iana.h"

#include <stddef.h>
#include <stdint.h>

/* 0: bound, and let go again; else the errno value of bind(2) or socket(2): EADDRINUSE, EACCES,
 * EADDRNOTAVAIL ... With SO_REUSEADDR for TCP, as servers bind, so connections that clients had
 * with a server and that are in TIME_WAIT do not count; one that went out from the port does. An
 * IPv6 address is bound for IPv6 alone. TCP and UDP only: else EPROTONOSUPPORT, since to ask would
 * have the kernel load a module. */
int bind_try(const struct addr *addr, enum port_protocol protocol);

/* The same of 0.0.0.0 and [::], the second only if the machine has IPv6; the first failure. */
int bind_try_all(uint16_t port, enum port_protocol protocol);

/* Up to `n` ports of first..last that can be bound on all addresses (or on `addr` if that is not
 * NULL, whose port does not count), lowest first, those that `passes` (NULL: all) says true to.
 * Returns how many are in out_ports. */
size_t bind_find_free(uint16_t first, uint16_t last, const struct addr *addr,
                      enum port_protocol protocol, bool (*passes)(void *arg, uint16_t port),
                      void *arg, uint16_t *out_ports, size_t n);

#endif
