/* The inside of the control process, shared by its two halves: control.c takes messages and looks
 * at the clock, effects.c does what admission, probes and resolving want. Nobody else includes it.
 */
#ifndef USHER_CONTROL_CONTROL_PARTS_H
#define USHER_CONTROL_CONTROL_PARTS_H

#include "control/admission.h"
#include "control/control.h"
#include "control/operate.h"
#include "control/probes.h"
#include "control/resolve.h"
#include "control/shared.h"
#include "control/state.h"

/* How long placements gather before they are written. */
enum { FLUSH_MS = 200 };

struct control {
    struct child *child;
    bool has_started;
    struct list peers;   /* of peer, in the order in which they came */
    struct peer *lookup; /* the newest; NULL while there is none */
    struct backends backends;
    struct resolve resolve;
    struct probes probes;
    struct list *prober; /* in peers: who was ordered the last probe */
    struct admission *admission;
    struct operate *operate;
    struct door *door; /* NULL: there is none */
    int door_fd;       /* until the door is opened; then -1 */
    int notes_fd;      /* to write notes into when we end (control/succession.h); then -1 */
    int left_fd;       /* notes of the control before us, until we begin; else -1 */
    struct state *state;
    struct shared *shared[SHARED_COUNT];   /* NULL: nothing is remembered */
    const char *lost[SHARED_COUNT];        /* why its content cannot be used; NULL: it can */
    uint32_t descriptors, ephemeral_ports; /* of a worker, of the machine; 0: not known */
    struct deadline admission_due, operate_due, resolve_due, probes_due, flush_due;
    struct deadline replay_due; /* who has not replayed by then hangs */
    uint64_t admission_due_ms;  /* as set */
    uint64_t operate_due_ms;
    bool is_failing; /* the state file; it has been told */
    bool is_losing;  /* placements; it has been told */
};

/* Another process: its channel, opened when we have begun. */
struct peer {
    struct list node;
    struct control *control;
    struct msg_peer who;
    int fd; /* until the channel is opened; then -1 */
    struct channel channel;
    struct admission_worker worker; /* if it is one */
    struct names names;             /* likewise */
};

static inline uint64_t control_now_ms(const struct control *c)
{
    return loop_now_ms(c->child->loop);
}

/* After whatever may have changed when a probe is due. */
void control_arm_probes(struct control *c);

/* effects.c; with the struct control as `arg`. */
extern const struct admission_effects control_admission_effects;
extern const struct resolve_effects control_resolve_effects;
extern const struct probes_effects control_probes_effects;

#endif
