/* The options of commands that read the configuration. */
#include "cli/cli.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static int wrong(const char *command, const char *text, const char *word)
{
    fprintf(stderr, "usher %s: %s %s\n", command, text, word);
    return cli_usage(command);
}

int cli_options(int argc, char **argv, struct cli_options *out_options)
{
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'c'},
        {"no-files", no_argument, NULL, 'n'},
        {"print", no_argument, NULL, 'p'},
        {NULL, 0, NULL, 0},
    };
    const char *command = argv[0];
    const bool is_check = strcmp(command, "check") == 0;
    struct cli_options o = {.file = CLI_DEFAULT_FILE, .with_files = true};
    int c;

    optind = 0; /* glibc: begin anew, somebody may have used it */
    opterr = 0;
    /* "+": the words stay in their order, so that argv[optind - 1] is what was looked at. */
    while ((c = getopt_long(argc, argv, "+:c:", longs, NULL)) != -1) {
        if (c == 'c')
            o.file = optarg;
        else if (c == 'n' && is_check)
            o.with_files = false;
        else if (c == 'p' && is_check)
            o.is_print = true;
        else
            return wrong(command, c == ':' ? "a value is missing behind" : "unknown option",
                         argv[optind - 1]);
    }
    if (optind < argc)
        return wrong(command, "write -c before a file:", argv[optind]);
    *out_options = o;
    return CLI_OK;
}
