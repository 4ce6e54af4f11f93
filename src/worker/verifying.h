/* Passwords that usher itself verifies: lookup is asked (VERIFY) before a backend is dialled, and
 * answers whether the password is right and what the backend is to be shown. Private to worker/.
 *
 * A login is verified once, whatever number of leases it takes. What becomes of an answer:
 *
 *     OK           the backend is dialled
 *     REFUSED      NO [AUTHENTICATIONFAILED] to the client, RESULT_DENIED to control
 *     UNAVAILABLE  NO [UNAVAILABLE], RESULT_WITHDRAWN; so it is, too, when none comes within
 *                  directory_timeout and a second, or when the facts name another mailbox by now
 *                  than the lease does
 *
 * One channel leads to lookup. When lookup is replaced, the parent joins us with the next one and
 * what is open is asked again there; when the channel alone breaks, we ask the parent for another.
 */
#ifndef USHER_WORKER_VERIFYING_H
#define USHER_WORKER_VERIFYING_H

#include <stdint.h>

struct session;
struct worker;

void verifying_init(struct worker *w);

/* The parent's channel to a new lookup, in place of one that there may be. */
void verifying_take_lookup(struct worker *w, int fd);

/* Closes the channel. */
void verifying_done(struct worker *w);

/* A lease that is to be verified: enters VERIFY and asks. */
void verifying_begin(struct session *s);

/* VERIFY: no answer has come in time. */
void verifying_late(struct session *s);

#endif
