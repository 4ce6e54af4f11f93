/* usher sync: which options were given, with what values. */
#include "cli/sync_words.h"

#include "base/num.h"
#include "base/secret.h"
#include "cli/login_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ONE = false, EACH = true, BOTH = true, SYNC = false };

const struct sync_row sync_rows[SYNC_OPTIONS] = {
#define SYNC_OPTION(NAME, name, SIDES, KIND, value, fallback, range, COMMANDS, manual) \
    [OPTION_##NAME] = {name, SIDES, SYNC_##KIND, value, fallback, range, COMMANDS},
#include "tables/sync_options.def"
};

struct alias {
    const char *alias, *name;
};

static const struct alias aliases[] = {
#define SYNC_ALIAS(alias, name) {alias, name},
#include "tables/sync_options.def"
};

const char *sync_show_word(const char *text, char out[SYNC_SHOWN])
{
    size_t n = 0;

    for (; *text && n < SYNC_SHOWN - 4; text++)
        out[n++] = (unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text;
    snprintf(out + n, SYNC_SHOWN - n, "%s", *text ? "..." : "");
    return out;
}

/* --- values ----------------------------------------------------------------------------------- */

struct unit {
    const char *name;
    uint64_t factor;
};

/* How numbers of a kind are written: the units, and how many decimals there may be of the first. */
struct numeral {
    struct unit units[5];
    size_t units_n, decimals;
    const char *how;
};

static const struct numeral numerals[] = {
    [SYNC_NUMBER] = {{{"", 1}}, 1, 0, "a whole number"},
    [SYNC_SIZE] =
        {{{"", 1}, {"k", UINT64_C(1) << 10}, {"M", UINT64_C(1) << 20}, {"G", UINT64_C(1) << 30}},
         4,
         0,
         "a number of bytes, or one with k, M or G behind it"},
    [SYNC_SECONDS] = {{{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}},
                      5,
                      0,
                      "a number of seconds, or one with ms, s, m or h behind it"},
    [SYNC_DAYS] = {{{"", 86400}}, 1, 3, "a number of days"},
};

/* The digits behind the point of "1.5", as parts of a factor; there are at most `most`. */
static bool read_decimals(struct slice s, size_t most, uint64_t factor, uint64_t *out)
{
    uint64_t number, parts = 1;

    if (s.n > most || !num_parse(s, UINT64_MAX, &number))
        return false;
    for (size_t i = 0; i < s.n; i++)
        parts *= 10;
    *out = number * factor / parts;
    return true;
}

static bool read_number(const struct numeral *how, struct slice text, uint64_t *out)
{
    uint64_t number, decimals = 0;
    size_t digits = 0;
    struct slice behind;

    while (digits < text.n && text.p[digits] >= '0' && text.p[digits] <= '9')
        digits++;
    behind = slice_sub(text, digits, text.n);
    if (how->decimals > 0 && behind.n > 0 && behind.p[0] == '.') {
        if (!read_decimals(slice_sub(behind, 1, behind.n), how->decimals, how->units[0].factor,
                           &decimals))
            return false;
        behind = slice_sub(behind, 0, 0);
    }
    for (size_t i = 0; i < how->units_n; i++) {
        const uint64_t factor = how->units[i].factor;

        if (!slice_eq(behind, slice_str(how->units[i].name)))
            continue;
        if (!num_parse(slice_sub(text, 0, digits), UINT64_MAX / factor - 1, &number))
            return false;
        *out = number * factor + decimals;
        return true;
    }
    return false;
}

static int parse_number(const struct sync_row *row, const char *text, uint64_t *out,
                        struct err *err)
{
    const struct numeral *how = &numerals[row->kind];
    const char *to = strstr(row->range, " to ");
    uint64_t number, lowest, highest;
    char shown[SYNC_SHOWN];

    INSIST(to && read_number(how, slice_of(row->range, (size_t)(to - row->range)), &lowest) &&
           read_number(how, slice_str(to + 4), &highest));
    if (!read_number(how, slice_str(text), &number) || number < lowest || number > highest)
        return err_set(err, 0, "\"%s\": write %s, %s", sync_show_word(text, shown), how->how,
                       row->range);
    *out = number;
    return 0;
}

static int parse_choice(const struct sync_row *row, const char *text, uint64_t *out,
                        struct err *err)
{
    char shown[SYNC_SHOWN];
    uint64_t i = 0;

    for (const char *at = row->range; *at; i++) {
        size_t n = strcspn(at, " |");

        if (slice_eq(slice_of(at, n), slice_str(text))) {
            *out = i;
            return 0;
        }
        at += n;
        at += strspn(at, " |");
    }
    return err_set(err, 0, "\"%s\": write one of %s", sync_show_word(text, shown), row->range);
}

/* Of a kind that is kept as a number; else nothing. */
static int parse_value(const struct sync_row *row, const char *text, uint64_t *out, struct err *err)
{
    switch (row->kind) {
    case SYNC_FLAG:
    case SYNC_TEXT:
    case SYNC_LIST:
        return 0;
    case SYNC_NUMBER:
    case SYNC_SIZE:
    case SYNC_SECONDS:
    case SYNC_DAYS:
        return parse_number(row, text, out, err);
    case SYNC_CHOICE:
        return parse_choice(row, text, out, err);
    }
    INSIST(false); /* a kind that the table does not have */
    return -1;
}

/* --- options ---------------------------------------------------------------------------------- */

/* Whether `word` is the option's name; *out_side is 1 of what ends in "2". */
static bool is_named(const struct sync_row *row, struct slice word, const char *name,
                     size_t *out_side)
{
    const size_t n = strlen(name);

    if (!row->is_each) {
        *out_side = 0;
        return slice_eq(word, slice_of(name, n));
    }
    if (word.n != n + 1 || memcmp(word.p, name, n) != 0 || (word.p[n] != '1' && word.p[n] != '2'))
        return false;
    *out_side = word.p[n] == '2';
    return true;
}

static bool find(struct slice word, enum sync_option *out_option, size_t *out_side)
{
    for (unsigned i = 0; i < SYNC_OPTIONS; i++) {
        const struct sync_row *row = &sync_rows[i];
        bool is_it = is_named(row, word, row->name, out_side);

        for (size_t a = 0; !is_it && a < sizeof aliases / sizeof *aliases; a++)
            is_it = strcmp(aliases[a].name, row->name) == 0 &&
                    is_named(row, word, aliases[a].alias, out_side);
        if (is_it) {
            *out_option = (enum sync_option)i;
            return true;
        }
    }
    return false;
}

/* What is read of argv. */
struct reading {
    int argc, at; /* at: the next word */
    char **argv;
    struct slice name; /* of the option, without "--" */
    char *value;       /* behind "=", or the next word; NULL: none */
};

static int take_password(struct sync_given *g, size_t side, char *value, struct err *err)
{
    const size_t n = strlen(value);
    char *copy = g->passwords[side].p ? (char *)(uintptr_t)g->passwords[side].p
                                      : secret_alloc(LOGIN_PASSWORD_MAX);
    int done = 0;

    if (copy && n < LOGIN_PASSWORD_MAX) {
        memcpy(copy, value, n);
        g->passwords[side] = slice_of(copy, n);
    } else if (copy) {
        done = err_set(err, 0, "longer than %d bytes", LOGIN_PASSWORD_MAX - 1);
        if (!g->passwords[side].p)
            secret_free(copy, LOGIN_PASSWORD_MAX);
    } else {
        done = err_set(err, 0, "out of memory");
    }
    wipe(value, n);
    return done;
}

static int add_to_list(struct sync_given *g, enum sync_option option, const char *value, int most,
                       struct err *err)
{
    struct sync_words *list = &g->lists[option];
    const char **items = (const char **)(uintptr_t)list->items;

    if (!items)
        items = calloc((size_t)most, sizeof *items);
    if (!items)
        return err_set(err, 0, "out of memory");
    items[list->n++] = value;
    list->items = items;
    return 0;
}

static int take(struct sync_given *g, const struct reading *r, enum sync_option option, size_t side,
                struct err *err)
{
    const struct sync_row *row = &sync_rows[option];
    int done = 0;

    if (!r->value) { /* a FLAG */
        g->values[option][side].is_given = true;
        return 0;
    }
    if (r->value[0] == '\0')
        return err_set(err, 0, "the value is empty");
    if (option == OPTION_PASSWORD)
        done = take_password(g, side, r->value, err);
    else if (row->kind == SYNC_LIST)
        done = add_to_list(g, option, r->value, r->argc, err);
    else
        done = parse_value(row, r->value, &g->values[option][side].number, err);
    if (done < 0)
        return -1;
    g->values[option][side].is_given = true;
    if (option != OPTION_PASSWORD && row->kind != SYNC_LIST)
        g->values[option][side].text = r->value;
    return 0;
}

/* The value of an option that needs one. */
static int find_value(struct reading *r, const struct sync_row *row, struct err *err)
{
    if (row->kind == SYNC_FLAG)
        return r->value ? err_set(err, 0, "takes no value") : 0;
    if (r->value)
        return 0;
    if (r->at == r->argc || strncmp(r->argv[r->at], "--", 2) == 0)
        return err_set(err, 0, "needs %s behind it%s", row->value,
                       r->at == r->argc ? ""
                                        : "; a value that begins with -- is written behind \"=\"");
    r->value = r->argv[r->at++];
    return 0;
}

static int read_option(struct sync_given *g, struct reading *r, struct err *err)
{
    enum sync_option option;
    char shown[SYNC_SHOWN], name[SYNC_SHOWN];
    size_t side;
    int done = -1;

    snprintf(name, sizeof name, "%.*s", SLICE_ARG(r->name));
    if (!find(r->name, &option, &side))
        return sync_unknown(sync_show_word(name, shown), g->is_verify, err);
    if (g->is_verify && !sync_rows[option].is_for_verify)
        return err_set(err, 0,
                       "--%s is for \"usher sync\": verify changes nothing, and carries nothing",
                       name);
    if (find_value(r, &sync_rows[option], err) == 0)
        done = take(g, r, option, side, err);
    return done < 0 ? err_prefix(err, "--%s", name) : 0;
}

/* --- words ------------------------------------------------------------------------------------ */

static int read_url(struct sync_given *g, const char *word, struct err *err)
{
    char shown[SYNC_SHOWN];

    if (g->urls_n == 2)
        return err_set(err, 0, "there is a word too many: %s", sync_show_word(word, shown));
    g->urls[g->urls_n++] = word;
    return 0;
}

static int read_word(struct sync_given *g, struct reading *r, struct err *err)
{
    char shown[SYNC_SHOWN], *word = r->argv[r->at++], *equals = strchr(word, '=');

    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        g->asks_help = true;
        return 0;
    }
    if (word[0] != '-')
        return read_url(g, word, err);
    if (word[1] != '-' || word[2] == '\0')
        return err_set(err, 0, "options begin with \"--\" and a word: %s",
                       sync_show_word(word, shown));
    r->name = slice_of(word + 2, equals ? (size_t)(equals - word) - 2 : strlen(word + 2));
    r->value = equals ? equals + 1 : NULL;
    return read_option(g, r, err);
}

static void set_defaults(struct sync_given *g)
{
    for (unsigned i = 0; i < SYNC_OPTIONS; i++)
        for (size_t side = 0; side < 2 && sync_rows[i].fallback[0]; side++)
            INSIST(parse_value(&sync_rows[i], sync_rows[i].fallback, &g->values[i][side].number,
                               NULL) == 0);
}

int sync_given_read(struct sync_given *g, int argc, char **argv, struct err *err)
{
    struct reading r = {.argc = argc, .at = 1, .argv = argv};

    *g = (struct sync_given){.is_verify = strcmp(argv[0], "verify") == 0};
    set_defaults(g);
    while (r.at < argc && !g->asks_help)
        if (read_word(g, &r, err) < 0)
            return -1;
    return 0;
}

void sync_given_free(struct sync_given *g)
{
    for (unsigned i = 0; i < SYNC_OPTIONS; i++)
        free((void *)(uintptr_t)g->lists[i].items);
    password_free(&g->passwords[0]);
    password_free(&g->passwords[1]);
}
