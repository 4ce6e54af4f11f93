/* The lines and charges of control/guard.h. */
#include "control/guard.h"

#include <stdio.h>

void guard_init(struct guard *g, const struct conf *conf, const struct registry *registry)
{
    *g = (struct guard){.penalty = {.conf = &conf->global},
                        .registry = registry,
                        .pools_n = (uint16_t)(conf->pools_n + 1)};
    for (unsigned i = 0; i < PENALTY_STEPS; i++)
        list_init(&g->lines[i]);
}

static struct penalty_who who_is(const struct session *s)
{
    const struct source *site = s->source->wider;
    struct penalty_who who = {.address = s->source->network, .user = user_name(s->user)};

    if (site)
        who.site = site->network;
    return who;
}

struct penalty_record guard_record(const struct guard *g, const struct session *s, uint64_t now_ms)
{
    const struct penalty_who who = who_is(s);

    return penalty_look(&g->penalty, &who, now_ms / 1000);
}

static struct penalty_open open_at(const struct source *source)
{
    if (!source)
        return (struct penalty_open){0};
    return (struct penalty_open){.trying = source->trying_n, .waiting = source->delayed_n};
}

/* In all pools: who guesses at a name may come by any listener, and directories move its logins
 * from the listener's pool to another. */
static struct penalty_open open_of(const struct guard *g, struct slice user)
{
    struct penalty_open open = {0};

    for (uint16_t i = 0; i < g->pools_n; i++) {
        const struct user *u = registry_user(g->registry, i, user);

        open.trying += u ? u->trying_n : 0;
        open.waiting += u ? u->delayed_n : 0;
    }
    return open;
}

/* --- lines --------------------------------------------------------------------------------- */

static void enqueue(struct guard *g, struct session *s, unsigned step, uint64_t now_ms)
{
    s->until_ms = now_ms + penalty_step_ms(&g->penalty, step);
    registry_set_delayed(s, true);
    list_append(&g->lines[step - 1], &s->waiting);
    g->waiting_n++;
}

void guard_leave(struct guard *g, struct session *s)
{
    INSIST(g->waiting_n > 0);
    g->waiting_n--;
    list_remove(&s->waiting);
    registry_set_delayed(s, false);
}

static struct session *first_of(const struct list *line)
{
    return list_empty(line) ? NULL : CONTAINER(line->next, struct session, waiting);
}

static struct session *first(const struct guard *g)
{
    struct session *found = NULL;

    for (unsigned i = 0; i < PENALTY_STEPS; i++) {
        struct session *s = first_of(&g->lines[i]);

        if (s && (!found || s->until_ms < found->until_ms))
            found = s;
    }
    return found;
}

uint64_t guard_due_ms(const struct guard *g)
{
    const struct session *s = g->waiting_n > 0 ? first(g) : NULL;

    return s ? s->until_ms : 0;
}

struct session *guard_take_late(struct guard *g, uint64_t now_ms)
{
    struct session *s = g->waiting_n > 0 ? first(g) : NULL;

    if (!s || s->until_ms > now_ms)
        return NULL;
    guard_leave(g, s);
    return s;
}

/* --- verdicts ------------------------------------------------------------------------------ */

static void charge(struct session *s, bool is_known)
{
    registry_charge(s, is_known ? CHARGE_KNOWN : CHARGE_STRANGER);
}

enum penalty_verdict guard_judge(struct guard *g, struct session *s, bool has_waited,
                                 uint64_t now_ms, char out_why[PENALTY_WHY])
{
    struct penalty_case c = {0};
    struct penalty_who who;
    enum penalty_verdict verdict;
    unsigned step = 0;

    INSIST(s->stage == STAGE_ASKING);
    if (!s->source)
        return PENALTY_PASS;
    who = who_is(s);
    c.record = penalty_look(&g->penalty, &who, now_ms / 1000);
    c.address = open_at(s->source);
    c.site = open_at(s->source->wider);
    c.user = open_of(g, user_name(s->user));
    verdict = penalty_judge(&g->penalty, &c, has_waited, &step, out_why);
    if (verdict == PENALTY_WAIT && g->waiting_n >= DELAYED_MAX) {
        snprintf(out_why, PENALTY_WHY, "too many logins wait already because of failed ones");
        verdict = c.record.is_known ? PENALTY_PASS : PENALTY_REFUSE;
    }
    switch (verdict) {
    case PENALTY_PASS:
        charge(s, c.record.is_known);
        break;
    case PENALTY_WAIT:
        enqueue(g, s, step, now_ms);
        break;
    case PENALTY_REFUSE:
        break;
    }
    return verdict;
}

void guard_resume(const struct guard *g, struct session *s, uint64_t now_ms)
{
    if (s->source)
        charge(s, guard_record(g, s, now_ms).is_known);
}

bool guard_blame(const struct guard *g, struct session *s, uint64_t now_ms)
{
    struct penalty_who who;

    if (s->charge == CHARGE_NONE)
        return false;
    who = who_is(s);
    registry_uncharge(s);
    penalty_failed(&g->penalty, &who, now_ms / 1000);
    return true;
}

void guard_remember(const struct guard *g, const struct session *s, uint64_t now_ms)
{
    struct penalty_who who;

    if (!s->source)
        return;
    who = who_is(s);
    penalty_good(&g->penalty, &who, now_ms / 1000);
}
