/* The guard at the door: control/penalty.h's rules for the sessions of the registry. Who waits
 * because of failed logins, in lines of one length each; which logins are charged, and what becomes
 * of a charge.
 *
 * A login that passes is charged, until one of these, exactly once:
 *
 *     guard_forgive()   the verdict was good, or there is none and the client is not to blame
 *     guard_blame()     the backend refused it, or the session ended while it was asked
 *
 * Charges are counted in the registry, by the sessions that have them, and so end with them; only
 * failures go into shared memory. When control is replaced the sessions that are replayed bring
 * theirs along.
 *
 * Sessions without a source (penalty_exempt) pass freely.
 */
#ifndef USHER_CONTROL_GUARD_H
#define USHER_CONTROL_GUARD_H

#include "control/penalty.h"
#include "control/registry.h"

enum {
    /* Logins that wait at one time because of failed ones. Further strangers are refused at once;
     * known pairs do not wait then, since nobody may lock them out. */
    DELAYED_MAX = 10000
};

struct guard {
    struct penalty penalty;
    const struct registry *registry;
    uint16_t pools_n; /* with "removed" */
    struct list lines[PENALTY_STEPS];
    size_t waiting_n;
};

/* What both point to outlives it. */
void guard_init(struct guard *g, const struct conf *conf, const struct registry *registry);

/* What to do with a login in STAGE_ASKING; `has_waited`: it comes from a line. PASS: it is charged.
 * WAIT: it is in a line now, in STAGE_DELAYED. REFUSE: `out_why` says why. */
enum penalty_verdict guard_judge(struct guard *g, struct session *s, bool has_waited,
                                 uint64_t now_ms, char out_why[PENALTY_WHY]);

/* Out of its line, and back in STAGE_ASKING. */
void guard_leave(struct guard *g, struct session *s);

/* When the first has waited long enough; 0: nobody waits. */
uint64_t guard_due_ms(const struct guard *g);

/* One who has, taken out of its line; NULL: nobody. */
struct session *guard_take_late(struct guard *g, uint64_t now_ms);

/* A login that a control before this one let pass. */
void guard_resume(const struct guard *g, struct session *s, uint64_t now_ms);

static inline void guard_forgive(struct session *s)
{
    registry_uncharge(s);
}

/* Says whether there was a charge. */
bool guard_blame(const struct guard *g, struct session *s, uint64_t now_ms);

/* The session's user is at home where it comes from. */
void guard_remember(const struct guard *g, const struct session *s, uint64_t now_ms);

/* The counts for a session with a user and a source. */
struct penalty_record guard_record(const struct guard *g, const struct session *s, uint64_t now_ms);

#endif
