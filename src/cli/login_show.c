/* usher login: what is shown of the steps: a line each for people, a row each for scripts. */
#include "cli/login_parts.h"

#include "admin/answer.h"
#include "cli/ctl_show.h"
#include "cli/route_way.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    NAME = 12,
    BEFORE = 2 + NAME + 13, /* columns before the text */
    LEAST = 20,
    TEXT = 4096
};

void steps_begin(struct steps *s, const char *name)
{
    INSIST(!s->name);
    s->name = name;
    s->at_us = way_now_us();
    if (!s->is_explained || s->show->is_json)
        return;
    /* At once: who waits sees for what. */
    fputs("  ", s->show->out);
    ctl_show_styled(s->show, TERM_DIM, name);
    fprintf(s->show->out, "%*s", (int)(NAME - strlen(name)), "");
    fflush(s->show->out);
}

static void put_row(struct steps *s, uint64_t took_us, bool is_ok, const char *text)
{
    json_t *row = json_object();
    int failed = json_object_set_new(row, "step", json_string(s->name));

    failed |= json_object_set_new(row, "ms", json_real((double)took_us / 1000));
    failed |= json_object_set_new(row, "ok", json_boolean(is_ok));
    failed |= json_object_set_new(row, "text", answer_text(text));
    s->show->is_failed |= failed != 0;
    ctl_show_row(s->show, row);
}

/* The text of a step, which a terminal would break in the midst of a word, and at its edge. */
static void show_text(struct steps *s, enum term_style style, const char *text)
{
    const size_t width = s->show->width > BEFORE + LEAST ? s->show->width - BEFORE : 0;
    size_t at = 0;

    for (const char *word = text; *word;) {
        size_t n = strcspn(word, " "), blanks = strspn(word + n, " ");
        char *copy = slice_dup(slice_of(word, n + blanks));

        if (width > 0 && at > 0 && at + term_text_width(slice_of(word, n)) > width) {
            fprintf(s->show->out, "\n%*s", BEFORE, "");
            at = 0;
        }
        ctl_show_styled(s->show, style, copy);
        at += term_text_width(slice_of(word, n + blanks));
        word += n + blanks;
        free(copy);
    }
    fputs("\n", s->show->out);
}

static void over(struct steps *s, uint64_t took_us, bool is_ok, const char *text)
{
    INSIST(s->name);
    s->all_us += took_us;
    if (s->show->is_json) {
        put_row(s, took_us, is_ok, text);
    } else if (s->is_explained) {
        fprintf(s->show->out, "%8.1f ms  ", (double)took_us / 1000);
        show_text(s, is_ok ? TERM_PLAIN : TERM_BAD, text);
    }
    s->name = NULL;
}

void steps_end(struct steps *s, const char *fmt, ...)
{
    const uint64_t took_us = way_now_us() - s->at_us;
    char text[TEXT];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    over(s, took_us, true, text);
}

void steps_took(struct steps *s, const char *name, uint64_t took_us, const char *text)
{
    steps_begin(s, name);
    over(s, took_us, true, text);
}

void steps_fail(struct steps *s, const char *text)
{
    over(s, way_now_us() - s->at_us, false, text);
}
