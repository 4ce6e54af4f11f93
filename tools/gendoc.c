/* Writes a page of the reference manual, as Markdown, from the rows of src/tables/, or the settings
 * of one section as usher.conf(5) lists them, as mdoc:
 *
 *     gendoc PAGE             settings, close-reasons, log-events ...: see main()
 *     gendoc man SECTION      SECTION as in the rows: GLOBAL, LISTENER ...; or SYNC, the options of
 *                             usher-sync(8)
 *
 * The rows carry the words; this file only lays them out. tools/gendoc.sh writes all pages. */
#include "gendoc.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { STR, PATH, LIST, BOOL, INT, DURATION, SIZE, CHOICE };

struct setting {
    const char *name;
    enum kind kind;
    const char *fallback; /* NULL: must be given */
    const char *values;
    const char *manual;
};

#define REQUIRED                                 NULL
#define SETTING(name, KIND, def, values, manual) {#name, KIND, def, values, manual},

static const struct setting global_settings[] = {
#define SETTING_GLOBAL SETTING
#include "tables/settings.def"
};
static const struct setting listener_settings[] = {
#define SETTING_LISTENER SETTING
#include "tables/settings.def"
};
static const struct setting tls_settings[] = {
#define SETTING_TLS SETTING
#include "tables/settings.def"
};
static const struct setting certificate_settings[] = {
#define SETTING_CERTIFICATE SETTING
#include "tables/settings.def"
};
static const struct setting directory_settings[] = {
#define SETTING_DIRECTORY SETTING
#include "tables/settings.def"
};
static const struct setting pool_settings[] = {
#define SETTING_POOL SETTING
#include "tables/settings.def"
};
static const struct setting backend_settings[] = {
#define SETTING_BACKEND SETTING
#include "tables/settings.def"
};

struct section {
    const char *name; /* as in the rows */
    const char *heading;
    const char *intro;
    const struct setting *rows;
    size_t rows_n;
};

#define ROWS(array) (array), sizeof(array) / sizeof(array)[0]

static const struct section sections[] = {
    {"GLOBAL", "Everywhere", "Written at the top of the file, outside any section.",
     ROWS(global_settings)},
    {"LISTENER", "`listener NAME { ... }`",
     "A port to listen on. At least one; as many as you like.", ROWS(listener_settings)},
    {"TLS", "`tls { ... }`",
     "The certificate that clients are shown, and how listeners speak TLS. Needed as soon as one "
     "does.",
     ROWS(tls_settings)},
    {"CERTIFICATE", "`certificate NAME { ... }`",
     "More certificates for the listeners, as many as you like.", ROWS(certificate_settings)},
    {"DIRECTORY", "`directory NAME { ... }`",
     "Where facts about users are looked up: their pool, their backend, whether they may log in. "
     "Directories are asked in the order of the file, and the first that knows the user answers.",
     ROWS(directory_settings)},
    {"POOL", "`pool NAME { ... }`",
     "A set of backends that serve the same users. It holds its `backend` sections.",
     ROWS(pool_settings)},
    {"BACKEND", "`backend NAME { ... }`",
     "One hidden IMAP server, written inside its pool. No two have the same name, in whatever "
     "pools.",
     ROWS(backend_settings)},
};

struct log_event_row {
    const char *name, *level, *fields, *manual;
};

static const struct log_event_row log_events[] = {
#define LOG_EVENT(NAME, name, level, fields, manual) {name, #level, fields, manual},
#include "tables/log_events.def"
};

struct close_reason_row {
    const char *name, *level, *manual;
};

static const struct close_reason_row close_reasons[] = {
#define CLOSE_REASON(NAME, name, level, manual) {name, #level, manual},
#include "tables/close_reasons.def"
};

struct metric_row {
    const char *name, *manual;
};

static const struct metric_row metrics[] = {
#define METRIC(NAME, name, manual) {name, manual},
#include "tables/metrics.def"
};

struct command_row {
    const char *words, *right, *arguments, *director, *manual;
};

static const struct command_row commands[] = {
#define COMMAND(NAME, words, right, arguments, director, manual) \
    {words, #right, arguments, director, manual},
#include "tables/commands.def"
};

struct answer_row {
    const char *words, *line, *names, *manual;
};

static const struct answer_row answers[] = {
#define ANSWER(words, line, names, manual) {words, line, names, manual},
#include "tables/answers.def"
};

bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* One word of a manual text; a name as it stands in files and logs is shown as code. */
static void put_word(const char *word, size_t n)
{
    bool is_code = memchr(word, '_', n) != NULL;

    printf(is_code ? "`%.*s`" : "%.*s", (int)n, word);
}

void put_text(const char *text)
{
    while (*text) {
        size_t n = 0;

        while (is_word(text[n]))
            n++;
        if (n > 0) {
            put_word(text, n);
            text += n;
            continue;
        }
        if (strchr("|*<>`", *text))
            putchar('\\');
        putchar(*text++);
    }
}

/* Words that are separated by `separator` in the row, each as code, separated by ", " on the page.
 */
static void put_codes(const char *list, const char *separator)
{
    for (const char *at = list; *at;) {
        size_t n = strcspn(at, separator);

        if (n > 0)
            printf("%s`%.*s`", at == list ? "" : ", ", (int)n, at);
        at += n;
        at += strspn(at, separator);
    }
}

void put_lower(const char *text)
{
    for (; *text; text++)
        putchar(tolower((unsigned char)*text));
}

void put_title(const char *title, const char *table)
{
    printf("<!-- Generated from src/tables/%s by tools/gendoc.sh; edit that, then run `make docs`. "
           "-->\n\n"
           "# %s\n\n",
           table, title);
}

static const char *kind_name(enum kind kind)
{
    switch (kind) {
    case STR:
        return "text";
    case PATH:
        return "path";
    case LIST:
        return "list";
    case BOOL:
        return "`yes`, `no`";
    case INT:
        return "number";
    case DURATION:
        return "duration";
    case SIZE:
        return "size";
    case CHOICE:
        return "";
    }
    return "";
}

static void put_setting(const struct setting *s)
{
    printf("| `%s` | ", s->name);
    if (!s->fallback)
        printf("*required*");
    else if (!*s->fallback)
        printf("none");
    else
        printf("`%s`", s->fallback);
    printf(" | %s", kind_name(s->kind));
    if (s->kind == CHOICE)
        put_codes(s->values, " |");
    else if (*s->values)
        printf(", %s", s->values);
    printf(" | ");
    put_text(s->manual);
    printf(" |\n");
}

static void put_settings(void)
{
    put_title("Settings", "settings.def");
    printf(
        "What `usher.conf` can say. `usher check -c FILE` tells all mistakes of a file at once.\n\n"
        "| written as | means |\n|---|---|\n"
        "| text | in double quotes, or bare when it is one plain word |\n"
        "| path | a file or directory; a relative one starts where the file that says it lies |\n"
        "| list | texts in braces: `{\"a\", \"b\"}` |\n"
        "| number | a whole number |\n"
        "| duration | a whole number and `ms`, `s`, `m`, `h` or `d` |\n"
        "| size | a whole number of bytes, or one with `k`, `M` or `G` (powers of 1024) |\n");
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        const struct section *section = &sections[i];

        printf("\n## %s\n\n%s\n\n| setting | default | values | meaning |\n|---|---|---|---|\n",
               section->heading, section->intro);
        for (size_t row = 0; row < section->rows_n; row++)
            put_setting(&section->rows[row]);
    }
}

static void put_close_reasons(void)
{
    put_title("Close reasons", "close_reasons.def");
    printf("Why a session ended. Each session ends with exactly one of these, as `reason=` of its\n"
           "[`session_end`](log-events.md) line, which is logged at the reason's level.\n\n"
           "| reason | level | meaning |\n|---|---|---|\n");
    for (size_t i = 0; i < sizeof close_reasons / sizeof *close_reasons; i++) {
        printf("| `%s` | ", close_reasons[i].name);
        put_lower(close_reasons[i].level);
        printf(" | ");
        put_text(close_reasons[i].manual);
        printf(" |\n");
    }
}

static void put_log_events(void)
{
    put_title("Log events", "log_events.def");
    printf("Every line of the log is one event: the time (UTC), the level, the event, then its "
           "keys.\n\n"
           "```\n"
           "2026-11-23T06:12:49.123Z info login id=1.42 user=ann@example.org backend=mail1\n"
           "```\n\n"
           "Keys come in the order given here; one that has nothing to tell is left out. A value "
           "with a\n"
           "blank, a quote, an equals sign or an unprintable byte stands in double quotes, with "
           "`\\\"`,\n"
           "`\\\\`, `\\n`, `\\r`, `\\t` and `\\xNN` inside, so that no peer can break or forge a "
           "line.\n\n"
           "| event | level | keys | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof log_events / sizeof *log_events; i++) {
        printf("| `%s` | ", log_events[i].name);
        put_lower(log_events[i].level);
        printf(" | ");
        put_codes(log_events[i].fields, " ");
        printf(" | ");
        put_text(log_events[i].manual);
        printf(" |\n");
    }
}

static void put_metrics(void)
{
    put_title("Metrics", "metrics.def");
    printf("Counters over all processes since the start; none ever runs backwards.\n\n"
           "| counter | counts |\n|---|---|\n");
    for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++) {
        printf("| `usher_%s_total` | ", metrics[i].name);
        put_text(metrics[i].manual);
        printf(" |\n");
    }
}

/* A row's arguments as people read them: what may be left out stands in brackets. */
static void put_arguments(const char *arguments)
{
    bool is_named = false;

    for (const char *at = arguments; *at;) {
        const size_t n = strcspn(at, " ");
        const bool is_name = at[0] == '-';

        printf(is_name ? " [%.*s" : " %.*s", (int)n, at);
        if (is_named)
            putchar(']');
        is_named = is_name;
        at += n;
        at += strspn(at, " ");
    }
}

static void put_answers(void)
{
    printf(
        "\n## Answers\n\n"
        "On the socket an answer is lines of JSON: rows, `{\"row\": {...}}`, and at the end one "
        "of\n\n"
        "```\n"
        "{\"done\": {...}}\n"
        "{\"error\": \"there is no backend mial1; did you mean mail1?\", \"code\": \"usage\"}\n"
        "```\n\n"
        "A code is `usage` (the request is wrong), `denied` or `failed`. Behind rows, `done` has "
        "`rows`, how\n"
        "many there were; of a steering command it has `text`, which tells people what was done. "
        "The names\n"
        "below stay as they are, and new ones may come behind them; what there is not is `null`. "
        "Names of\n"
        "users that are no UTF-8 have U+FFFD where they are not.\n\n"
        "| command | line | names | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        printf("| ");
        put_codes(answers[i].words, "|");
        printf(" | `%s` | ", answers[i].line);
        put_codes(answers[i].names, " ");
        printf(" | ");
        put_text(answers[i].manual);
        printf(" |\n");
    }
}

static void put_commands(void)
{
    put_title("Commands", "commands.def");
    printf("What operators can ask of usher and have it do. Typed behind `usher ctl`; or written "
           "to the\n"
           "[unix socket](settings.md) `admin_socket`, one JSON object a line, with the same words "
           "as names\n"
           "and each argument as a string: `{\"command\": \"pin\", \"user\": \"ann\", "
           "\"backend\": \"mail2\"}`.\n"
           "[Operating](../operating.md) tells what they are for.\n\n"
           "Those that `see` change nothing; the settings `admin_see` and `admin_steer` say who "
           "may what. The\n"
           "last column is for those who come from Dovecot's Director.\n\n"
           "| command | right | meaning | doveadm |\n|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        printf("| `%s", commands[i].words);
        put_arguments(commands[i].arguments);
        printf("` | ");
        put_lower(commands[i].right);
        printf(" | ");
        put_text(commands[i].manual);
        printf(" | ");
        if (*commands[i].director)
            printf("`%s`", commands[i].director);
        printf(" |\n");
    }
    put_answers();
}

/* ---- usher.conf(5) ---- */

void put_mdoc(const char *text)
{
    bool is_first = true;

    for (; *text; text++) {
        if (is_first && (*text == '.' || *text == '\''))
            fputs("\\&", stdout);
        is_first = text[0] == '.' && text[1] == ' ';
        if (*text == '\\')
            fputs("\\e", stdout);
        else
            putchar(*text);
        if (is_first) {
            putchar('\n');
            text++;
        }
    }
    putchar('\n');
}

static void put_mdoc_words(const char *values)
{
    for (const char *at = values; *at;) {
        size_t n = strcspn(at, " |");

        printf("%sCm %.*s", at == values ? "" : " No | ", (int)n, at);
        at += n;
        at += strspn(at, " |");
    }
    putchar('\n');
}

static void put_mdoc_setting(const struct setting *s)
{
    printf(".It Cm %s = ", s->name);
    if (s->kind == CHOICE)
        put_mdoc_words(s->values);
    else if (s->kind == BOOL)
        put_mdoc_words("yes | no");
    else if (s->kind == LIST)
        printf("Cm { Ar text , ... Cm }\n");
    else
        printf("Ar %s\n", kind_name(s->kind));
    put_mdoc(s->manual);
    if (!s->fallback)
        printf("It must be given.\n");
    else if (s->kind != CHOICE && *s->values)
        printf("Default: %s; it may be from %s.\n", s->fallback, s->values);
    else
        printf("Default: %s.\n", *s->fallback ? s->fallback : "empty");
}

static bool put_man(const char *name)
{
    if (strcmp(name, "SYNC") == 0) {
        put_man_sync();
        return true;
    }
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        if (strcmp(sections[i].name, name) != 0)
            continue;
        for (size_t row = 0; row < sections[i].rows_n; row++)
            put_mdoc_setting(&sections[i].rows[row]);
        return true;
    }
    return false;
}

static int finish(void)
{
    return ferror(stdout) || fflush(stdout) != 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*put)(void);
    } pages[] = {
        {"settings", put_settings},         {"close-reasons", put_close_reasons},
        {"log-events", put_log_events},     {"metrics", put_metrics},
        {"commands", put_commands},         {"sync-options", put_sync_options},
        {"sync-reasons", put_sync_reasons},
    };

    for (size_t i = 0; argc == 2 && i < sizeof pages / sizeof *pages; i++) {
        if (strcmp(argv[1], pages[i].name) == 0) {
            pages[i].put();
            return finish();
        }
    }
    if (argc == 3 && strcmp(argv[1], "man") == 0 && put_man(argv[2]))
        return finish();
    fprintf(stderr, "usage: gendoc settings | close-reasons | log-events | metrics | commands | "
                    "sync-options | sync-reasons | man SECTION\n");
    return 2;
}
