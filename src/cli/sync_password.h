/* The passwords of both accounts: from files, the environment, commands, or the terminal. */
#ifndef USHER_CLI_SYNC_PASSWORD_H
#define USHER_CLI_SYNC_PASSWORD_H

#include "base/err.h"
#include "cli/login_parts.h"
#include "cli/sync_options.h"

/* Fills the sides' passwords; they are kept in o->accounts. Variables are wiped before any command
 * runs. Asks on the terminal alone: a script that has forgotten a password is told so. */
int sync_passwords_read(struct sync_options *o, struct err *err) MUST_CHECK;

#endif
