/* usher sync FROM TO and usher verify FROM TO; see man/usher-sync.8. */
#ifndef USHER_CLI_SYNC_H
#define USHER_CLI_SYNC_H

/* What they return is the exit status: enum sync_status of sync/report.h. argv[0] is "sync" or
 * "verify". */
int cli_sync(int argc, char **argv);

#endif
