/* Tables for people: aligned columns, two blanks between them, a title above each in bold.
 *
 *     struct table t;
 *
 *     table_init(&t, columns, 2);
 *     table_row(&t);
 *     table_cell(&t, TERM_PLAIN, "%u", 143);
 *     table_cell(&t, TERM_GOOD, "%s", name);
 *     result = table_print(&t, stdout, term_width(stdout), term_is_coloured(stdout));
 *     table_done(&t);
 *
 * Whatever stands in a cell is made safe for a terminal (term_escape() in base/term.h): names of
 * processes and greetings of servers may go in as they are. Blanks at the ends of lines are not
 * written, so the last column costs no more than its text. A column in which nothing stands is
 * left out with its title.
 *
 * When memory is out, later calls do nothing, and table_print() says so; nobody else needs to ask.
 */
#ifndef USHER_BASE_TABLE_H
#define USHER_BASE_TABLE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/term.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct table_column {
    const char *title; /* NULL in all columns: there is no line of titles */
    bool is_right;     /* numbers: aligned at the right */
    bool may_cut;      /* a column that may lose its end, with "…" in its place, when the table is
                          wider than the terminal; the widest of them loses first, and none is cut
                          below TABLE_LEAST */
};

enum { TABLE_LEAST = 8, TABLE_TEXT = 256 << 20 };

struct table {
    const struct table_column *columns;
    size_t columns_n;
    size_t indent; /* blanks before each line; to be set after table_init() */

    /* Ours. */
    struct table_cell *cells; /* columns_n for each row */
    size_t rows_n, rows_cap;
    size_t filled;   /* cells of the last row that have been given */
    struct buf text; /* of the cells, one behind the other; at most TABLE_TEXT */
    struct buf raw;  /* of one cell, before it is made safe */
    bool is_memory_out;
};

/* `columns` must live as long as the table. Allocates nothing. */
void table_init(struct table *t, const struct table_column *columns, size_t n);

/* Gives the memory back. */
void table_done(struct table *t);

/* Begins a row. */
void table_row(struct table *t);

/* The next cell of the row, printf style. Cells that are not given are empty. */
void table_cell(struct table *t, enum term_style style, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* `width`: of the terminal; 0: nothing is cut. Without colour there are no styles at all. A table
 * without rows prints nothing. -1: memory was out, and nothing is printed, or the stream failed. */
int table_print(const struct table *t, FILE *out, size_t width, bool is_coloured) MUST_CHECK;

#endif
