/* What `usher ctl` prints of an answer: tables and fields for people, or one object for scripts.
 *
 * For people the columns of a table are the names that its rows have, so this knows nothing of
 * single commands (but route, directory lookup, reload and upgrade, which have pages of their own,
 * in ctl_page.c). Rows are gathered until there are CTL_ROWS_GATHERED of them; a longer list is
 * printed as several tables, each with its titles, so that it costs no memory. For scripts a row is
 * printed when it comes.
 *
 * Nothing that a control character is in reaches the terminal: neither in texts, which become
 * "\x1b", nor in JSON, which is ASCII.
 */
#ifndef USHER_CLI_CTL_SHOW_H
#define USHER_CLI_CTL_SHOW_H

#include "base/err.h"
#include "base/term.h"
#include "cli/ctl_words.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { CTL_ROWS_GATHERED = 5000 };

struct ctl_show {
    FILE *out;
    size_t width; /* 0: lines may be as long as they like */
    bool is_coloured;
    bool is_json;
    enum command command;

    /* Ours. */
    json_t *rows;   /* gathered */
    size_t rows_n;  /* of all */
    bool is_failed; /* memory was out */
};

/* Colours and width as `out` has them. */
void ctl_show_init(struct ctl_show *s, FILE *out, enum command command, bool is_json);
void ctl_show_free(struct ctl_show *s);

/* Takes a row over. */
void ctl_show_row(struct ctl_show *s, json_t *row);

/* The end of the answer, good or bad; nothing comes behind it. An error is shown for scripts only:
 * people read it elsewhere. */
void ctl_show_done(struct ctl_show *s, const json_t *done);
void ctl_show_error(struct ctl_show *s, const char *text, const char *code);

/* --- the pieces, for ctl_page.c --------------------------------------------------------------- */

/* A table of objects, `indent` blanks before each line. */
void ctl_show_table(struct ctl_show *s, const json_t *rows, size_t indent);

/* A value in one line: texts and numbers as they are, null as nothing, a list with commas. The
 * caller frees it; NULL when memory was out. */
char *ctl_show_text(const char *key, const json_t *value);

/* A text in a style, made safe. */
void ctl_show_styled(struct ctl_show *s, enum term_style style, const char *text);

/* "  label  text", labels as wide as `label_n`. */
void ctl_show_field(struct ctl_show *s, const char *label, size_t label_n, enum term_style style,
                    const char *text);

/* What a reload or an upgrade tells, a line each. */
void ctl_page_changes(struct ctl_show *s, const json_t *rows);

/* The pages of route and of directory lookup. */
void ctl_page_route(struct ctl_show *s, const json_t *done);
void ctl_page_lookup(struct ctl_show *s, const json_t *done);

#endif
