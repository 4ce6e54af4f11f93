/* The health of backends (backend/health.h) and what comes of it: who waits goes another way, the
 * sessions on a backend that has gone down are ended where that helps their users, weights come
 * back slowly. A part of admission as control/answers.h is; nobody else includes it but
 * control/succession.c.
 */
#ifndef USHER_CONTROL_WELLNESS_H
#define USHER_CONTROL_WELLNESS_H

#include "control/registry.h"

#include <stdbool.h>
#include <stdint.h>

struct admission;

/* How often weights are looked at while backends start slowly. */
enum { WARM_MS = 1000 };

/* All are up; their first probes are spread over an interval. */
void wellness_init(struct admission *a, uint64_t now_ms);

/* Goes on with the health of a backend as another control had it, before admission_start(): nobody
 * is told of it. `is_back`: it starts slowly, and effects.came_back() was not called yet. */
void wellness_resume(struct admission *a, uint32_t backend, const struct health_record *record,
                     bool is_back, uint64_t now_ms);

/* A probe has ended; `detail` says what went wrong. */
void wellness_probed(struct admission *a, uint32_t backend, bool is_ok, struct slice detail,
                     uint64_t now_ms);

/* A real attempt has: with a verdict, or without one by the backend's fault. */
void wellness_login(struct admission *a, const struct session *s, bool is_ok, uint64_t now_ms);

/* Whether no session may stay on a backend: it is down, and that ends sessions there (shared
 * storage, on_down = kick). */
bool wellness_empties(const struct admission *a, uint32_t backend);

/* The weights of backends that start slowly. */
void wellness_tick(struct admission *a, uint64_t now_ms);
uint64_t wellness_due_ms(const struct admission *a);

#endif
