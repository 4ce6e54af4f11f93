/* When which backend is probed, and by whom: orders for the workers, one probe of a backend at a
 * time. Pure: time is an argument. What a probe says of a backend is admission_probed()'s.
 *
 * A backend without an address (its name has not been resolved) has failed its probe. One whose
 * probe nobody answers in time, as its worker has died, is probed again: that says nothing of it.
 */
#ifndef USHER_CONTROL_PROBES_H
#define USHER_CONTROL_PROBES_H

#include "control/backends.h"

#include <stdbool.h>
#include <stdint.h>

/* Beyond check_timeout, in which the worker itself gives up. */
enum { PROBES_PATIENCE_MS = 2000 };

struct probes_effects {
    /* Orders a probe of some worker: its instance; 0: there is none. */
    uint32_t (*order)(void *arg, uint32_t number, const struct msg_probe *probe);
    /* It has failed without having been ordered; see admission_probed(). */
    void (*failed)(void *arg, uint32_t backend, struct slice detail);
};

struct probes {
    struct backends *backends;
    const struct probes_effects *effects;
    void *arg;
    uint32_t last;
};

/* Orders what is due. */
void probes_step(struct probes *p, uint64_t now_ms);

/* When probes_step() should be called; 0: never. */
uint64_t probes_due_ms(const struct probes *p);

/* An answer has come from a worker: the backend that it is about, whose probe is over;
 * BACKEND_NONE: to no open order, or to another worker's. */
uint32_t probes_answer(struct probes *p, uint32_t number, uint32_t instance);

/* It said nothing of the backend. */
void probes_void(struct probes *p, uint32_t backend, uint64_t now_ms);

#endif
