/* A probe: a session without a client. Control orders it (PROBE) and is told how it went (PROBED).
 * Private to worker/.
 *
 * It goes the way of a session: connecting to the addresses given, the PROXY header (LOCAL of
 * version 2, UNKNOWN of version 1: nobody's connection is proxied), TLS with its checks, greeting,
 * STARTTLS, capabilities, and with check = login a login as check_user, NOOP and LOGOUT; then it
 * closes politely: LOGOUT is sent after a good greeting, and nobody waits for its answer. All
 * within check_timeout, connecting within connect_timeout too. The check that is named ends the
 * probe: tcp after connecting and, where the backend's TLS is implicit, the handshake.
 *
 * What went wrong is told as "stage: words"; want of descriptors or memory, or a source address
 * that cannot be used, is FAULT_OURS. A login that the backend refuses is its fault: who may log in
 * there is said by the configuration.
 *
 * Probes count for descriptors, and give way: none begins, and those under way are given up, when
 * there are no more than clients and their backends need. A worker that is retired begins none.
 */
#ifndef USHER_WORKER_PROBE_H
#define USHER_WORKER_PROBE_H

#include "ipc/message.h"

#include <stdint.h>

struct worker;

/* Probes under way at one time in one worker; further ones are answered FAULT_OURS at once. */
enum { PROBES_MAX = 256 };

/* One that makes no sense (an index out of range, check = off) is not answered. */
void probe_begin(struct worker *w, uint32_t id, const struct msg_probe *order);

/* Gives up all that are under way, as FAULT_OURS and for `why`: a client has come for whom there is
 * no descriptor, or the worker retires. Returns how many. */
unsigned probe_give_up(struct worker *w, const char *why);

/* The channel to control has ended, or the worker stops: nobody asks any more. */
void probe_end_all(struct worker *w);

#endif
