/* usher sync FROM TO and usher verify FROM TO; see man/usher-sync.8.
 *
 *     sync.c           a run from the command line to the exit status
 *     sync_options.c   what the options mean, from sync_words.c: which were given
 *     sync_foreign.c   what is said of options that there are not
 *     sync_url.c       the URL of an account
 *     sync_place.c     addresses, TLS, the journal's place; sync_password.c
 *     sync_help.c      the options for `usher help`
 *     sync_parts.h     showing how it goes and what came of it
 */
#ifndef USHER_CLI_SYNC_H
#define USHER_CLI_SYNC_H

#include "base/err.h"

/* What it returns is the exit status: enum sync_status of sync/report.h. argv[0] is "sync" or
 * "verify". */
int cli_sync(int argc, char **argv) MUST_CHECK;

#endif
