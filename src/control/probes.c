/* The orders of control/probes.h. */
#include "control/probes.h"

#include <string.h>

static bool is_due(uint64_t at_ms, uint64_t now_ms)
{
    return at_ms != 0 && at_ms <= now_ms;
}

static void order(struct probes *p, uint32_t backend, uint64_t now_ms)
{
    struct backend *b = &p->backends->all[backend];
    struct msg_probe m = {
        .pool = b->pool, .backend = b->index, .addresses_n = (uint32_t)b->addresses_n};

    health_probing(&b->health);
    if (b->addresses_n == 0) {
        p->effects->failed(p->arg, backend, SLICE("resolve: its name has no address"));
        return;
    }
    memcpy(m.addresses, b->addresses, b->addresses_n * sizeof *b->addresses);
    if (++p->last == 0)
        p->last = 1;
    b->probe = p->last;
    b->probe_late_ms =
        now_ms + p->backends->conf->pools[b->pool].check_timeout + PROBES_PATIENCE_MS;
    b->prober = p->effects->order(p->arg, b->probe, &m);
    if (b->prober == 0)
        probes_void(p, backend, now_ms);
}

void probes_step(struct probes *p, uint64_t now_ms)
{
    for (uint32_t i = 0; i < p->backends->n; i++) {
        const struct backend *b = &p->backends->all[i];

        if (b->probe != 0 && is_due(b->probe_late_ms, now_ms))
            probes_void(p, i, now_ms);
        else if (b->probe == 0 && is_due(b->health.due_ms, now_ms))
            order(p, i, now_ms);
    }
}

uint64_t probes_due_ms(const struct probes *p)
{
    uint64_t first = 0;

    for (uint32_t i = 0; i < p->backends->n; i++) {
        const struct backend *b = &p->backends->all[i];
        uint64_t due_ms = b->probe != 0 ? b->probe_late_ms : b->health.due_ms;

        if (due_ms != 0 && (first == 0 || due_ms < first))
            first = due_ms;
    }
    return first;
}

uint32_t probes_answer(struct probes *p, uint32_t number, uint32_t instance)
{
    for (uint32_t i = 0; number != 0 && i < p->backends->n; i++) {
        struct backend *b = &p->backends->all[i];

        if (b->probe == number && b->prober == instance) {
            b->probe = 0;
            return i;
        }
    }
    return BACKEND_NONE;
}

void probes_void(struct probes *p, uint32_t backend, uint64_t now_ms)
{
    const struct health_params params = backends_health_params(p->backends, backend);

    p->backends->all[backend].probe = 0;
    health_unprobed(&p->backends->all[backend].health, &params, now_ms);
}
