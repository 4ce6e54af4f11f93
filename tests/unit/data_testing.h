/* Tables of what servers say and what is read of it, told as text. */
#ifndef USHER_TESTS_UNIT_DATA_TESTING_H
#define USHER_TESTS_UNIT_DATA_TESTING_H

#include "pieces.h"

#include "imap/data.h"

struct data_row {
    struct slice text;
    const char *told;
};

#define ROWS_OF(rows) (sizeof(rows) / sizeof((rows)[0]))

/* Room as large as promised and no larger, so that a sanitizer sees a byte too many; free(). */
static inline char *room_for(struct slice text)
{
    char *room = malloc(text.n > 0 ? text.n : 1);

    assert_non_null(room);
    return room;
}

__attribute__((format(printf, 1, 2))) static inline char *told_of(const char *fmt, ...)
{
    va_list ap;
    char *text;

    va_start(ap, fmt);
    assert_true(vasprintf(&text, fmt, ap) >= 0);
    va_end(ap);
    return text;
}

/* Each text is a copy that ends where memory ends. */
static inline void check_rows(char *(*told_by)(struct slice text), const struct data_row *rows,
                              size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char *copy = room_for(rows[i].text), *told;

        memcpy(copy, rows[i].text.p, rows[i].text.n);
        told = told_by(slice_of(copy, rows[i].text.n));
        if (strcmp(told, rows[i].told) != 0)
            print_error("of: %.*s\n", SLICE_ARG(rows[i].text));
        assert_string_equal(told, rows[i].told);
        free(told);
        free(copy);
    }
}

#endif
