/* usher help ctl: the commands, from their table. */
#include "cli/cli.h"
#include "cli/ctl.h"
#include "cli/ctl_words.h"

#include <string.h>

enum { LINE_MOST = 79, INDENT = 4, DEEP = 8 };

/* A text, its lines broken at blanks, the first line less deep. `before`: what must stand behind
 * such a blank; 0: anything. */
static void put_wrapped(FILE *out, size_t indent, const char *text, char before)
{
    while (*text) {
        size_t n = strlen(text);

        if (indent + n > LINE_MOST) {
            n = LINE_MOST - indent;
            while (n > 0 && (text[n] != ' ' || (before && text[n + 1] != before)))
                n--;
            if (n == 0)
                n = strlen(text);
        }
        fprintf(out, "%*s%.*s\n", (int)indent, "", (int)n, text);
        text += n;
        text += strspn(text, " ");
        indent = DEEP;
    }
}

static void put_command(FILE *out, enum command command)
{
    const bool may_wait = command == COMMAND_MOVE;
    char usage[CTL_USAGE_TEXT], line[CTL_USAGE_TEXT + 16];

    snprintf(line, sizeof line, "%s%s", ctl_usage(command, usage), may_wait ? " [--wait]" : "");
    put_wrapped(out, INDENT, line, '[');
    put_wrapped(out, DEEP, ctl_manual(command), '\0');
    if (may_wait)
        put_wrapped(out, DEEP, "With --wait usher ctl returns when the move is over.", '\0');
}

static void put_all(FILE *out, enum command_right right)
{
    for (unsigned i = 0; i < COMMAND_COUNT; i++)
        if (command_right((enum command)i) == right)
            put_command(out, (enum command)i);
}

/* As typed, up to what is no longer a word of a command. */
static int put_one(FILE *out, const char *const *words, size_t n)
{
    enum command command;
    size_t used;
    struct err err;

    if (ctl_find(words, n, &command, &used, &err) != 0) {
        fprintf(stderr, "usher ctl: %s\n", err.text);
        return CLI_USAGE;
    }
    put_command(out, command);
    fprintf(out, "        For those who may %s.\n",
            command_right(command) == RIGHT_STEER ? "steer" : "see");
    return CLI_OK;
}

int ctl_help(FILE *out, const char *const *words, size_t n)
{
    if (n > 0)
        return put_one(out, words, n);
    fputs("\nCommands that change nothing, for those who may see (the setting admin_see):\n\n",
          out);
    put_all(out, RIGHT_SEE);
    fputs("\nCommands for those who may steer (admin_steer):\n\n", out);
    put_all(out, RIGHT_STEER);
    return CLI_OK;
}
