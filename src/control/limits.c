/* The limits of control/limits.h. */
#include "control/limits.h"

#include <stdio.h>

static bool refuse(struct refusal *out, enum refuse code, const char *setting, uint32_t value)
{
    out->code = code;
    snprintf(out->why, sizeof out->why, "%s = %u", setting, value);
    return true;
}

/* Sessions that count: those whose OPEN is not answered do not yet. */
static uint32_t inside(const struct source *source)
{
    return source->sessions_n - source->opening_n;
}

static bool is_above(uint64_t n, uint32_t limit)
{
    return limit > 0 && n > limit;
}

static bool refuse_address(const struct limits *l, struct refusal *out)
{
    return refuse(out, REFUSE_MAX_ADDRESS, "max_sessions_per_address",
                  l->conf->max_sessions_per_address);
}

bool limits_open(const struct limits *l, const struct session *s, struct refusal *out_refusal)
{
    if (is_above(l->registry->sessions_n - l->registry->opening_n, l->conf->max_sessions))
        return refuse(out_refusal, REFUSE_MAX_SESSIONS, "max_sessions", l->conf->max_sessions);
    if (s->source && is_above(inside(s->source), l->conf->max_sessions_per_address))
        return refuse_address(l, out_refusal);
    return false;
}

bool limits_come(const struct limits *l, const struct session *s, const struct in6_addr *client,
                 struct refusal *out_refusal)
{
    const struct sources *sources = &l->registry->sources;
    const struct source *source =
        sources_have(sources, client) ? sources_find(sources, client) : NULL;

    if (source && source != s->source &&
        is_above((uint64_t)inside(source) + 1, l->conf->max_sessions_per_address))
        return refuse_address(l, out_refusal);
    return false;
}

bool limits_admit(const struct limits *l, const struct session *s, bool is_final,
                  struct refusal *out_refusal)
{
    const struct conf_global *g = l->conf;
    uint32_t told = s->login->max_sessions;
    uint32_t most = told > 0 ? told : g->max_sessions_per_user;

    if (is_final && is_above(s->user->sessions_n - s->user->delayed_n, most))
        return refuse(out_refusal, REFUSE_MAX_USER,
                      told > 0 ? "the directory's max_sessions" : "max_sessions_per_user", most);
    if (s->source && is_above(registry_visits(l->registry, s), g->max_sessions_per_user_address))
        return refuse(out_refusal, REFUSE_MAX_USER, "max_sessions_per_user_address",
                      g->max_sessions_per_user_address);
    return false;
}

bool limits_login(const struct limits *l, struct refusal *out_refusal)
{
    if (is_above(l->registry->logins_n + 1, l->conf->max_logins))
        return refuse(out_refusal, REFUSE_UNAVAILABLE, "max_logins", l->conf->max_logins);
    return false;
}
