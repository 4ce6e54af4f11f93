/* The health of one backend: the rules of backend/health.h. */
#include "backend/health.h"

#include "base/num.h"

enum { SEED_STEP = 0x9e3779b9 }; /* odd, so that the seed takes all values before one again */

static uint32_t chance(struct health *h)
{
    h->seed += SEED_STEP;
    return (uint32_t)num_mix(h->seed);
}

/* 0 to n - 1 */
static uint32_t below(struct health *h, uint32_t n)
{
    return (uint32_t)((uint64_t)chance(h) * n >> 32);
}

/* In the interval, a tenth more or less. */
static uint64_t due_in(struct health *h, uint32_t interval_ms, uint64_t now_ms)
{
    uint32_t tenth = interval_ms / 10;

    return now_ms + interval_ms - tenth + below(h, 2 * tenth + 1);
}

static void probe_soon(struct health *h, const struct health_params *p, uint64_t now_ms)
{
    uint64_t soon = due_in(h, p->fast_interval_ms, now_ms);

    if (h->due_ms > soon)
        h->due_ms = soon;
}

void health_init(struct health *h, const struct health_params *p, uint32_t seed, uint64_t now_ms)
{
    *h = (struct health){.state = HEALTH_UP, .since_ms = now_ms, .seed = seed};
    if (p->is_checked)
        h->due_ms = now_ms + 1 + below(h, p->interval_ms);
}

static void count(uint32_t *n)
{
    if (*n < UINT32_MAX)
        ++*n;
}

static void forget_logins(struct health *h)
{
    h->failed_logins = 0;
    h->users_n = h->addresses_n = 0;
}

static void come_up(struct health *h, uint64_t now_ms)
{
    forget_logins(h);
    h->up_ms = now_ms ? now_ms : 1;
    if (h->rest_until_ms > 0)
        h->rested_ms = now_ms;
    h->rest_until_ms = 0;
}

/* Says whether it was another. */
static bool enter(struct health *h, enum health_state state, uint64_t now_ms)
{
    if (state == h->state)
        return false;
    if (state == HEALTH_UP && !health_serves(h))
        come_up(h, now_ms);
    if (state == HEALTH_UP || state == HEALTH_DOWN)
        h->row = 0;
    h->state = (uint8_t)state;
    h->since_ms = now_ms;
    return true;
}

/* --- going on with it ---------------------------------------------------------------------- */

static uint64_t age_of(uint64_t at_ms, uint64_t now_ms)
{
    return now_ms > at_ms ? now_ms - at_ms : 0;
}

/* Not before this clock began. */
static uint64_t ago(uint64_t age_ms, uint64_t now_ms)
{
    return now_ms > age_ms ? now_ms - age_ms : 0;
}

void health_record(const struct health *h, uint64_t now_ms, struct health_record *out_record)
{
    *out_record = (struct health_record){.state = (enum health_state)h->state,
                                         .row = h->row,
                                         .rests = h->rests,
                                         .age_ms = age_of(h->since_ms, now_ms),
                                         .is_resting = h->rest_until_ms > 0,
                                         .rest_ms = age_of(now_ms, h->rest_until_ms),
                                         .rested_age_ms = age_of(h->rested_ms, now_ms),
                                         .was_down = h->up_ms > 0,
                                         .up_age_ms = age_of(h->up_ms, now_ms)};
}

void health_resume(struct health *h, const struct health_params *p, uint32_t seed,
                   const struct health_record *r, uint64_t now_ms)
{
    uint64_t rest_ms = r->rest_ms < HEALTH_REST_MAX_MS ? r->rest_ms : HEALTH_REST_MAX_MS;

    health_init(h, p, seed, now_ms);
    if (!p->is_checked && r->state != HEALTH_UP)
        return;
    h->state = (uint8_t)r->state;
    h->since_ms = ago(r->age_ms, now_ms);
    if (!p->is_checked)
        return;
    if (h->state == HEALTH_FAILING || h->state == HEALTH_RECOVERING)
        h->row = r->row;
    h->rests = r->rests;
    h->rested_ms = ago(r->rested_age_ms, now_ms);
    if (r->is_resting && !health_serves(h))
        h->rest_until_ms = now_ms + rest_ms;
    if (r->was_down) {
        h->up_ms = ago(r->up_age_ms, now_ms);
        h->up_ms += h->up_ms == 0;
    }
    if (h->state != HEALTH_UP)
        h->due_ms = now_ms + 1 + below(h, p->fast_interval_ms);
}

/* --- probes -------------------------------------------------------------------------------- */

static enum health_state after_probe(struct health *h, const struct health_params *p, bool is_ok,
                                     uint64_t now_ms)
{
    if (is_ok == health_serves(h)) /* which ends a row, see enter() */
        return is_ok ? HEALTH_UP : HEALTH_DOWN;
    count(&h->row);
    if (!is_ok)
        return h->row >= p->fall ? HEALTH_DOWN : HEALTH_FAILING;
    return h->row >= p->rise && now_ms >= h->rest_until_ms ? HEALTH_UP : HEALTH_RECOVERING;
}

bool health_probed(struct health *h, const struct health_params *p, bool is_ok, uint64_t now_ms)
{
    bool has_changed;

    if (!p->is_checked)
        return false;
    has_changed = enter(h, after_probe(h, p, is_ok, now_ms), now_ms);
    h->due_ms = due_in(h, h->state == HEALTH_UP ? p->interval_ms : p->fast_interval_ms, now_ms);
    return has_changed;
}

void health_unprobed(struct health *h, const struct health_params *p, uint64_t now_ms)
{
    if (p->is_checked)
        h->due_ms = due_in(h, p->fast_interval_ms, now_ms);
}

void health_probing(struct health *h)
{
    h->due_ms = 0;
}

/* --- logins -------------------------------------------------------------------------------- */

/* HEALTH_PARTIES different ones are enough to know. */
static void blame(uint32_t known[HEALTH_PARTIES], uint8_t *n, uint32_t party)
{
    for (uint8_t i = 0; i < *n; i++) {
        if (known[i] == party)
            return;
    }
    if (*n < HEALTH_PARTIES)
        known[(*n)++] = party;
}

static bool are_logins_enough(const struct health *h, const struct health_params *p)
{
    return p->passive_fall > 0 && h->failed_logins >= p->passive_fall &&
           h->users_n == HEALTH_PARTIES && h->addresses_n == HEALTH_PARTIES;
}

static void rest(struct health *h, uint64_t now_ms)
{
    uint64_t ms = HEALTH_REST_MS;

    if (now_ms - h->rested_ms > HEALTH_ROW_MS)
        h->rests = 0;
    count(&h->rests);
    for (uint32_t i = 1; i < h->rests && ms < HEALTH_REST_MAX_MS; i++)
        ms *= 2;
    h->rest_until_ms = now_ms + (ms < HEALTH_REST_MAX_MS ? ms : HEALTH_REST_MAX_MS);
}

bool health_login(struct health *h, const struct health_params *p, bool is_ok, uint32_t user,
                  uint32_t address, uint64_t now_ms)
{
    /* One that was begun before it went down says nothing of it now. */
    if (!p->is_checked || !health_serves(h))
        return false;
    if (is_ok) {
        forget_logins(h);
        return false;
    }
    count(&h->failed_logins);
    blame(h->users, &h->users_n, user);
    blame(h->addresses, &h->addresses_n, address);
    if (are_logins_enough(h, p)) {
        rest(h, now_ms);
        probe_soon(h, p, now_ms);
        return enter(h, HEALTH_DOWN, now_ms);
    }
    if (h->state != HEALTH_UP || h->failed_logins % HEALTH_SUSPECT != 0)
        return false;
    probe_soon(h, p, now_ms);
    return enter(h, HEALTH_FAILING, now_ms);
}

/* --- what it means ------------------------------------------------------------------------- */

uint32_t health_share(const struct health *h, const struct health_params *p, uint64_t now_ms)
{
    uint64_t passed_ms = now_ms > h->up_ms ? now_ms - h->up_ms : 0;

    if (!health_serves(h))
        return HEALTH_SHARE_LEAST;
    if (h->up_ms == 0 || passed_ms >= p->slow_start_ms)
        return HEALTH_SHARE_WHOLE;
    return HEALTH_SHARE_LEAST +
           (uint32_t)((HEALTH_SHARE_WHOLE - HEALTH_SHARE_LEAST) * passed_ms / p->slow_start_ms);
}

const char *health_name(enum health_state state)
{
    static const char *const names[] = {[HEALTH_UP] = "up",
                                        [HEALTH_FAILING] = "failing",
                                        [HEALTH_DOWN] = "down",
                                        [HEALTH_RECOVERING] = "recovering"};

    return names[state];
}
