/* What the files data*.c share; for nobody else. */
#ifndef USHER_IMAP_DATA_PARTS_H
#define USHER_IMAP_DATA_PARTS_H

#include "imap/lex.h"

#include <stdbool.h>
#include <stddef.h>

static inline void data_move(struct lex *l, size_t n)
{
    l->s = slice_sub(l->s, n, l->s.n);
}

/* The grammar has single ones, and none before a closing parenthesis; servers have more. */
static inline void data_blanks(struct lex *l)
{
    while (lex_sp(l)) {
    }
}

/* Whether `c` is next. */
static inline bool data_at(const struct lex *l, char c)
{
    return l->s.n > 0 && l->s.p[0] == c;
}

/* Nothing but blanks. */
static inline bool data_ends(struct lex *l)
{
    data_blanks(l);
    return l->s.n == 0;
}

static inline bool data_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A switch, which becomes a bit mask. */
static inline bool data_is_word_char(char c)
{
    switch (c) {
    case ' ':
    case '(':
    case ')':
    case '"':
    case '\r':
    case '\n':
        return false;
    default:
        return true;
    }
}

/* Empty if there is none. */
static inline struct slice data_take_word(struct lex *l)
{
    struct slice word;
    size_t n = 0;

    while (n < l->s.n && data_is_word_char(l->s.p[n]))
        n++;
    word = slice_sub(l->s, 0, n);
    data_move(l, n);
    return word;
}

#endif
