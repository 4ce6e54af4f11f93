/* The rules of control/penalty.h. Who waits in which line, and which logins are under way, is
 * control/guard.c's. */
#include "control/penalty.h"

#include "base/err.h"
#include "ipc/message.h"

#include <stdio.h>
#include <string.h>

enum {
    FREE_ADDRESS = 3,
    FREE_USER = 10,
    FREE_KNOWN = 8,
    /* A site takes so many times the failures of an address, a known pair of its address's. */
    SITE_SHARE = 8,
    KNOWN_SHARE = 8,
    /* Of control/shared.h, in which a user's pairs are; of 8 each. */
    USER_BUCKETS = 8,
    STEP_MS = 1000
};

/* Counts are kept with 16 binary places. */
#define ONE       (1U << 16)
#define SCORE_MAX UINT32_MAX

struct score {
    uint32_t points;
    uint32_t time_s;
};

/* --- counts that fall ---------------------------------------------------------------------- */

/* 2 to the power of minus 1/2, 1/4, 1/8 ... in units of 2 to the power of minus 32. */
static const uint32_t roots[16] = {
    0xb504f333, 0xd744fcca, 0xeac0c6e7, 0xf5257d15, 0xfa83b2db, 0xfd3e0c0c, 0xfe9e115c, 0xff4ecb59,
    0xffa75652, 0xffd3a751, 0xffe9d2b2, 0xfff4e91b, 0xfffa747e, 0xfffd3a3b, 0xfffe9d1c, 0xffff4e8e};

static uint32_t decayed(const struct penalty *p, struct score score, uint64_t now_s)
{
    uint64_t half_ms = p->conf->penalty_decay;
    uint64_t age_ms = now_s > score.time_s ? (now_s - score.time_s) * 1000 : 0;
    uint64_t part = (age_ms % half_ms << 16) / half_ms;
    uint64_t points = score.points;

    if (age_ms / half_ms >= 32)
        return 0;
    points >>= age_ms / half_ms;
    for (unsigned i = 0; i < 16; i++) {
        if (part & 1U << (15 - i))
            points = points * roots[i] >> 32;
    }
    return (uint32_t)points;
}

static uint32_t rounded(uint32_t points)
{
    return (uint32_t)(((uint64_t)points + ONE / 2) / ONE);
}

static uint32_t one_more(uint32_t points)
{
    return points > SCORE_MAX - ONE ? SCORE_MAX : points + ONE;
}

/* --- what is noted ------------------------------------------------------------------------- */

/* `kind` keeps the keys of users, networks and pairs apart. */
static struct hash128 key_of(const struct shared *table, char kind, const struct network *network,
                             struct slice user)
{
    struct hash128 salt = shared_salt(table);
    char text[sizeof salt + sizeof(struct network) + 1 + IPC_USER_MAX];
    size_t n = sizeof salt;

    INSIST(user.n <= IPC_USER_MAX);
    memcpy(text, &salt, n);
    text[n++] = kind;
    if (network) {
        text[n++] = (char)network->bits;
        memcpy(text + n, &network->prefix, sizeof network->prefix);
        n += sizeof network->prefix;
    }
    for (size_t i = 0; i < user.n; i++)
        text[n++] =
            (char)(user.p[i] >= 'A' && user.p[i] <= 'Z' ? user.p[i] + 'a' - 'A' : user.p[i]);
    return hash_stable(slice_of(text, n));
}

static struct hash128 network_key(const struct penalty *p, const struct network *network)
{
    return key_of(p->scores, 'n', network, slice_of(NULL, 0));
}

static struct hash128 user_key(const struct penalty *p, struct slice user)
{
    return key_of(p->scores, 'u', NULL, user);
}

static struct hash128 pair_key(const struct penalty *p, const struct penalty_who *who)
{
    struct hash128 key = key_of(p->known, 'p', &who->address, who->user);

    /* The low bits choose the bucket. All pairs of a user share a few buckets, so that who logs in
     * from a million networks pushes out its own pairs and not everybody's. */
    key.low = key_of(p->known, 'u', NULL, who->user).low * USER_BUCKETS + key.low % USER_BUCKETS;
    return key;
}

static uint32_t score_of(const struct penalty *p, struct hash128 key, uint64_t now_s)
{
    struct shared_note note;

    if (!shared_find(p->scores, key, now_s, UINT32_MAX, &note))
        return 0;
    return decayed(p, (struct score){(uint32_t)note.value, note.time_s}, now_s);
}

struct moment {
    const struct penalty *penalty;
    uint64_t now_s;
};

static uint64_t worth_of_score(const void *arg, const struct shared_note *note)
{
    const struct moment *m = arg;

    return decayed(m->penalty, (struct score){(uint32_t)note->value, note->time_s}, m->now_s);
}

/* One failure more. */
static void add(const struct penalty *p, struct hash128 key, uint64_t now_s)
{
    const struct moment moment = {p, now_s};
    const struct shared_note note = {one_more(score_of(p, key, now_s)), (uint32_t)now_s};

    shared_put(p->scores, key, &note, worth_of_score, &moment);
}

/* A known pair's note: its time is that of the last good login; the value has the count of its
 * failures with a time of its own in the upper half. */
static struct score pair_score(const struct shared_note *note)
{
    return (struct score){(uint32_t)note->value, (uint32_t)(note->value >> 32)};
}

static uint64_t pair_value(struct score score)
{
    return (uint64_t)score.time_s << 32 | score.points;
}

static bool is_pair(const struct penalty_who *who)
{
    return who->address.bits > 0 && who->user.n > 0;
}

static bool find_pair(const struct penalty *p, const struct penalty_who *who, uint64_t now_s,
                      struct hash128 *out_key, struct shared_note *out_note)
{
    if (!p->known || !is_pair(who))
        return false;
    *out_key = pair_key(p, who);
    return shared_find(p->known, *out_key, now_s, PENALTY_KNOWN_S, out_note);
}

struct penalty_record penalty_look(const struct penalty *p, const struct penalty_who *who,
                                   uint64_t now_s)
{
    struct penalty_record r = {0};
    struct hash128 key;
    struct shared_note pair;

    if (p->scores) {
        if (who->address.bits > 0)
            r.address = rounded(score_of(p, network_key(p, &who->address), now_s));
        if (who->user.n > 0)
            r.user = rounded(score_of(p, user_key(p, who->user), now_s));
        if (who->site.bits > 0)
            r.site = rounded(score_of(p, network_key(p, &who->site), now_s));
    }
    r.is_known = find_pair(p, who, now_s, &key, &pair);
    if (r.is_known)
        r.pair = rounded(decayed(p, pair_score(&pair), now_s));
    return r;
}

void penalty_clear(const struct penalty *p, const struct penalty_who *who)
{
    struct hash128 key;
    struct shared_note pair;

    if (p->scores && who->address.bits > 0)
        shared_remove(p->scores, network_key(p, &who->address));
    if (p->scores && who->site.bits > 0)
        shared_remove(p->scores, network_key(p, &who->site));
    if (p->scores && who->user.n > 0)
        shared_remove(p->scores, user_key(p, who->user));
    if (!p->known || !is_pair(who))
        return;
    key = pair_key(p, who);
    /* However old it is. */
    if (shared_find(p->known, key, UINT32_MAX, UINT32_MAX, &pair)) {
        pair.value = 0;
        shared_put(p->known, key, &pair, NULL, NULL);
    }
}

void penalty_failed(const struct penalty *p, const struct penalty_who *who, uint64_t now_s)
{
    struct hash128 key;
    struct shared_note pair;
    bool is_known = find_pair(p, who, now_s, &key, &pair), is_habit = false;

    if (is_known) {
        const uint32_t before = decayed(p, pair_score(&pair), now_s);
        const struct score score = {one_more(before), (uint32_t)now_s};

        /* The same few pairs again and again are programs with an old password. */
        is_habit = rounded(before) >= FREE_KNOWN;
        pair.value = pair_value(score);
        shared_put(p->known, key, &pair, NULL, NULL);
    }
    if (!p->scores || is_habit)
        return;
    add(p, network_key(p, &who->address), now_s);
    if (who->site.bits > 0)
        add(p, network_key(p, &who->site), now_s);
    if (!is_known)
        add(p, user_key(p, who->user), now_s);
}

void penalty_good(const struct penalty *p, const struct penalty_who *who, uint64_t now_s)
{
    struct hash128 key = {0};
    struct shared_note pair = {0};

    if (!p->known || !is_pair(who) ||
        (find_pair(p, who, now_s, &key, &pair) && now_s - pair.time_s < PENALTY_TOUCH_S))
        return;
    pair.time_s = (uint32_t)now_s;
    shared_put(p->known, key, &pair, NULL, NULL);
}

/* --- the verdict --------------------------------------------------------------------------- */

static bool reaches(uint32_t failures, uint32_t limit)
{
    return limit > 0 && failures >= limit;
}

static unsigned last_step(const struct penalty *p)
{
    unsigned step = 1;

    if (p->conf->penalty_delay == 0)
        return 0;
    while (step < PENALTY_STEPS && (uint32_t)STEP_MS << (step - 1) < p->conf->penalty_delay)
        step++;
    return step;
}

uint32_t penalty_step_ms(const struct penalty *p, unsigned step)
{
    uint32_t ms = (uint32_t)STEP_MS << (step - 1);

    INSIST(step >= 1 && step <= PENALTY_STEPS);
    return step >= last_step(p) ? p->conf->penalty_delay : ms;
}

/* A step for each failure. */
static unsigned steep(uint32_t failures, uint32_t free)
{
    uint32_t over = failures < free ? 0 : failures - free + 1;

    return over < PENALTY_STEPS ? over : PENALTY_STEPS;
}

/* A step for each doubling. */
static unsigned gentle(uint32_t failures, uint32_t free)
{
    unsigned step = 0;

    while (step < PENALTY_STEPS && failures >> step >= free)
        step++;
    return step;
}

static uint32_t all_of(uint32_t failures, const struct penalty_open *open)
{
    return failures + open->trying + open->waiting;
}

static unsigned larger(unsigned a, unsigned b)
{
    return a > b ? a : b;
}

static unsigned smaller(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

static unsigned step_of(const struct penalty_case *c)
{
    const struct penalty_record *r = &c->record;

    if (r->is_known)
        return larger(gentle(r->pair, FREE_KNOWN), gentle(r->address / KNOWN_SHARE, FREE_KNOWN));
    return larger(larger(steep(all_of(r->address, &c->address), FREE_ADDRESS),
                         steep(all_of(r->site, &c->site) / SITE_SHARE, FREE_ADDRESS)),
                  steep(all_of(r->user, &c->user), FREE_USER));
}

enum limit { LIMIT_NONE, LIMIT_ADDRESS, LIMIT_SITE, LIMIT_USER };

/* Which limit a stranger has reached. */
static enum limit reached(const struct penalty *p, const struct penalty_record *r)
{
    if (reaches(r->address, p->conf->penalty_refuse_address))
        return LIMIT_ADDRESS;
    if (reaches(r->site / SITE_SHARE, p->conf->penalty_refuse_address))
        return LIMIT_SITE;
    return reaches(r->user, p->conf->penalty_refuse_user) ? LIMIT_USER : LIMIT_NONE;
}

/* The record if all logins on their way fail. */
static struct penalty_record at_worst(const struct penalty_case *c)
{
    struct penalty_record r = c->record;

    r.address += c->address.trying;
    r.site += c->site.trying;
    r.user += c->user.trying;
    return r;
}

static void say_why(const struct penalty *p, const struct penalty_record *r, enum limit limit,
                    char out_why[PENALTY_WHY])
{
    const struct conf_global *g = p->conf;

    switch (limit) {
    case LIMIT_NONE:
        break;
    case LIMIT_ADDRESS:
        snprintf(out_why, PENALTY_WHY,
                 "failed logins from the address: %u, "
                 "penalty_refuse_address = %u",
                 r->address, g->penalty_refuse_address);
        break;
    case LIMIT_SITE:
        snprintf(out_why, PENALTY_WHY,
                 "failed logins from the address's /48: %u, "
                 "penalty_refuse_address = %u, times %d",
                 r->site, g->penalty_refuse_address, SITE_SHARE);
        break;
    case LIMIT_USER:
        snprintf(out_why, PENALTY_WHY, "failed logins of the user: %u, penalty_refuse_user = %u",
                 r->user, g->penalty_refuse_user);
        break;
    }
}

enum penalty_verdict penalty_judge(const struct penalty *p, const struct penalty_case *c,
                                   bool has_waited, unsigned *out_step, char out_why[PENALTY_WHY])
{
    const struct penalty_record worst = at_worst(c);
    unsigned last = last_step(p), step = smaller(step_of(c), last);
    enum limit limit = LIMIT_NONE;

    if (!c->record.is_known)
        limit = reached(p, &worst);
    if (has_waited)
        step = 0;
    if (limit != LIMIT_NONE) {
        bool is_settled = reached(p, &c->record) != LIMIT_NONE;

        if (last == 0 || (has_waited && is_settled)) {
            say_why(p, &worst, limit, out_why);
            return PENALTY_REFUSE;
        }
        step = is_settled ? last : larger(step, 1);
    }
    if (step == 0)
        return PENALTY_PASS;
    *out_step = step;
    return PENALTY_WAIT;
}
