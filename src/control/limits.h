/* The limits on sessions and logins of the configuration: max_sessions... and max_logins. Pure
 * questions to the registry; the session in question is in it already.
 *
 * Who is refused by a limit has done nothing wrong, and is not charged for it.
 *
 * A user's sessions count from ADMIT on, also while they are on hold, so that a hold is no way
 * around the limit. Those that wait because of failed logins do not, since for these nobody has
 * shown a password that is right: else whoever knows a name could fill the user's limit by failing.
 * They do count towards the limit of user and address, which harms only that address.
 *
 * Exempt addresses (penalty_exempt) have no limit by address, and none by user and address: web
 * mails and proxies have thousands of sessions.
 */
#ifndef USHER_CONTROL_LIMITS_H
#define USHER_CONTROL_LIMITS_H

#include "control/registry.h"

enum { LIMITS_WHY = 96 };

struct limits {
    const struct conf_global *conf;
    const struct registry *registry;
};

struct refusal {
    enum refuse code;
    char why[LIMITS_WHY]; /* for the log */
};

/* Each says whether a limit is exceeded, and fills in the refusal then. */

/* A connection, no longer in STAGE_OPENING. */
bool limits_open(const struct limits *l, const struct session *s, struct refusal *out_refusal);

/* A session that is about to come from elsewhere, as a trusted proxy told. */
bool limits_come(const struct limits *l, const struct session *s, const struct in6_addr *client,
                 struct refusal *out_refusal);

/* A login, in STAGE_ASKING. `is_final`: the directories have said how many sessions the user may
 * have; before they have it may be more than others. */
bool limits_admit(const struct limits *l, const struct session *s, bool is_final,
                  struct refusal *out_refusal);

/* A login that would be on its way next. */
bool limits_login(const struct limits *l, struct refusal *out_refusal);

#endif
