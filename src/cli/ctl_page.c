/* usher ctl route: why a user goes where they go, as a page. */
#include "cli/ctl_show.h"

#include <stdlib.h>
#include <string.h>

enum { LABEL = 9, INDENT = 2 };

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

/* The row of the hash as the page has it: an arrow, and a remark, beside what it says. NULL: memory
 * was out. */
static json_t *hash_row(const json_t *choice, const char *chosen)
{
    const char *name = text_of(choice, "backend");
    const bool is_chosen = name && chosen && strcmp(name, chosen) == 0;
    const bool may_serve = !json_is_false(json_object_get(choice, "may_serve"));
    json_t *row = json_object();
    int done = json_object_set_new(row, "", json_string(is_chosen ? "\xe2\x86\x92" : ""));

    done |= json_object_update(row, (json_t *)choice);
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
    show_rule(s, done, "pin", "pin");
    show_rule(s, done, "placed", "placement");
    show_rule(s, done, "live", "sessions");
    show_rule(s, done, "affinity", "affinity");
    if (json_is_true(json_object_get(done, "held")))
        ctl_show_field(s, "held", LABEL, TERM_WARN, "logins wait until release");
    if (json_is_true(json_object_get(done, "moving")))
        ctl_show_field(s, "moving", LABEL, TERM_WARN, "logins wait until the move is over");
    show_hash(s, json_object_get(done, "hash"), chosen);
}
