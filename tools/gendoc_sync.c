/* The pages of usher sync, for tools/gendoc.c: the rows of src/tables/sync_*.def. */
#include "gendoc.h"

#include <stdio.h>
#include <string.h>

struct sync_option_row {
    const char *group; /* its title; else NULL, and it is an option */
    const char *name, *value, *fallback, *manual;
    bool is_each, is_for_verify;
};

enum { ONE = false, EACH = true, BOTH = true, SYNC = false };

static const struct sync_option_row sync_options[] = {
#define SYNC_GROUP(title) {.group = title},
#define SYNC_OPTION(NAME, name, SIDES, KIND, value, fallback, range, COMMANDS, manual) \
    {NULL, name, value, fallback, manual, SIDES, COMMANDS},
#include "tables/sync_options.def"
};

static const struct {
    const char *names, *answer;
} sync_foreigns[] = {
#define SYNC_FOREIGN(names, answer) {names, answer},
#include "tables/sync_foreign.def"
};

static const struct {
    const char *name, *severity;
    bool may_retry;
    const char *manual;
} sync_reasons[] = {
#define ROW(id, name, severity, may_retry, manual) {name, #severity, may_retry, manual},
#include "tables/sync_reasons.def"
};

/* ---- Markdown ---- */

/* A manual text with options in it, each as code. */
static void put_text_with_options(const char *text)
{
    while (*text) {
        size_t n = 0;

        if (text[0] != '-' || text[1] != '-') {
            char one[2] = {*text++, '\0'};

            put_text(one);
            continue;
        }
        while (text[n] && (is_word(text[n]) || text[n] == '-'))
            n++;
        printf("`%.*s`", (int)n, text);
        text += n;
    }
}

/* "`--host1 HOST`, `--host2 HOST`" */
static void put_option_name(const struct sync_option_row *row)
{
    for (int side = 1; side <= (row->is_each ? 2 : 1); side++) {
        printf("%s`--%s", side == 2 ? ", " : "", row->name);
        if (row->is_each)
            printf("%d", side);
        printf("%s%s`", row->value[0] ? " " : "", row->value);
    }
}

static void put_sync_option(const struct sync_option_row *row)
{
    if (row->group) {
        printf("\n## %s\n\n| option | default | meaning |\n|---|---|---|\n", row->group);
        return;
    }
    printf("| ");
    put_option_name(row);
    printf(" | ");
    if (row->fallback[0])
        printf("`%s`", row->fallback);
    printf(" | ");
    put_text_with_options(row->manual);
    printf("%s |\n", row->is_for_verify ? "" : " *Not for verify.*");
}

static void put_foreign(const char *names)
{
    for (const char *at = names; *at;) {
        size_t n = strcspn(at, " ");
        bool is_each = at[n - 1] == '#';

        printf("%s`--%.*s%s`", at == names ? "" : ", ", (int)(is_each ? n - 1 : n), at,
               is_each ? "1" : "");
        at += n;
        at += strspn(at, " ");
    }
}

void put_sync_options(void)
{
    put_title("Options of usher sync and usher verify", "sync_options.def");
    printf(
        "Behind `usher sync FROM TO` or `usher verify FROM TO`, in any order. What ends in 1 is of "
        "FROM, what\nends in 2 of TO. A value stands behind a blank or behind `=`. Those that can "
        "be given more than once\nadd up; of others the last one counts. "
        "[docs/sync.md](../sync.md) tells what they are for.\n");
    for (size_t i = 0; i < sizeof sync_options / sizeof *sync_options; i++)
        put_sync_option(&sync_options[i]);
    printf("\n`--passfile1` is another word for `--password-file1`, `--logfile` for `--log`, "
           "`--nosubscribe` for\n`--no-subscribe`.\n\n"
           "## Options of imapsync that usher does not have\n\n"
           "Whoever writes one is told the same. What ends in 1 may end in 2 as well; \"no\" in "
           "front changes\nnothing.\n\n"
           "| option | instead |\n|---|---|\n");
    for (size_t i = 0; i < sizeof sync_foreigns / sizeof *sync_foreigns; i++) {
        printf("| ");
        put_foreign(sync_foreigns[i].names);
        printf(" | ");
        put_text_with_options(sync_foreigns[i].answer);
        printf(" |\n");
    }
}

void put_sync_reasons(void)
{
    put_title("What usher sync lists", "sync_reasons.def");
    printf(
        "Each message or folder of which there is something to tell has one of these words in the "
        "report.\n\n"
        "- An **exception**: it was not carried, or not as it was.\n"
        "- A **difference**: the proof found source and target to differ.\n"
        "- A **note**: as it should be, but worth a word. It does not change the exit status.\n\n"
        "\"Again\" says whether another run may do better without anything being changed.\n\n"
        "| reason | kind | again | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof sync_reasons / sizeof *sync_reasons; i++) {
        printf("| `%s` | ", sync_reasons[i].name);
        put_lower(sync_reasons[i].severity);
        printf(" | %s | ", sync_reasons[i].may_retry ? "yes" : "no");
        put_text_with_options(sync_reasons[i].manual);
        printf(" |\n");
    }
}

/* ---- usher-sync(8) ---- */

static void put_mdoc_option(const struct sync_option_row *row)
{
    printf(".It");
    for (int side = 1; side <= (row->is_each ? 2 : 1); side++) {
        printf("%s Fl \\-%s", side == 2 ? " ," : "", row->name);
        if (row->is_each)
            printf("%d", side);
        if (row->value[0])
            printf(" Ar %s", row->value);
    }
    putchar('\n');
    put_mdoc(row->manual);
    if (row->fallback[0])
        printf("Default: %s.\n", row->fallback);
    if (!row->is_for_verify)
        printf("Not for verify.\n");
}

void put_man_sync(void)
{
    for (size_t i = 0; i < sizeof sync_options / sizeof *sync_options; i++) {
        if (!sync_options[i].group)
            put_mdoc_option(&sync_options[i]);
        else
            printf("%s.Ss %s\n.Bl -tag -width Ds\n", i > 0 ? ".El\n" : "", sync_options[i].group);
    }
    printf(".El\n");
}
