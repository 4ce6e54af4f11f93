/* usher ctl: asks a running usher by its unix door (admin/door.h), for people and for scripts. */
#ifndef USHER_CLI_CTL_H
#define USHER_CLI_CTL_H

#include "base/err.h"

#include <stddef.h>
#include <stdio.h>

/* Exit statuses, beside CLI_OK (done), CLI_FAILED (refused, or it failed) and CLI_USAGE: no usher
 * answers. */
enum { CTL_NOBODY = 3 };

/* usher ctl ...; see usher-ctl(8). argv[0] is "ctl". Returns the exit status. */
int cli_ctl(int argc, char **argv) MUST_CHECK;

/* usher health [-c FILE]: CLI_OK if the usher of that configuration takes logins, CLI_FAILED if it
 * is not that far (yet), CTL_NOBODY if none answers in time. */
int cli_health(int argc, char **argv) MUST_CHECK;

/* The list of all commands; with `words`, the n words of a command, what there is to say of that.
 * Returns CLI_OK, or says on standard error that there is none and returns CLI_USAGE. */
int ctl_help(FILE *out, const char *const *words, size_t n) MUST_CHECK;

#endif
