/* usher check: is the configuration good? */
#include "cli/cli.h"
#include "conf/conf.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Where the mistake is, in bold on a terminal; nothing else is marked. */
static void tell(void *arg, const struct conf_where *where, const char *text)
{
    const bool is_bold = isatty(STDERR_FILENO) && !getenv("NO_COLOR");

    (void)arg;
    fputs(is_bold ? "\033[1m" : "", stderr);
    if (where->line)
        fprintf(stderr, "%s:%u:", where->file, where->line);
    else
        fprintf(stderr, "%s:", where->file);
    fprintf(stderr, "%s %s\n", is_bold ? "\033[0m" : "", text);
}

static int print(const struct conf *conf)
{
    struct err err;

    if (conf_print(conf, stdout, &err) == 0)
        return CLI_OK;
    fprintf(stderr, "usher check: %s\n", err.text);
    return CLI_FAILED;
}

int cli_load(const char *path, bool with_files, struct conf **out_conf)
{
    struct conf *conf;
    struct err err;
    unsigned mistakes;

    if (conf_load(path, &conf, &err) < 0) {
        fprintf(stderr, "%s\n1 mistake\n", err.text);
        return CLI_FAILED;
    }
    mistakes = conf_check(conf, with_files, tell, NULL);
    if (mistakes > 0) {
        fprintf(stderr, "%u mistake%s\n", mistakes, mistakes == 1 ? "" : "s");
        conf_free(&conf);
        return CLI_FAILED;
    }
    *out_conf = conf;
    return CLI_OK;
}

int cli_check(int argc, char **argv)
{
    struct cli_options o;
    struct conf *conf;
    int status = CLI_OK;

    if (cli_options(argc, argv, &o) != CLI_OK)
        return CLI_USAGE;
    if (cli_load(o.file, o.with_files, &conf) != CLI_OK)
        return CLI_FAILED;
    if (o.is_print)
        status = print(conf);
    else
        printf("%s: ok\n", o.file);
    conf_free(&conf);
    return status;
}
