/* Usher: the front door for IMAP. One binary: the commands that people type, and the roles that the
 * parent executes. */
#include "admin/door.h"
#include "base/num.h"
#include "cli/cli.h"
#include "cli/ctl.h"
#include "cli/login.h"
#include "cli/ports.h"
#include "cli/route.h"
#include "cli/sync.h"
#include "control/control.h"
#include "lookup/lookup.h"
#include "parent/parent.h"
#include "parent/prepare.h"
#include "proc/child.h"
#include "worker/worker.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static int serve(const char *program, int argc, char **argv)
{
    struct cli_options options;
    struct conf *conf;

    if (cli_options(argc, argv, &options) != CLI_OK)
        return CLI_USAGE;
    return cli_load(options.file, &conf) == CLI_OK ? parent_serve(conf, options.file, program)
                                                   : CLI_FAILED;
}

/* `--role NAME`: what parent/processes.c executes us as. */
static int run_role(const char *name)
{
    struct child_role control = control_role;
    const struct child_role *const roles[] = {&control, &worker_role, &lookup_role};

    control.part = &admin_door;
    if (strcmp(role_name(ROLE_PREPARE), name) == 0)
        return prepare_main();
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        if (strcmp(role_name(roles[i]->role), name) == 0)
            return child_main(roles[i]);
    }
    return CLI_USAGE;
}

/* `--state NUMBER`: what parent/upgrade.c executes us as; the number is a descriptor's. */
static int go_on(const char *number)
{
    uint64_t fd;

    if (!num_parse(slice_str(number), INT32_MAX, &fd) || fcntl((int)fd, F_GETFD) < 0)
        return CLI_USAGE;
    return parent_go_on((int)fd);
}

/* What is given the words that follow. */
static const struct {
    const char *word;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"check", cli_check}, {"ports", cli_ports}, {"ctl", cli_ctl},   {"health", cli_health},
    {"route", cli_route}, {"login", cli_login}, {"sync", cli_sync}, {"verify", cli_sync},
};

static bool is_one_of(const char *word, const char *a, const char *b, const char *c)
{
    return strcmp(word, a) == 0 || strcmp(word, b) == 0 || strcmp(word, c) == 0;
}

/* One of the three that is closed would be the next file that we open, and the log go into that. */
static void open_standard_files(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO)
        close(fd);
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : NULL;

    open_standard_files();

    if (!word)
        return cli_help(0, NULL);
    if (strcmp(word, "--role") == 0 && argc == 3 && fcntl(CHILD_FD_PARENT, F_GETFD) >= 0)
        return run_role(argv[2]);
    if (strcmp(word, "--state") == 0 && argc == 3)
        return go_on(argv[2]);
    if (is_one_of(word, "help", "--help", "-h"))
        return cli_help(argc - 1, argv + 1);
    if (is_one_of(word, "version", "--version", "-V"))
        return cli_version(NULL);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(word, commands[i].word) == 0)
            return commands[i].run(argc - 1, argv + 1);
    }
    if (strcmp(word, "serve") == 0)
        return serve(argv[0], argc - 1, argv + 1);
    return cli_unknown(word);
}
