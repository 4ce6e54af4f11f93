/* usher ctl: answers on paper. */
#include "cli/ctl_show.h"

#include "base/buf.h"
#include "base/table.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MOST = 4 << 20, NAMES_MOST = 32, TITLE_TEXT = 32, INDENT = 2 };

void ctl_show_init(struct ctl_show *s, FILE *out, enum command command, bool is_json)
{
    *s = (struct ctl_show){.out = out,
                           .width = term_width(out),
                           .is_coloured = term_is_coloured(out),
                           .is_json = is_json,
                           .command = command};
}

void ctl_show_free(struct ctl_show *s)
{
    json_decref(s->rows);
    s->rows = NULL;
}

/* --- values ----------------------------------------------------------------------------------- */

static int put_value(struct buf *out, const char *key, const json_t *value);

static int put_list(struct buf *out, const char *key, const json_t *list)
{
    size_t i;
    const json_t *item;

    json_array_foreach (list, i, item) {
        if ((i > 0 && buf_puts(out, ", ") != 0) || put_value(out, key, item) != 0)
            return -1;
    }
    return 0;
}

/* "name value, name value". */
static int put_object(struct buf *out, const json_t *object)
{
    const char *name;
    json_t *value;
    bool is_first = true;

    json_object_foreach ((json_t *)object, name, value) {
        if (json_is_null(value) || json_is_false(value))
            continue;
        if (!is_first && buf_puts(out, ", ") != 0)
            return -1;
        is_first = false;
        if (!json_is_true(value) && buf_printf(out, "%s ", name) != 0)
            return -1;
        if (put_value(out, name, value) != 0)
            return -1;
    }
    return 0;
}

/* Seconds as a configuration would have them, to two digits or three. */
static int put_duration(struct buf *out, long long s)
{
    if (s < 120)
        return buf_printf(out, "%llds", s);
    if (s < 120 * 60)
        return buf_printf(out, "%lldm", s / 60);
    if (s < 48 * 3600)
        return buf_printf(out, "%lldh", s / 3600);
    return buf_printf(out, "%lldd", s / (24 * 3600));
}

static bool is_duration(const char *key)
{
    return strcmp(key, "since") == 0 || strcmp(key, "age") == 0;
}

/* What is true is told by its name, as in "held". */
static int put_value(struct buf *out, const char *key, const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_STRING:
        return buf_puts(out, json_string_value(value));
    case JSON_INTEGER:
        if (is_duration(key))
            return put_duration(out, json_integer_value(value));
        return buf_printf(out, "%lld", (long long)json_integer_value(value));
    case JSON_REAL:
        return buf_printf(out, "%.3f", json_real_value(value));
    case JSON_TRUE:
        return buf_puts(out, key);
    case JSON_ARRAY:
        return put_list(out, key, value);
    case JSON_OBJECT:
        return put_object(out, value);
    case JSON_FALSE:
    case JSON_NULL:
        return 0;
    }
    return 0;
}

char *ctl_show_text(const char *key, const json_t *value)
{
    struct buf out;
    char *text = NULL;

    buf_init(&out, TEXT_MOST, false);
    if (!value || put_value(&out, key, value) == 0)
        text = slice_dup(buf_slice(&out));
    buf_release(&out);
    return text;
}

static enum term_style style_of(const char *key, const json_t *value)
{
    static const struct {
        const char *key, *text;
        enum term_style style;
    } styles[] = {
        {"state", "up", TERM_GOOD},       {"state", "drain", TERM_WARN},
        {"state", "down", TERM_BAD},      {"health", "up", TERM_GOOD},
        {"health", "failing", TERM_WARN}, {"health", "recovering", TERM_WARN},
        {"health", "down", TERM_BAD},     {"stage", "held", TERM_WARN},
        {"stage", "delayed", TERM_WARN},  {"stage", "queued", TERM_WARN},
    };

    if (strcmp(key, "backup") == 0)
        return TERM_PLAIN;
    if (strcmp(key, "recovered") == 0)
        return json_is_true(value) ? TERM_PLAIN : TERM_WARN;
    if (strcmp(key, "unhealthy") == 0)
        return TERM_BAD;
    if (json_is_true(value))
        return TERM_WARN;
    for (size_t i = 0; json_is_string(value) && i < sizeof styles / sizeof *styles; i++)
        if (strcmp(styles[i].key, key) == 0 &&
            strcmp(styles[i].text, json_string_value(value)) == 0)
            return styles[i].style;
    return TERM_PLAIN;
}

/* --- pieces ----------------------------------------------------------------------------------- */

void ctl_show_styled(struct ctl_show *s, enum term_style style, const char *text)
{
    struct buf safe;

    buf_init(&safe, TEXT_MOST, false);
    if (!text || term_escape(&safe, slice_str(text)) != 0)
        s->is_failed = true;
    else
        fprintf(s->out, "%s%.*s%s", s->is_coloured ? term_sgr(style) : "",
                SLICE_ARG(buf_slice(&safe)), s->is_coloured ? term_sgr_end(style) : "");
    buf_release(&safe);
}

void ctl_show_field(struct ctl_show *s, const char *label, size_t label_n, enum term_style style,
                    const char *text)
{
    const size_t n = strlen(label);

    fprintf(s->out, "%*s", INDENT, "");
    ctl_show_styled(s, TERM_DIM, label);
    fprintf(s->out, "%*s", (int)(label_n > n ? label_n - n : 0) + INDENT, "");
    ctl_show_styled(s, style, text);
    fputs("\n", s->out);
}

/* --- names ------------------------------------------------------------------------------------ */

/* Those of an object, or of all rows, in the order in which people see them. */
struct names {
    size_t n;
    const char *keys[NAMES_MOST];
};

static size_t find_name(const struct names *names, const char *key)
{
    size_t i = 0;

    while (i < names->n && strcmp(names->keys[i], key) != 0)
        i++;
    return i;
}

static void add_names(struct names *names, const json_t *object)
{
    const char *key;
    json_t *value;

    json_object_foreach ((json_t *)object, key, value) {
        if (find_name(names, key) == names->n && names->n < NAMES_MOST)
            names->keys[names->n++] = key;
    }
}

/* To behind another, if both are there. */
static void move_name(struct names *names, const char *key, const char *to)
{
    const size_t from = find_name(names, key);
    size_t at;

    if (from == names->n || find_name(names, to) == names->n)
        return;
    key = names->keys[from];
    memmove(&names->keys[from], &names->keys[from + 1],
            (--names->n - from) * sizeof names->keys[0]);
    at = find_name(names, to) + 1;
    memmove(&names->keys[at + 1], &names->keys[at], (names->n++ - at) * sizeof names->keys[0]);
    names->keys[at] = key;
}

/* New names come last in an answer, so that scripts find the old ones where they were. */
static void sort_names(struct names *names)
{
    static const struct {
        const char *key, *behind;
    } places[] = {
        {"health", "state"},        {"since", "health"},   {"weight_now", "weight"},
        {"connecting", "users"},    {"queued", "delayed"}, {"place", "storage"},
        {"unhealthy", "recovered"}, {"check", "place"},    {"addresses", "login_rate"},
        {"retired", "workers"},
    };

    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        move_name(names, places[i].key, places[i].behind);
}

/* --- tables ----------------------------------------------------------------------------------- */

struct columns {
    struct names names;
    char titles[NAMES_MOST][TITLE_TEXT];
    struct table_column columns[NAMES_MOST];
};

/* What a number is bounded by stands behind it, as in "7/200", and not in a column. */
static const char *limit_of(const char *key)
{
    static const struct {
        const char *key, *limit;
    } limits[] = {{"sessions", "max_sessions"}, {"connecting", "max_connecting"}};

    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        if (strcmp(limits[i].key, key) == 0)
            return limits[i].limit;
    return NULL;
}

static bool is_limit(const struct names *names, const char *key)
{
    for (size_t i = 0; i < names->n; i++) {
        const char *limit = limit_of(names->keys[i]);

        if (limit && strcmp(limit, key) == 0)
            return true;
    }
    return false;
}

/* All have the weight that is usual: it says nothing. */
static bool is_usual(const json_t *rows, const char *key)
{
    size_t i;
    const json_t *row;

    json_array_foreach (rows, i, row) {
        if (strcmp(key, "weight") != 0 || json_integer_value(json_object_get(row, key)) != 1)
            return false;
    }
    return true;
}

static void drop_names(struct names *names, const json_t *rows)
{
    struct names kept = {0};

    for (size_t i = 0; i < names->n; i++)
        if (!is_limit(names, names->keys[i]) && !is_usual(rows, names->keys[i]))
            kept.keys[kept.n++] = names->keys[i];
    *names = kept;
}

static bool has_number(const json_t *rows, const char *key)
{
    size_t i;
    const json_t *row;

    json_array_foreach (rows, i, row) {
        if (json_is_number(json_object_get(row, key)))
            return true;
    }
    return false;
}

/* Names are for copying: a backend's and an id is never cut, nor is a number. */
static void set_column(struct columns *c, size_t i, const json_t *rows)
{
    const char *key = c->names.keys[i];
    const bool is_right = has_number(rows, key);
    size_t k = 0;

    for (; k < TITLE_TEXT - 1 && key[k]; k++)
        c->titles[i][k] =
            isalnum((unsigned char)key[k]) ? (char)toupper((unsigned char)key[k]) : ' ';
    c->titles[i][k] = '\0';
    c->columns[i] = (struct table_column){.title = c->titles[i],
                                          .is_right = is_right,
                                          .may_cut = !is_right && strcmp(key, "id") != 0 &&
                                                     strcmp(key, "backend") != 0};
}

/* Every name that any of the rows has. */
static void find_columns(struct columns *c, const json_t *rows)
{
    size_t i;
    const json_t *row;

    c->names.n = 0;
    json_array_foreach (rows, i, row)
        add_names(&c->names, row);
    sort_names(&c->names);
    drop_names(&c->names, rows);
    for (i = 0; i < c->names.n; i++)
        set_column(c, i, rows);
}

/* What says nothing that is worth a column: the addresses of a backend that has one by number, the
 * weight where it is the usual one, that nobody waits. */
static bool is_said(const json_t *row, const char *key, const json_t *value)
{
    if (strcmp(key, "addresses") == 0)
        return json_array_size(value) == 1 &&
               json_equal(json_array_get(value, 0), json_object_get(row, "address"));
    if (strcmp(key, "weight_now") == 0)
        return json_equal(value, json_object_get(row, "weight"));
    return (strcmp(key, "queued") == 0 || strcmp(key, "connecting") == 0) &&
           json_integer_value(value) == 0;
}

/* The caller frees it; NULL when memory was out. */
static char *cell_text(const json_t *row, const char *key)
{
    const json_t *value = json_object_get(row, key);
    const char *limit = limit_of(key);
    struct buf out;
    char *text = NULL;
    int done;

    if (is_said(row, key, value))
        value = NULL;
    limit = value && limit && json_is_integer(json_object_get(row, limit)) ? limit : NULL;
    buf_init(&out, TEXT_MOST, false);
    done = value ? put_value(&out, key, value) : 0;
    if (done == 0 && limit)
        done =
            buf_printf(&out, "/%lld", (long long)json_integer_value(json_object_get(row, limit)));
    if (done == 0)
        text = slice_dup(buf_slice(&out));
    buf_release(&out);
    return text;
}

/* A worker that takes nothing more. */
static bool is_over(const json_t *row)
{
    return json_is_true(json_object_get(row, "retired"));
}

void ctl_show_table(struct ctl_show *s, const json_t *rows, size_t indent)
{
    struct columns columns;
    struct table t;
    size_t i;
    const json_t *row;

    find_columns(&columns, rows);
    table_init(&t, columns.columns, columns.names.n);
    t.indent = indent;
    json_array_foreach (rows, i, row) {
        table_row(&t);
        for (size_t k = 0; k < columns.names.n; k++) {
            const char *key = columns.names.keys[k];
            char *text = cell_text(row, key);

            if (!text)
                s->is_failed = true;
            table_cell(&t, is_over(row) ? TERM_DIM : style_of(key, json_object_get(row, key)), "%s",
                       text ? text : "");
            free(text);
        }
    }
    if (table_print(&t, s->out, s->width, s->is_coloured) != 0 && !ferror(s->out))
        s->is_failed = true;
    table_done(&t);
}

static void show_rows(struct ctl_show *s)
{
    if (s->command == COMMAND_RELOAD || s->command == COMMAND_UPGRADE)
        ctl_page_changes(s, s->rows);
    else if (json_array_size(s->rows) > 0)
        ctl_show_table(s, s->rows, 0);
    json_array_clear(s->rows);
}

/* --- the end, for people ---------------------------------------------------------------------- */

static bool is_table(const json_t *value)
{
    return json_is_array(value) && json_is_object(json_array_get(value, 0));
}

/* "known_users" as people read it. */
static const char *label_of(const char *key, char out[TITLE_TEXT])
{
    snprintf(out, TITLE_TEXT, "%s", key);
    for (char *at = out; *at; at++)
        if (*at == '_')
            *at = ' ';
    return out;
}

/* Retired workers are worth a line while there are any; moves_since is for programs that wait. */
static bool is_nothing(const char *key, const json_t *value)
{
    return strcmp(key, "moves_since") == 0 ||
           (strcmp(key, "retired") == 0 && json_integer_value(value) == 0);
}

static void show_fields(struct ctl_show *s, const json_t *done)
{
    const char *key;
    json_t *value;
    char label[TITLE_TEXT];
    struct names names = {0};
    size_t widest = 0;

    json_object_foreach ((json_t *)done, key, value) {
        if (strlen(key) > widest && !is_table(value) && !is_nothing(key, value))
            widest = strlen(key);
    }
    add_names(&names, done);
    sort_names(&names);
    for (size_t i = 0; i < names.n; i++) {
        char *text;

        key = names.keys[i];
        value = json_object_get(done, key);
        if (is_table(value) || strcmp(key, "text") == 0 || is_nothing(key, value))
            continue;
        text = json_is_boolean(value) ? slice_dup(slice_str(json_is_true(value) ? "yes" : "no"))
                                      : ctl_show_text(key, value);
        if (!text)
            s->is_failed = true;
        else if (text[0])
            ctl_show_field(s, label_of(key, label), widest, style_of(key, value), text);
        free(text);
    }
    json_object_foreach ((json_t *)done, key, value) {
        if (is_table(value)) {
            fputs("\n", s->out);
            ctl_show_table(s, value, INDENT);
        }
    }
}

static void show_done(struct ctl_show *s, const json_t *done)
{
    const char *text = json_string_value(json_object_get(done, "text"));

    show_rows(s);
    if (text) {
        ctl_show_styled(s, TERM_PLAIN, text);
        fputs("\n", s->out);
    } else if (s->command == COMMAND_ROUTE) {
        ctl_page_route(s, done);
    } else if (s->command == COMMAND_DIRECTORY_LOOKUP) {
        ctl_page_lookup(s, done);
    } else if (s->rows_n == 0 && json_object_size(done) > 0 && !json_object_get(done, "rows")) {
        show_fields(s, done);
    } else if (s->rows_n == 0) {
        ctl_show_styled(s, TERM_DIM, command_right(s->command) == RIGHT_STEER ? "done" : "none");
        fputs("\n", s->out);
    }
}

/* --- for scripts ------------------------------------------------------------------------------ */

static void write_json(struct ctl_show *s, const json_t *value)
{
    char *text = value ? json_dumps(value, JSON_ENSURE_ASCII | JSON_ENCODE_ANY) : NULL;

    if (!text)
        s->is_failed = true;
    for (const char *at = text; at && *at; at++) {
        if (*at == '\x7f') /* ASCII, and a control character: only within a string */
            fputs("\\u007f", s->out);
        else
            fputc(*at, s->out);
    }
    free(text);
}

static void write_row(struct ctl_show *s, const json_t *row)
{
    fputs(s->rows_n == 1 ? "{\"rows\": [\n" : ",\n", s->out);
    write_json(s, row);
}

static void write_end(struct ctl_show *s)
{
    fputs(s->rows_n == 0 ? "{\"rows\": []" : "\n]", s->out);
}

/* --- both ------------------------------------------------------------------------------------- */

void ctl_show_row(struct ctl_show *s, json_t *row)
{
    s->rows_n++;
    if (s->is_json) {
        write_row(s, row);
        json_decref(row);
        return;
    }
    if (!s->rows)
        s->rows = json_array();
    if (json_array_append_new(s->rows, row) != 0)
        s->is_failed = true;
    if (json_array_size(s->rows) >= CTL_ROWS_GATHERED)
        show_rows(s);
}

void ctl_show_done(struct ctl_show *s, const json_t *done)
{
    if (!s->is_json) {
        show_done(s, done);
        return;
    }
    write_end(s);
    fputs(", \"done\": ", s->out);
    write_json(s, done);
    fputs("}\n", s->out);
}

void ctl_show_error(struct ctl_show *s, const char *text, const char *code)
{
    json_t *words, *name;

    if (!s->is_json) {
        show_rows(s); /* what came before is true all the same */
        return;
    }
    words = json_string(text);
    name = json_string(code);
    write_end(s);
    fputs(", \"error\": ", s->out);
    write_json(s, words);
    fputs(", \"code\": ", s->out);
    write_json(s, name);
    fputs("}\n", s->out);
    json_decref(name);
    json_decref(words);
}
