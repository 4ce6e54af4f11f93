/* The inside of control/admission.h, shared by its two halves: admission.c takes messages, keeps
 * the order of a restart, and looks at the clock; answers.c decides. Nobody else includes it.
 *
 * The functions here are called when the question may be answered: the replays are in, and the
 * session is in no line any more, unless said otherwise.
 */
#ifndef USHER_CONTROL_ANSWERS_H
#define USHER_CONTROL_ANSWERS_H

#include "control/admission.h"
#include "control/entrance.h"
#include "control/facts_wait.h"
#include "control/guard.h"
#include "control/limits.h"
#include "control/route.h"
#include "control/wellness.h"

struct admission {
    const struct conf *conf;
    struct backends *backends;
    const struct admission_effects *effects;
    void *arg;
    struct registry registry;
    struct route route;
    struct limits limits;
    struct guard guard;
    struct entrance entrance;
    struct facts_wait facts;
    bool is_warming; /* backends start slowly */
    uint64_t warm_due_ms;
    uint32_t epoch;
    uint32_t lease_number;
    size_t peers, attached; /* workers to be waited for; workers that ever came */
    size_t replays;         /* still to come */
    bool is_rejoining;      /* who is attached next was awaited before */
    bool is_recovered;
    size_t held_n; /* sessions in STAGE_HELD */
    /* Sessions in the order in which they came, and so, each line having one timeout, in that of
     * `until_ms`. */
    struct list replay_line; /* with a question that waits for the replays */
    struct list hold_line;
    struct list address_line;
};

/* --- changing a session: nothing else touches stages, lines and their counts --- */

/* Out of whatever line it waits in. */
void admission_leave(struct admission *a, struct session *s);

/* The session has ended, in any stage. */
void admission_drop(struct admission *a, struct session *s, uint64_t now_ms);

/* When the client is elsewhere than the connection came from, as a trusted proxy told: that is
 * where it counts from now on. False: that is one too many, or memory is out; it was refused. */
bool admission_come(struct admission *a, struct session *s, const struct addr *told);

/* The session has come to STAGE_DONE, now or before this control: what it tells of its user. */
void admission_note_login(struct admission *a, struct session *s, uint64_t now_ms);

/* --- answers; the refusals are counted and told to the log --- */

void answer_turn_away(struct admission *a, struct admission_worker *w, uint32_t id,
                      const struct refusal *r);
void answer_refuse(struct admission *a, struct session *s, enum refuse code, const char *why);

/* In STAGE_OPENING. */
void answer_open(struct admission *a, struct session *s);

/* In STAGE_ASKING. `has_waited`: it comes from one of the guard's lines. */
void answer_admit(struct admission *a, struct session *s, bool has_waited, uint64_t now_ms);

/* Whether logins of the session's user wait, on hold or because of a move; and how to say so. */
bool answer_must_wait(const struct admission *a, const struct session *s);
const char *answer_held_words(const struct session *s);

/* In STAGE_QUEUED: the backend has room; it has been taken from its queue. */
void answer_begin(struct admission *a, struct session *s, uint64_t now_ms);

/* In STAGE_ASKING: the backend for which it waited cannot be had any more. */
void answer_passed_over(struct admission *a, struct session *s, uint64_t now_ms);

/* In STAGE_QUEUED or RESOLVING: it waits with them, as if no backend had been found for it yet. */
void answer_wait_again(struct admission *a, struct session *s, uint64_t now_ms);

/* In STAGE_ASKING, past guard and hold. */
void answer_login(struct admission *a, struct session *s, uint64_t now_ms);

/* In STAGE_RESOLVING: the backend has addresses. */
void answer_lease(struct admission *a, struct session *s);

/* In STAGE_LEASED. RESULT_REFUSED may be answered before the replays are in. */
void answer_result(struct admission *a, struct session *s, enum result result, enum fault fault,
                   uint64_t now_ms);

/* In STAGE_RESOLVING or LEASED: no verdict can be had there. `how` goes on from "backend NAME". */
void answer_failed(struct admission *a, struct session *s, const char *how, uint64_t now_ms);

#endif
