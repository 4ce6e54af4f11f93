/* What control tells the log: one function for each event, which knows its keys and nothing else.
 */
#ifndef USHER_CONTROL_TELL_H
#define USHER_CONTROL_TELL_H

#include "control/admission.h"
#include "control/backends.h"
#include "control/state.h"
#include "control/succession.h"

void tell_state_failed(const struct state *state, const struct err *why);
void tell_placed(struct slice user, const char *pool, const char *backend);
void tell_held(struct slice user, size_t waiting);
void tell_auth_failed(const struct auth_failed *failed);
void tell_recovered(uint32_t epoch, size_t sessions, size_t users);
void tell_resolved(const struct backend *b, uint32_t ttl_s);
void tell_unresolved(const struct backend *b, struct slice detail);

void tell_health(const struct backends *b, uint32_t backend, enum health_state was,
                 uint64_t lasted_ms, struct slice detail);
void tell_queued(const struct backend *b, size_t waiting, const char *limit);
void tell_returning(const struct backend *b, size_t users, uint32_t rate);

/* Notes that another control has left (control/succession.h), and what of them, or of ours, is
 * lost.
 */
void tell_notes_taken(const struct succession_sum *sum);
void tell_notes_lost(size_t lines, const char *why);

/* Shared memory that could not be used. */
void tell_lost(enum shared_id which, const char *why);

#endif
