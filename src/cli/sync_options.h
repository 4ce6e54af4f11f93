/* The command line of `usher sync` and `usher verify`, from the rows of tables/sync_options.def:
 * parsing, defaults, and what imapsync calls otherwise. Touches neither the network nor a file; but
 * it wipes passwords that stand in argv, at once, so that /proc/PID/cmdline has them no longer.
 */
#ifndef USHER_CLI_SYNC_OPTIONS_H
#define USHER_CLI_SYNC_OPTIONS_H

#include "base/err.h"
#include "base/slice.h"
#include "cli/sync_url.h"
#include "sync/sync.h"

#include <stdbool.h>
#include <stdio.h>

enum sync_option {
#define SYNC_OPTION(NAME, name, SIDES, KIND, value, fallback, range, COMMANDS, manual) \
    OPTION_##NAME,
#include "tables/sync_options.def"
    SYNC_OPTIONS
};

enum sync_password_from {
    PASSWORD_ASKED,
    PASSWORD_FILE,    /* `word` is its name */
    PASSWORD_ENV,     /* the variable's name */
    PASSWORD_COMMAND, /* for sh */
    PASSWORD_GIVEN    /* it is in `password` already */
};

/* One of the two accounts, as far as words tell. */
struct sync_account {
    char host[SYNC_URL_HOST];
    char user[SYNC_URL_USER];     /* whose mail it is */
    char authuser[SYNC_URL_USER]; /* who logs in for that user; "": the user */
    enum sync_password_from password_from;
    const char *word;
    struct slice password; /* of secret_alloc(LOGIN_PASSWORD_MAX): password_free() */
    bool may_be_clear;     /* --cleartext */
};

struct sync_kept; /* texts of `params` that stand nowhere else */

/* Lies still: `params` points into it, and into argv. */
struct sync_options {
    bool is_verify;
    bool asks_help; /* --help: nothing else is set */
    /* All but addresses, TLS contexts and passwords of the sides, and the journal that is meant
     * when no option says: see sync_place.h. */
    struct sync_params params;
    struct sync_account accounts[2]; /* FROM, TO */
    const char *ca;                  /* files; NULL: none */
    const char *html, *log;
    bool has_journal; /* not --no-journal */
    bool is_json, is_verbose, is_quiet;
    struct sync_kept *kept;
};

/* argv[0] is "sync" or "verify". The error says what is wrong, and what to write instead. Whatever
 * it returns, sync_options_free() is to be called. */
int sync_options_read(struct sync_options *o, int argc, char **argv, struct err *err) MUST_CHECK;

/* Wipes passwords; the memory of `o` is the caller's. */
void sync_options_free(struct sync_options *o);

/* All options of the command with their manual texts, for `usher help`. */
void sync_options_help(FILE *out, bool is_verify);

#endif
