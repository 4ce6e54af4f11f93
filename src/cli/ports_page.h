/* The page that `usher ports` writes for people: its pieces. Everything that comes from outside is
 * made safe for a terminal. */
#ifndef USHER_CLI_PORTS_PAGE_H
#define USHER_CLI_PORTS_PAGE_H

#include "base/table.h"
#include "base/term.h"
#include "cli/ports_facts.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { PAGE_INDENT = 2, PAGE_LABEL = 13 };

struct page {
    const struct ports_facts *f;
    FILE *out;
    size_t width; /* 0: lines may be as long as they like */
    bool is_coloured;
    bool is_failed; /* memory was out */
};

struct page page_of(const struct ports_facts *f, FILE *out);

/* A piece of a line, in a style. */
void page_style(struct page *page, enum term_style style, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* A paragraph behind a blank line, broken as page_field() does. */
void page_note(struct page *page, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* "  label        text", the text broken between words where the line is full. */
void page_field(struct page *page, const char *label, enum term_style style, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Prints a table, below a blank line if it is indented, and frees it. */
void page_table(struct page *page, struct table *t);

/* What the probes of a target have heard. */
void page_probes(struct page *page, const struct target *target);

#endif
