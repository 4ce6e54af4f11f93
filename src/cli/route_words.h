/* The command lines of `usher route` and `usher login`, which have most of their words in common.
 */
#ifndef USHER_CLI_ROUTE_WORDS_H
#define USHER_CLI_ROUTE_WORDS_H

#include "base/err.h"
#include "cli/route_way.h"

#include <stdbool.h>

struct way_words {
    const char *command; /* "route" or "login" */
    const char *file;    /* -c, or the usual one */
    struct way_params way;
    bool is_json;
    /* login's */
    const char *backend;       /* NULL: the one that the user would be sent to */
    const char *password_file; /* NULL: not said */
    bool is_explained;
};

/* CLI_OK; or CLI_USAGE when it was told on standard error what is wrong. */
int way_words_read(int argc, char **argv, struct way_words *out_words) MUST_CHECK;

/* "usher login: ..." on standard error, made safe for a terminal. */
void way_tell(const struct way_words *words, const char *text);

#endif
