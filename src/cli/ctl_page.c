/* usher ctl route and usher ctl directory lookup: why a user goes where they go, and what
 * directories know, as pages; and the lines of usher ctl reload. */
#include "cli/ctl_show.h"

#include "base/buf.h"
#include "base/slice.h"

#include <stdlib.h>
#include <string.h>

enum { LABEL = 9, INDENT = 2, LINE_MOST = 64 << 10 };

static const char *text_of(const json_t *done, const char *key)
{
    const char *text = json_string_value(json_object_get(done, key));

    return text && text[0] ? text : NULL;
}

/* The backend that a rule names, or that it names none. */
static void show_rule(struct ctl_show *s, const json_t *done, const char *key, const char *label)
{
    const char *text = text_of(done, key);

    ctl_show_field(s, label, LABEL, text ? TERM_PLAIN : TERM_DIM, text ? text : "none");
}

/* --- what directories say --------------------------------------------------------------------- */

/* As a map has them: backend=mail2 disabled="Moved away". */
static int put_facts(struct buf *out, const json_t *facts)
{
    const char *word;
    json_t *value;

    json_object_foreach ((json_t *)facts, word, value) {
        const char *text = json_string_value(value);
        const char *quote = text && strchr(text, ' ') ? "\"" : "";

        if (buf_printf(out, " %s=%s%s%s", word, quote, text ? text : "", quote) != 0)
            return -1;
    }
    return 0;
}

/* A line of the page, of which `done` says whether it could be put together. */
static void show_line(struct ctl_show *s, const char *label, struct buf *line, int done)
{
    char *text = done == 0 ? slice_dup(buf_slice(line)) : NULL;

    if (text)
        ctl_show_field(s, label, LABEL, TERM_PLAIN, text);
    else
        s->is_failed = true;
    free(text);
    buf_release(line);
}

/* "people: backend=mail2; 12s old". One that has failed is named by the reason. */
static void show_directory(struct ctl_show *s, const json_t *done)
{
    const char *title = text_of(done, "directory");
    const json_t *facts = json_object_get(done, "facts"), *age = json_object_get(done, "age");
    struct buf line;
    char *old;
    int result;

    if (!title || !json_is_object(facts))
        return;
    buf_init(&line, LINE_MOST, false);
    result = buf_printf(&line, "%s:%s", title, json_object_size(facts) > 0 ? "" : " no facts");
    if (result == 0)
        result = put_facts(&line, facts);
    old = ctl_show_text("age", age);
    if (result == 0 && json_is_integer(age))
        result = old ? buf_printf(&line, "; %s old", old) : -1;
    free(old);
    show_line(s, "directory", &line, result);
}

/* Where the facts have said it. */
static void show_pool(struct ctl_show *s, const json_t *done)
{
    const char *pool = text_of(done, "pool"), *by = text_of(done, "pool_by");
    const char *value = by ? text_of(json_object_get(done, "facts"), by) : NULL;
    struct buf line;

    if (!pool || !value)
        return;
    buf_init(&line, LINE_MOST, false);
    show_line(s, "pool", &line, buf_printf(&line, "%s, by the directory's %s=%s", pool, by, value));
}

void ctl_page_lookup(struct ctl_show *s, const json_t *done)
{
    const char *user = text_of(done, "user");
    const bool is_known = json_is_true(json_object_get(done, "known"));

    ctl_show_styled(s, TERM_BOLD, user ? user : "?");
    fputs(is_known ? "\n" : " is not known to any directory\n", s->out);
    show_directory(s, done);
}

/* --- route ------------------------------------------------------------------------------------ */

/* The row of the hash as the page has it: an arrow, and a remark, beside what it says. NULL: memory
 * was out. */
static json_t *hash_row(const json_t *choice, const char *chosen)
{
    static const char *const names[] = {"backend", "score",  "weight",   "weight_now",
                                        "state",   "health", "sessions", "backup"};
    const char *name = text_of(choice, "backend");
    const bool is_chosen = name && chosen && strcmp(name, chosen) == 0;
    const bool may_serve = !json_is_false(json_object_get(choice, "may_serve"));
    json_t *row = json_object();
    int done = json_object_set_new(row, "", json_string(is_chosen ? "\xe2\x86\x92" : ""));

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        json_t *value = json_object_get(choice, names[i]);

        if (value)
            done |= json_object_set(row, names[i], value);
    }
    done |=
        json_object_set_new(row, "may_serve", json_string(may_serve ? "" : "not for new users"));
    if (done == 0)
        return row;
    json_decref(row);
    return NULL;
}

static void show_hash(struct ctl_show *s, const json_t *hash, const char *chosen)
{
    json_t *rows = json_array();
    size_t i;
    const json_t *choice;

    json_array_foreach (hash, i, choice) {
        if (json_array_append_new(rows, hash_row(choice, chosen)) != 0)
            s->is_failed = true;
    }
    if (json_array_size(rows) > 0) {
        fputs("\n", s->out);
        ctl_show_table(s, rows, INDENT);
    }
    json_decref(rows);
}

/* Others wait for it, and so would the user. */
static void show_queue(struct ctl_show *s, const json_t *done)
{
    const long long n = json_integer_value(json_object_get(done, "queued"));
    char text[64];

    if (n == 0)
        return;
    snprintf(text, sizeof text, "%lld login%s for room there; this one would too", n,
             n == 1 ? " waits" : "s wait");
    ctl_show_field(s, "queued", LABEL, TERM_WARN, text);
}

/* As conf/diff.h words it. What is neither added nor removed, or is a mistake, is plain. */
static enum term_style style_of_change(struct slice line)
{
    const struct slice added = SLICE(": added"), removed = SLICE(": removed");

    if (line.n >= added.n && slice_eq(slice_sub(line, line.n - added.n, line.n), added))
        return TERM_GOOD;
    if (line.n >= removed.n && slice_eq(slice_sub(line, line.n - removed.n, line.n), removed))
        return TERM_WARN;
    return TERM_PLAIN;
}

void ctl_page_changes(struct ctl_show *s, const json_t *rows)
{
    size_t i;
    const json_t *row;

    json_array_foreach (rows, i, row) {
        const char *line = text_of(row, "change");

        ctl_show_styled(s, style_of_change(slice_str(line ? line : "")), line ? line : "?");
        fputs("\n", s->out);
    }
}

void ctl_page_route(struct ctl_show *s, const json_t *done)
{
    const char *user = text_of(done, "user"), *pool = text_of(done, "pool");
    const char *chosen = text_of(done, "chosen"), *why = text_of(done, "why");

    ctl_show_styled(s, TERM_BOLD, user ? user : "?");
    if (pool) {
        ctl_show_styled(s, TERM_PLAIN, " of pool ");
        ctl_show_styled(s, TERM_PLAIN, pool);
    }
    ctl_show_styled(s, TERM_PLAIN, chosen ? " goes to " : " is not served");
    if (chosen)
        ctl_show_styled(s, TERM_GOOD, chosen);
    fputs("\n", s->out);
    ctl_show_field(s, "why", LABEL, TERM_PLAIN, why ? why : "?");
    show_directory(s, done);
    show_pool(s, done);
    show_rule(s, done, "pin", "pin");
    show_rule(s, done, "placed", "placement");
    show_rule(s, done, "live", "sessions");
    show_rule(s, done, "affinity", "affinity");
    if (json_is_true(json_object_get(done, "held")))
        ctl_show_field(s, "held", LABEL, TERM_WARN, "logins wait until release");
    if (json_is_true(json_object_get(done, "moving")))
        ctl_show_field(s, "moving", LABEL, TERM_WARN, "logins wait until the move is over");
    show_queue(s, done);
    show_hash(s, json_object_get(done, "hash"), chosen);
}
