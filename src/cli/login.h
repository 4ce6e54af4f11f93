/* usher login: one real login at a backend, step by step. Nothing is recorded. */
#ifndef USHER_CLI_LOGIN_H
#define USHER_CLI_LOGIN_H

#include "base/err.h"

/* Exit statuses, beside CLI_USAGE, which is also that of a bad configuration. */
enum { LOGIN_DONE = 0, LOGIN_REFUSED = 1, LOGIN_NO_VERDICT = 3 };

/* usher login USER ...; see usher-login(8). argv[0] is "login". Returns the exit status. */
int cli_login(int argc, char **argv) MUST_CHECK;

#endif
