/* Connecting to one of several addresses of the same server: Happy Eyeballs (RFC 8305 section 5).
 *
 * Addresses are tried in the order given, families interleaved (section 4); a further one is begun
 * when the one before has failed or has not answered for DIAL_STAGGER_MS. The first to connect
 * wins, the others are closed. One deadline over all.
 *
 * The error reads "192.0.2.1:143: Connection refused; [2001:db8::1]:143: no answer within 5000 ms",
 * in the order of the failures; its code is the errno value of the first of them that is the fault
 * of this machine (dial_is_ours), else of the first.
 */
#ifndef USHER_NET_DIAL_H
#define USHER_NET_DIAL_H

#include "base/addr.h"
#include "base/err.h"
#include "net/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DIAL_STAGGER_MS = 250, DIAL_ADDRESSES = 8 };

struct dial;

/* Told once, never from within dial_start(): `fd` connected, non-blocking and close-on-exec, with
 * the address it reached, now the receiver's, and `err` NULL; or -1, `reached` NULL, and `err` with
 * every address that was tried and why it failed. The dial is freed by then: forget the pointer to
 * it. What `reached` and `err` point to lasts for the call. */
typedef void dial_done(void *arg, int fd, const struct addr *reached, const struct err *err);

/* Where to connect from: addresses of this machine, taken in turn among those of the target's
 * family; a family without one connects from where the kernel likes. Ports are chosen per target
 * (IP_BIND_ADDRESS_NO_PORT), so that each address has all its ports for each backend. */
struct dial_sources {
    const struct addr *addrs;
    size_t n;
    size_t turn;
};

/* `n` is 1 to DIAL_ADDRESSES; the addresses are copied. `sources`: NULL for the kernel's choice;
 * kept until then. NULL when memory is out. */
struct dial *dial_start(struct loop *loop, const struct addr *addresses, size_t n,
                        struct dial_sources *sources, uint32_t timeout_ms, dial_done *done,
                        void *arg);

/* Whether an errno value of dialling tells of want of descriptors, memory or ports here, or of a
 * source address that cannot be used, and so says nothing of who was to be reached. */
bool dial_is_ours(int code);

/* Gives up: closes what is open, tells nobody. Clears *d; harmless when it is NULL. */
void dial_cancel(struct dial **d);

#endif
