/* Penalties: what failed logins cost those who come after them. Pure rules over two tables of
 * control/shared.h; time is an argument.
 *
 * A failed login counts for three: for the client's network, for the /48 around it when it is of
 * IPv6 (an eighth as much, since many may live there), and for the user's name, of whatever case of
 * letters. Counts fall to their half in each penalty_decay. While its verdict is open a login
 * counts too, as if it had failed (the caller keeps these, in struct penalty_open); so a hundred
 * attempts at once get no further than a hundred in a row.
 *
 *     failed     from an address                of a user
 *     few        nothing: up to 3               nothing: up to 10
 *     more       the login waits 1 s, and for each further one twice as long, up to penalty_delay
 *     many       from penalty_refuse_address    from penalty_refuse_user on: waits penalty_delay
 *                                               and is refused, no backend is asked
 *
 * Who is refused is not charged for it: nobody looked at the password, and people whose programs
 * try again by themselves would keep an address shut for as long as they do. So who goes on
 * guessing gets as many attempts as fade meanwhile: with the defaults three or four in a minute.
 *
 * A good login makes the pair of user and network known for 30 days. A known pair is never refused,
 * and nothing that others do to the name from elsewhere touches it: else anybody could lock anybody
 * out. It has a count of its own, which goes up in place of the user's, and from 8 failures on also
 * in place of the address's, so that a telephone with an old password shuts nobody's address; a
 * login waits 1 s from 8 failures on, twice as long from 16, and so on, up to penalty_delay. An
 * eighth of the address's count does the same, for the guesser who sits in the same house.
 *
 * Whether a user exists is not known here, so nothing can depend on it.
 *
 * The tables are of fixed size; when a bucket is full the lowest count goes, so that a flood of
 * addresses that fail once pushes none out that failed often. Keys are hashes with the tables' own
 * random salt.
 */
#ifndef USHER_CONTROL_PENALTY_H
#define USHER_CONTROL_PENALTY_H

#include "base/slice.h"
#include "conf/conf.h"
#include "control/network.h"
#include "control/shared.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    /* Kinds of waits: step 1 is a second, each next one twice as long, the last penalty_delay. */
    PENALTY_STEPS = 10,
    PENALTY_KNOWN_S = 30 * 24 * 3600,
    /* A known pair is noted again when its last note is as old. */
    PENALTY_TOUCH_S = 3600,
    PENALTY_WHY = 128
};

struct penalty {
    const struct conf_global *conf;
    struct shared *scores, *known; /* NULL: nothing is remembered */
};

/* Whom a login is about. `site`: the /48; without bits when there is none. */
struct penalty_who {
    struct network address, site;
    struct slice user;
};

/* Counts of failed logins as they are now, rounded. */
struct penalty_record {
    uint32_t address, site, user;
    uint32_t pair; /* of a known pair */
    bool is_known;
};

/* Logins whose verdict is open: on their way, and those that wait because of failed ones. */
struct penalty_open {
    uint32_t trying, waiting;
};

struct penalty_case {
    struct penalty_record record;
    struct penalty_open address, site, user; /* without the login in question */
};

enum penalty_verdict { PENALTY_PASS, PENALTY_WAIT, PENALTY_REFUSE };

/* What is not asked for is 0: an address without bits, an empty name. */
struct penalty_record penalty_look(const struct penalty *p, const struct penalty_who *who,
                                   uint64_t now_s);

/* Forgets what these are charged with; a known pair stays known. */
void penalty_clear(const struct penalty *p, const struct penalty_who *who);

/* What to do with a login; `has_waited`: it has waited as it was told. A login may be made to wait
 * several times: who has waited but would go beyond a limit if all those on their way failed waits
 * for these, step 1 each time. WAIT: *out_step is 1 to PENALTY_STEPS. REFUSE: `out_why` says why,
 * for the log. */
enum penalty_verdict penalty_judge(const struct penalty *p, const struct penalty_case *c,
                                   bool has_waited, unsigned *out_step, char out_why[PENALTY_WHY]);

/* How long a step is; ascending, no step is longer than penalty_delay. */
uint32_t penalty_step_ms(const struct penalty *p, unsigned step);

/* A login has failed. */
void penalty_failed(const struct penalty *p, const struct penalty_who *who, uint64_t now_s);

/* A login was good, or a session that was has ended. */
void penalty_good(const struct penalty *p, const struct penalty_who *who, uint64_t now_s);

#endif
