/* The commands of `usher` that need no processes, and the help and the options of all of them.
 *
 * main() gives each function the arguments from the command's name on: argv[0] is "check". What it
 * returns is the exit status:
 *
 *     usher                     cli_help(0, NULL)
 *     usher help [COMMAND]      cli_help(argc, argv)   also for --help and -h
 *     usher version             cli_version(libraries) also for --version and -V
 *     usher check ...           cli_check(argc, argv)
 *     usher ports ...           cli_ports(argc, argv), in cli/ports.h
 *     usher ctl ...             cli_ctl(argc, argv), in cli/ctl.h
 *     usher health ...          cli_health(argc, argv), in cli/ctl.h
 *     usher route ...           cli_route(argc, argv), in cli/route.h
 *     usher login ...           cli_login(argc, argv), in cli/login.h
 *     usher sync ...            cli_sync(argc, argv), in cli/sync.h
 *     usher verify ...          cli_sync(argc, argv)
 *     usher serve ...           cli_options(argc, argv, &options), then the file is options.file
 *     usher anything            cli_unknown("anything")
 */
#ifndef USHER_CLI_CLI_H
#define USHER_CLI_CLI_H

#include "base/err.h"

#include <stdbool.h>

#define CLI_DEFAULT_FILE "/etc/usher/usher.conf"

/* Exit statuses. */
enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

struct conf;

struct cli_options {
    const char *file; /* -c */
    bool with_files;  /* check: not --no-files */
    bool is_print;    /* check: --print */
};

/* The options of serve or check, the command being argv[0]. Returns CLI_OK; or says on standard
 * error what is wrong and returns CLI_USAGE. */
int cli_options(int argc, char **argv, struct cli_options *out_options) MUST_CHECK;

/* Loads and checks a configuration and the files that it names; tells mistakes on standard error,
 * each as "FILE:LINE: text". Returns CLI_OK and the snapshot, or CLI_FAILED. */
int cli_load(const char *path, struct conf **out_conf) MUST_CHECK;

/* The same without a look at the files that it names, for who needs none of them. */
int cli_load_settings(const char *path, struct conf **out_conf) MUST_CHECK;

/* usher check [-c FILE] [--no-files] [--print]. What is only doubtful is told as "FILE:LINE:
 * warning: text" and does not change the exit status. */
int cli_check(int argc, char **argv) MUST_CHECK;

/* Lists the commands, or explains the one named in argv[1]. With argc 0, when no command was given,
 * the list goes to standard error and the status is CLI_USAGE. */
int cli_help(int argc, char **argv) MUST_CHECK;

/* "usher 0.1.0" and libConfuse's version on standard output; `libraries`: lines of others, each
 * with a newline, or NULL. */
int cli_version(const char *libraries) MUST_CHECK;

/* Says on standard error that there is no such command, and which may be meant. */
int cli_unknown(const char *word) MUST_CHECK;

/* Says on standard error how the command of that name is used. */
int cli_usage(const char *name) MUST_CHECK;

#endif
