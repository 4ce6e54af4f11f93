/* Mistakes in and doubts about directories which only their drivers know of, beside those of
 * conf_check(): for `usher check` and for the start.
 */
#ifndef USHER_DIRECTORY_CHECK_H
#define USHER_DIRECTORY_CHECK_H

#include "base/err.h"
#include "conf/conf.h"

#include <stdbool.h>

struct directory_finding {
    bool is_mistake;                /* else a doubt */
    const struct conf_where *where; /* of the section or setting; or a line of a map */
    const char *text;
};

typedef void directory_report(void *arg, const struct directory_finding *finding);

/* Mistakes: rules of the setting `rules` that are wrong, or name a pool, tag, backend or host that
 * the configuration does not have. `with_files`: the same of maps in files, but as doubts, since
 * usher starts without them and reads them when they are right; of one file at most
 * DIRECTORY_DOUBTS. Returns how many mistakes. The configuration has passed conf_check(). */
enum { DIRECTORY_DOUBTS = 20 };
unsigned directory_check(const struct conf *conf, bool with_files, directory_report *report,
                         void *arg) MUST_CHECK;

#endif
