/* usher help sync, usher help verify: the options, from their table. */
#include "cli/sync_options.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { LINE_MOST = 79, INDENT = 4, DEEP = 8 };

struct row {
    const char *group; /* its title; else NULL, and it is an option */
    const char *name, *value, *fallback, *manual;
    bool is_each, is_for_verify;
};

enum { ONE = false, EACH = true, BOTH = true, SYNC = false };

static const struct row rows[] = {
#define SYNC_GROUP(title) {.group = title, .is_for_verify = true},
#define SYNC_OPTION(NAME, name, SIDES, KIND, value, fallback, range, COMMANDS, manual) \
    {NULL, name, value, fallback, manual, SIDES, COMMANDS},
#include "tables/sync_options.def"
};

/* Lines are broken at blanks. */
static void put_wrapped(FILE *out, const char *text)
{
    const size_t room = LINE_MOST - DEEP;

    while (*text) {
        size_t n = strlen(text);

        if (n > room) {
            n = room;
            while (n > 0 && text[n] != ' ')
                n--;
            if (n == 0)
                n = strlen(text);
        }
        fprintf(out, "%*s%.*s\n", DEEP, "", (int)n, text);
        text += n;
        text += strspn(text, " ");
    }
}

static void put_name(FILE *out, const struct row *row)
{
    const char *blank = row->value[0] ? " " : "";

    if (row->is_each)
        fprintf(out, "%*s--%s1%s%s, --%s2%s%s", INDENT, "", row->name, blank, row->value, row->name,
                blank, row->value);
    else
        fprintf(out, "%*s--%s%s%s", INDENT, "", row->name, blank, row->value);
    if (row->fallback[0])
        fprintf(out, " (%s)", row->fallback);
    fputc('\n', out);
}

void sync_options_help(FILE *out, bool is_verify)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (is_verify && !rows[i].is_for_verify)
            continue;
        if (rows[i].group) {
            fprintf(out, "\n%s\n\n", rows[i].group);
            continue;
        }
        put_name(out, &rows[i]);
        put_wrapped(out, rows[i].manual);
    }
}
