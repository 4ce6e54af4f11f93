/* Aligned columns: cells are kept as text that is safe already, and laid out when printed. */
#include "base/table.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

enum { GAP = 2, FIRST_ROWS = 16 };

#define ELLIPSIS "\xe2\x80\xa6"

struct table_cell {
    size_t at, n; /* of the table's text */
    size_t width;
    enum term_style style;
};

void table_init(struct table *t, const struct table_column *columns, size_t n)
{
    *t = (struct table){.columns = columns, .columns_n = n, .filled = n};
    buf_init(&t->text, TABLE_TEXT, false);
    buf_init(&t->raw, TABLE_TEXT, false);
}

void table_done(struct table *t)
{
    free(t->cells);
    buf_release(&t->text);
    buf_release(&t->raw);
    *t = (struct table){0};
}

static bool has_room(struct table *t)
{
    size_t cap = t->rows_cap ? 2 * t->rows_cap : FIRST_ROWS;
    struct table_cell *cells;

    if (t->rows_n < t->rows_cap)
        return true;
    cells = realloc(t->cells, cap * t->columns_n * sizeof *cells);
    if (!cells)
        return false;
    t->cells = cells;
    t->rows_cap = cap;
    return true;
}

void table_row(struct table *t)
{
    if (t->is_memory_out)
        return;
    if (!has_room(t)) {
        t->is_memory_out = true;
        return;
    }
    for (size_t i = 0; i < t->columns_n; i++)
        t->cells[t->rows_n * t->columns_n + i] = (struct table_cell){0};
    t->rows_n++;
    t->filled = 0;
}

/* The text of `raw` as the next cell. */
static int add(struct table *t, enum term_style style)
{
    struct table_cell *cell = &t->cells[(t->rows_n - 1) * t->columns_n + t->filled++];
    size_t at = buf_len(&t->text);

    if (term_escape(&t->text, buf_slice(&t->raw)) < 0)
        return -1;
    *cell = (struct table_cell){.at = at, .n = buf_len(&t->text) - at, .style = style};
    cell->width = term_text_width(slice_sub(buf_slice(&t->text), at, at + cell->n));
    return 0;
}

/* The formatted text in `raw`: buf_printf() takes no va_list. */
__attribute__((format(printf, 2, 0))) static int format(struct table *t, const char *fmt,
                                                        va_list ap, va_list again)
{
    int n = vsnprintf(NULL, 0, fmt, ap);
    char *room = n < 0 ? NULL : buf_room(&t->raw, (size_t)n + 1);

    if (!room)
        return -1;
    vsnprintf(room, (size_t)n + 1, fmt, again);
    buf_added(&t->raw, (size_t)n);
    return 0;
}

void table_cell(struct table *t, enum term_style style, const char *fmt, ...)
{
    va_list ap, again;

    if (t->is_memory_out)
        return;
    INSIST(t->filled < t->columns_n);
    va_start(ap, fmt);
    va_copy(again, ap);
    if (format(t, fmt, ap, again) < 0 || add(t, style) < 0)
        t->is_memory_out = true;
    va_end(again);
    va_end(ap);
    buf_take(&t->raw, buf_len(&t->raw));
}

/* --- layout -------------------------------------------------------------------------------- */

static bool has_titles(const struct table *t)
{
    for (size_t i = 0; i < t->columns_n; i++) {
        if (t->columns[i].title)
            return true;
    }
    return false;
}

/* 0: nothing stands in the column, and it is left out. */
static void measure(const struct table *t, size_t *widths)
{
    for (size_t column = 0; column < t->columns_n; column++) {
        size_t title = term_text_width(slice_str(t->columns[column].title));

        for (size_t row = 0; row < t->rows_n; row++) {
            size_t width = t->cells[row * t->columns_n + column].width;

            if (width > widths[column])
                widths[column] = width;
        }
        if (widths[column] > 0 && widths[column] < title)
            widths[column] = title;
    }
}

static size_t *widest_to_cut(const struct table *t, size_t *widths)
{
    size_t *widest = NULL;

    for (size_t i = 0; i < t->columns_n; i++) {
        if (t->columns[i].may_cut && widths[i] > TABLE_LEAST && (!widest || widths[i] > *widest))
            widest = &widths[i];
    }
    return widest;
}

/* One by one, so that several long columns end up equally long. */
static void fit(const struct table *t, size_t *widths, size_t width)
{
    size_t total = t->indent, *widest;

    for (size_t i = 0; i < t->columns_n; i++)
        total += widths[i] > 0 ? widths[i] + (total > t->indent ? GAP : 0) : 0;
    while (total > width && (widest = widest_to_cut(t, widths))) {
        --*widest;
        total--;
    }
}

/* --- printing ------------------------------------------------------------------------------ */

/* A line in the making: blanks are held back until something stands behind them. */
struct line {
    FILE *out;
    size_t blanks;
    bool is_coloured;
};

static void put_text(struct line *l, struct slice s, enum term_style style, bool is_cut)
{
    fprintf(l->out, "%*s%s%.*s%s%s", (int)l->blanks, "", l->is_coloured ? term_sgr(style) : "",
            SLICE_ARG(s), is_cut ? ELLIPSIS : "", l->is_coloured ? term_sgr_end(style) : "");
    l->blanks = 0;
}

static void put_cell(struct line *l, const struct table_column *column, struct slice s,
                     enum term_style style, size_t width)
{
    size_t taken = term_text_width(s);
    bool is_cut = taken > width;

    if (is_cut) {
        s = term_text_cut(s, width - 1);
        taken = term_text_width(s) + 1;
    }
    if (column->is_right)
        l->blanks += width - taken;
    if (s.n > 0 || is_cut)
        put_text(l, s, style, is_cut);
    if (!column->is_right)
        l->blanks += width - taken;
    l->blanks += GAP;
}

static void put_line(const struct table *t, struct line *l, const size_t *widths,
                     const struct table_cell *cells)
{
    l->blanks = t->indent;
    for (size_t i = 0; i < t->columns_n; i++) {
        const struct table_column *column = &t->columns[i];

        if (widths[i] == 0)
            continue;
        if (cells)
            put_cell(l, column,
                     slice_sub(buf_slice(&t->text), cells[i].at, cells[i].at + cells[i].n),
                     cells[i].style, widths[i]);
        else
            put_cell(l, column, slice_str(column->title), TERM_BOLD, widths[i]);
    }
    fputc('\n', l->out);
}

int table_print(const struct table *t, FILE *out, size_t width, bool is_coloured)
{
    struct line l = {.out = out, .is_coloured = is_coloured};
    size_t *widths;

    if (t->is_memory_out)
        return -1;
    if (t->rows_n == 0)
        return 0;
    widths = calloc(t->columns_n, sizeof *widths);
    if (!widths)
        return -1;
    measure(t, widths);
    if (width > 0)
        fit(t, widths, width);
    if (has_titles(t))
        put_line(t, &l, widths, NULL);
    for (size_t row = 0; row < t->rows_n; row++)
        put_line(t, &l, widths, &t->cells[row * t->columns_n]);
    free(widths);
    return ferror(out) ? -1 : 0;
}
