/* The health of one backend, from probes and from real logins. Pure: time is an argument, and what
 * has changed is the return value.
 *
 *     UP          serves
 *     FAILING     serves, but has failed: it is probed at the fast interval
 *     DOWN        does not serve
 *     RECOVERING  was down, and the last probe succeeded: does not serve yet, until `rise` have
 *
 * From UP the first failed probe leads to FAILING, `fall` in a row to DOWN, a good one back. From
 * DOWN the first good probe leads to RECOVERING, `rise` in a row to UP, a bad one back to DOWN.
 *
 * Real logins (health_login()) bring UP to FAILING, so that a probe comes soon, when HEALTH_SUSPECT
 * in a row have failed, and again with every HEALTH_SUSPECT more; and to DOWN when `passive_fall`
 * in a row have (0: never), with no good one between, of at least HEALTH_PARTIES users and from as
 * many addresses: one client's or one user's failures never do. Blame is remembered by hashes of
 * the first few of each. A good login ends the row of logins and nothing else. While it does not
 * serve, logins that were begun before say nothing; and it comes up without blame.
 *
 * A backend that went down by logins may pass every probe; so it does not come up for
 * HEALTH_REST_MS, twice as long each further time in a row, up to HEALTH_REST_MAX_MS; a time is in
 * a row when it begins within an hour of the one before, counted from when that was over and it
 * served again. Probes count meanwhile as ever, to RECOVERING and back; the first good one after
 * the rest that is at least the `rise`th in a row brings it up.
 *
 * What the operator says of a backend is another thing and not known here. Whose `is_checked` has
 * changed is begun anew by health_init(); all other params may change at any time.
 */
#ifndef USHER_BACKEND_HEALTH_H
#define USHER_BACKEND_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

enum health_state { HEALTH_UP, HEALTH_FAILING, HEALTH_DOWN, HEALTH_RECOVERING };

enum {
    HEALTH_SUSPECT = 3, /* logins */
    HEALTH_PARTIES = 3, /* users, addresses */
    HEALTH_REST_MS = 30 * 1000,
    HEALTH_REST_MAX_MS = 10 * 60 * 1000,
    HEALTH_ROW_MS = 60 * 60 * 1000,
    /* slow start: the least share, in 256ths, so that somebody comes */
    HEALTH_SHARE_LEAST = 8,
    HEALTH_SHARE_WHOLE = 256
};

struct health_params {
    bool is_checked; /* check is not off; else it is UP for ever */
    uint32_t interval_ms, fast_interval_ms, rise, fall, passive_fall, slow_start_ms;
};

struct health {
    uint8_t state;                /* enum health_state */
    uint8_t users_n, addresses_n; /* of the blamed below */
    uint32_t row;                 /* probes in a row that went the way that counts in this state */
    uint32_t failed_logins;       /* in a row */
    uint32_t users[HEALTH_PARTIES], addresses[HEALTH_PARTIES]; /* hashes of who was blamed */
    uint32_t rests;         /* times in a row that logins have brought it down */
    uint64_t rest_until_ms; /* 0: it is not down by logins */
    uint64_t rested_ms;     /* when it served again after the last such time */
    uint64_t since_ms;      /* of the state */
    uint64_t up_ms;         /* when it came up after having been down; 0: it was never down */
    uint64_t due_ms;        /* the next probe; 0: none (one is under way, or it is not checked) */
    uint32_t seed;          /* for the jitter; any number, also one counted up */
};

/* UP, with the first probe within the first interval, spread by the seed. */
void health_init(struct health *h, const struct health_params *p, uint32_t seed, uint64_t now_ms);

/* What lasts when somebody else goes on with it: times as they lie from the moment, as clocks may
 * differ. Not in it, as it soon comes again: who was blamed since the last good login, and when the
 * next probe was due. */
struct health_record {
    enum health_state state;
    uint32_t row, rests;
    uint64_t age_ms;        /* of the state */
    bool is_resting;        /* it is down by logins */
    uint64_t rest_ms;       /* what is left of the rest */
    uint64_t rested_age_ms; /* with `rests`: since it served again */
    bool was_down;          /* it has come up since */
    uint64_t up_age_ms;     /* with was_down: since it came up */
};

void health_record(const struct health *h, uint64_t now_ms, struct health_record *out_record);

/* As health_init(), and then as recorded; the first probe comes within the interval of its state.
 * What was recorded by other params counts as far as these allow: one that is not checked is UP,
 * and UP for as long only if it was. */
void health_resume(struct health *h, const struct health_params *p, uint32_t seed,
                   const struct health_record *r, uint64_t now_ms);

/* Each says whether the state has changed. */

/* A probe has ended. Sets when the next is due: after the interval of the state, a tenth more or
 * less by chance. */
bool health_probed(struct health *h, const struct health_params *p, bool is_ok, uint64_t now_ms);

/* A real attempt has ended with or without a verdict; a refused password is a verdict. `user` and
 * `address` are hashes of who it was for. */
bool health_login(struct health *h, const struct health_params *p, bool is_ok, uint32_t user,
                  uint32_t address, uint64_t now_ms);

/* A probe that said nothing of the backend: it is due again after the fast interval. */
void health_unprobed(struct health *h, const struct health_params *p, uint64_t now_ms);

/* A probe is under way: none is due. */
void health_probing(struct health *h);

/* UP or FAILING. */
static inline bool health_serves(const struct health *h)
{
    return h->state == HEALTH_UP || h->state == HEALTH_FAILING;
}

/* Its share of weight and rate: from HEALTH_SHARE_LEAST when it comes up after having been down,
 * evenly to HEALTH_SHARE_WHOLE after slow_start_ms; the whole when it was never down, the least
 * while it does not serve. */
uint32_t health_share(const struct health *h, const struct health_params *p, uint64_t now_ms);

/* "up", "failing", "down", "recovering". */
const char *health_name(enum health_state state);

#endif
