/* usher route: where a user would be sent, and why, without a running usher. */
#ifndef USHER_CLI_ROUTE_H
#define USHER_CLI_ROUTE_H

#include "base/err.h"
#include "directory/facts.h"

#include <jansson.h>

struct ctl_show;
struct way;

/* Exit statuses, beside CLI_USAGE, which is also that of a bad configuration. */
enum { ROUTE_SERVED = 0, ROUTE_REFUSED = 1, ROUTE_FAILED = 3 };

/* usher route USER ...; see usher-route(8). argv[0] is "route". Returns the exit status. */
int cli_route(int argc, char **argv) MUST_CHECK;

/* --- the pieces ------------------------------------------------------------------------------- */

/* All of it as one object, by the names of `usher ctl route` (tables/answers.def) and a few more
 * that only this has; `given`: the name as it was typed. NULL: memory was out. */
json_t *route_json(const struct way *w, const char *given);

/* The page for people. */
void route_page(struct ctl_show *s, const struct way *w, const char *given);

/* The facts in one line, as a map has them; secrets are "(set)". "" when there are none. */
enum { ROUTE_FACTS = FACTS_MAX + 64 };
const char *route_facts(const struct way *w, char out[ROUTE_FACTS]);

/* Who has said which pool: "by the directory's tag=eu", "of the listener imaps". */
enum { ROUTE_HOW = 256 };
const char *route_pool_how(const struct way *w, char out[ROUTE_HOW]);

#endif
