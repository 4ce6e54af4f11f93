/* From the words of the command line to what a sync needs of the world: addresses, TLS contexts,
 * passwords, and where the journal lies. */
#ifndef USHER_CLI_SYNC_PLACE_H
#define USHER_CLI_SYNC_PLACE_H

#include "base/err.h"
#include "cli/sync_options.h"

#include <stddef.h>

/* Completes both sides of o->params: resolves the hosts' names (as the machine does it: hosts
 * file, nsswitch.conf), refuses to send a password in clear to another machine unless --cleartext1
 * says so, reads the CAs, and then the passwords, asking for those that no option tells. Returns
 * SYNC_EXIT_OK, or the exit status that fits; err tells. sync_places_close() in any case. */
int sync_places_open(struct sync_options *o, struct err *err) MUST_CHECK;
void sync_places_close(struct sync_options *o);

/* The journal of these two accounts, when no option names one: a file below $XDG_STATE_HOME or
 * ~/.local/state, named so that people see whose it is, and two pairs never share one. */
int sync_place_journal(const struct sync_options *o, char *out, size_t room,
                       struct err *err) MUST_CHECK;

#endif
