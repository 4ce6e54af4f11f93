/* Names to addresses without blocking: DNS (A and AAAA, RFC 1035 and 3596) and /etc/hosts, by
 * c-ares on the loop.
 *
 * Addresses come in the order in which they should be tried (RFC 6724). Each nameserver is asked
 * twice, with 1 and then 2 seconds for the answer, all of them once before any is again: with one
 * nameserver, and it is dead, a question fails after 3 seconds. Search domains and, unless
 * nameservers are given, the nameservers are those of /etc/resolv.conf when the resolver was made.
 *
 * One question a call: no cache, no merging of equal questions; those are the asker's.
 */
#ifndef USHER_LOOKUP_RESOLVER_H
#define USHER_LOOKUP_RESOLVER_H

#include "base/addr.h"
#include "base/err.h"
#include "net/loop.h"

#include <stddef.h>
#include <stdint.h>

enum { RESOLVER_ADDRESSES = 8 };

struct resolver;

/* Told once, from the loop: 1 to RESOLVER_ADDRESSES addresses with the port that was asked for,
 * valid for `ttl_s` seconds (the least of all records on the way; 0 from /etc/hosts), and `err`
 * NULL; or n 0 and `err`. What the pointers point to lasts for the call. It may ask further, but
 * not free the resolver. */
typedef void resolver_done(void *arg, const struct addr *addresses, size_t n, uint32_t ttl_s,
                           const struct err *err);

/* `nameservers`: n texts "ip", "ip:port" or "[v6]:port", asked in this order; n 0: those of the
 * system. NULL on failure. */
struct resolver *resolver_new(struct loop *loop, const char *const *nameservers, size_t n,
                              struct err *err);

/* `done` is not called any more for questions that are open. Clears *r; harmless when it is NULL.
 */
void resolver_free(struct resolver **r);

/* `name` (copied) is a host's, no numeric address. */
void resolver_resolve(struct resolver *r, const char *name, uint16_t port, resolver_done *done,
                      void *arg);

#endif
