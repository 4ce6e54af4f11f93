/* usher help, usher version, and what is said of commands that are none. */
#include "cli/cli.h"
#include "cli/ctl.h"
#include "cli/sync_options.h"
#include "conf/conf.h"
#include "conf/nearest.h"

#include <stdio.h>
#include <string.h>

struct command {
    const char *name;
    const char *synopsis; /* behind "usher NAME" */
    const char *summary;  /* one line, in the list */
    const char *help;
};

static const struct command commands[] = {
    {"serve", " [-c FILE]", "open the ports and show clients to their backends",
     "Runs in the foreground and logs to standard error, as service managers want it.\n"
     "Start it as root if it shall open ports below 1024; it becomes the configured\n"
     "user when they are open.\n"
     "\n"
     "    -c, --config FILE   the configuration (" CLI_DEFAULT_FILE ")\n"
     "\n"
     "It tells a service manager (NOTIFY_SOCKET) how it is, and takes the sockets that one has\n"
     "passed (LISTEN_FDS).\n"
     "\n"
     "SIGTERM and SIGINT stop it. SIGHUP has it read the files of certificates, keys, CAs\n"
     "and CRLs again, not the configuration.\n"},
    {"check", " [-c FILE] [--no-files] [--print]", "find the mistakes in a configuration",
     "Tells all mistakes on standard error, each as FILE:LINE: what is wrong and what\n"
     "to write instead; and, marked as warnings, certificates that are expired or soon\n"
     "will be, or do not cover a name of server_names. Nothing is started or changed.\n"
     "\n"
     "    -c, --config FILE   the configuration (" CLI_DEFAULT_FILE ")\n"
     "    --no-files          do not look at the files and the user that it names\n"
     "    --print             print it as it is understood, with defaults and included files\n"
     "\n"
     "Exit status: 0 it is good, be it with warnings, 1 it is not, 2 the command was used\n"
     "wrongly.\n"},
    {"ports", " [OPTION]... [PORT|RANGE|SERVICE|ADDRESS:PORT]...",
     "tell what a port is, and who listens there",
     "Tells class, registry and custom of each port, its listeners here and their processes.\n"
     "Without a word: a table of the ports of mail and of those of the configuration.\n"
     "\n"
     "    --udp               UDP as well\n"
     "    --probe             ask what speaks there; never logs in\n"
     "    --timeout SECONDS   how long --probe may take for an address (20)\n"
     "    --free N            print N free ports, of a range or from 10000 to 32767\n"
     "    --how               print the commands that tell the same by hand\n"
     "    --json              one JSON object, for scripts\n"
     "    -c, --config FILE   whose ports are in the table (" CLI_DEFAULT_FILE ")\n"
     "\n"
     "Exit status: 0 somebody has one of the ports (--free: all were found), 1 they are free\n"
     "(--free: fewer were found), 2 the command was used wrongly, 3 it could not be found out.\n"
     "The manual page usher-ports(8) says more.\n"},
    {"route", " [-c FILE] [--pool POOL | --listener NAME] [--json] USER",
     "tell where a user would be sent, and why",
     "Asks the directories, reads the state file and goes by usher's own rules; no usher need\n"
     "run, and nothing is changed. What only a running usher knows (live sessions, affinity,\n"
     "moves, the health of backends) is told by \"usher ctl route\".\n"
     "\n"
     "    --pool POOL         the pool of the listener by which the user comes\n"
     "    --listener NAME     the same by the listener\n"
     "    --json              one JSON object, for scripts, as of \"usher ctl --json route\"\n"
     "    -c, --config FILE   the configuration (" CLI_DEFAULT_FILE ")\n"
     "\n"
     "Exit status: 0 a backend would serve the user, 1 the login would be refused, 2 the\n"
     "command was used wrongly, or the configuration has mistakes, 3 it could not be found\n"
     "out. The manual page usher-route(8) says more.\n"},
    {"login", " [-c FILE] [--explain] [OPTION]... USER", "log a user in at the backend, for a test",
     "Goes the way of a real login, from the directories to the backend's answer, and logs out\n"
     "again. The password is asked on the terminal, or read from standard input.\n"
     "\n"
     "    --explain           show each step, with its time\n"
     "    --backend NAME      this backend, wherever the user would be sent\n"
     "    --pool POOL         the pool of the listener by which the user comes\n"
     "    --listener NAME     the same by the listener\n"
     "    --password-file FILE  the password is its first line\n"
     "    --json              one JSON object with all steps, for scripts\n"
     "    -c, --config FILE   the configuration (" CLI_DEFAULT_FILE ")\n"
     "\n"
     "Exit status: 0 logged in, 1 refused, 2 the command was used wrongly, or the configuration\n"
     "has mistakes, 3 there was no verdict. The manual page usher-login(8) says more.\n"},
    {"sync", " FROM TO [OPTION]...",
     "carry an account from one IMAP server to another, and prove it",
     "FROM and TO are URLs: imaps://USER@HOST[:PORT], imap+starttls://..., or imap://... for\n"
     "what is not encrypted. USER may be an address: imaps://ann@example.org@mail.example.org.\n"
     "FROM is only read. What is at TO already is found again and not carried twice; run it as\n"
     "often as you like, and at any time: it goes on where it was.\n"
     "\n"
     "    usher sync imaps://ann@old.example.org imaps://ann@new.example.org\n"
     "\n"
     "Passwords are asked on the terminal, unless an option tells where they are.\n"
     "\n"
     "Exit status: 0 all is there and proven, 6 ended by a signal, 64 the command was used\n"
     "wrongly, 101 and 102 FROM or TO cannot be reached, 161 and 162 they refuse the login, 111\n"
     "something was not carried or differs, others as those of imapsync. The manual page\n"
     "usher-sync(8) says more. The options:\n"},
    {"verify", " FROM TO [OPTION]...", "prove that an account is at another server as it is here",
     "Compares folders, messages, flags and dates of two accounts, reads a sample of the\n"
     "messages again, or all of them (--full), and names each difference. Nothing is changed.\n"
     "FROM, TO, passwords and exit statuses are those of \"usher sync\". The options:\n"},
    {"ctl", " [-c FILE | --socket PATH] [--json] COMMAND [ARGUMENT]...",
     "ask a running usher, and steer it",
     "Shows users, sessions and backends, takes backends out, moves and kicks users.\n"
     "\n"
     "    -c, --config FILE   the configuration that usher runs with (" CLI_DEFAULT_FILE ")\n"
     "    --socket PATH       its socket, instead of what the configuration says\n"
     "    --json              one JSON object, for scripts\n"
     "\n"
     "Arguments may be given by their names too: \"pin --user ann --backend mail2\".\n"
     "\n"
     "Exit status: 0 it is done, 1 it was refused or failed, 2 the command was used wrongly,\n"
     "3 no usher answers. The manual page usher-ctl(8) says more.\n"},
    {"health", " [-c FILE]", "tell whether a running usher takes logins, for probes",
     "Asks at the socket that the configuration names. For what it is made of see \"usher ctl\n"
     "status\".\n"
     "\n"
     "    -c, --config FILE   the configuration that usher runs with (" CLI_DEFAULT_FILE ")\n"
     "\n"
     "Exit status: 0 it takes logins, 1 it is not ready (yet), 2 the command was used wrongly,\n"
     "3 no usher answers within ten seconds.\n"},
    {"help", " [COMMAND]", "list the commands, or explain one",
     "The manual pages usher(8) and usher.conf(5) say more.\n"},
    {"version", "", "print the versions of usher and of the libraries it runs with", ""},
};

enum { COMMANDS = sizeof commands / sizeof *commands };

static const struct command *find(const char *name)
{
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

/* Whose own commands are explained too. */
static bool is_ctl(const struct command *command)
{
    return strcmp(command->name, "ctl") == 0;
}

/* Whose options come from their table. */
static bool is_sync(const struct command *command)
{
    return strcmp(command->name, "sync") == 0 || strcmp(command->name, "verify") == 0;
}

static void list(FILE *out)
{
    fprintf(out, "usage: usher COMMAND [OPTION]...\n\nThe front door for IMAP.\n\n");
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(out, "    %-9s %s\n", commands[i].name, commands[i].summary);
    fprintf(out, "\n\"usher help COMMAND\" explains one.\n");
}

int cli_help(int argc, char **argv)
{
    const struct command *command;

    if (argc == 0) {
        list(stderr);
        return CLI_USAGE;
    }
    if (argc == 1) {
        list(stdout);
        return CLI_OK;
    }
    command = find(argv[1]);
    if (!command)
        return cli_unknown(argv[1]);
    if (is_ctl(command) && argc > 2)
        return ctl_help(stdout, (const char *const *)argv + 2, (size_t)argc - 2);
    printf("usage: usher %s%s\n\n%s\n", command->name, command->synopsis, command->summary);
    if (command->help[0])
        printf("\n%s", command->help);
    if (is_sync(command))
        sync_options_help(stdout, strcmp(command->name, "verify") == 0);
    return is_ctl(command) ? ctl_help(stdout, NULL, 0) : CLI_OK;
}

int cli_version(const char *libraries)
{
    printf("usher %s\nlibConfuse %s\n%s", USHER_VERSION, conf_library(),
           libraries ? libraries : "");
    return CLI_OK;
}

int cli_unknown(const char *word)
{
    const char *names[COMMANDS];
    const char *near;

    for (size_t i = 0; i < COMMANDS; i++)
        names[i] = commands[i].name;
    near = nearest(word, names, COMMANDS);
    fprintf(stderr, "usher: there is no command \"%s\"", word);
    if (near)
        fprintf(stderr, "; did you mean \"usher %s\"?", near);
    fprintf(stderr, "\n\"usher help\" lists the commands.\n");
    return CLI_USAGE;
}

int cli_usage(const char *name)
{
    const struct command *command = find(name);

    INSIST(command);
    fprintf(stderr, "usage: usher %s%s\n\"usher help %s\" explains it.\n", name, command->synopsis,
            name);
    return CLI_USAGE;
}
