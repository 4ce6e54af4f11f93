/* Feeding one input in every way that a network may cut it: whole, byte by byte, and in two pieces
 * cut at each position. What comes of it must not differ.
 *
 * A talk is a function that holds one dialogue with what it is fed and tells all that came out as
 * one text. A form feed in the input is not sent: it ends a piece, for bytes that must not come
 * together (what follows STARTTLS only comes after the handshake). */
#ifndef USHER_TESTS_UNIT_PIECES_H
#define USHER_TESTS_UNIT_PIECES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/slice.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pieces {
    struct slice input;
    size_t first, then; /* the size of the first piece, and of each after it */
    size_t at;
};

/* The next piece of at most `most` bytes; empty when there is no more (or no room). */
static inline struct slice pieces_next(struct pieces *p, size_t most)
{
    size_t size = p->at < p->first ? p->first - p->at : p->then;
    struct slice piece = slice_sub(p->input, p->at, p->at + (size < most ? size : most));
    const char *stop = piece.n > 0 ? memchr(piece.p, '\f', piece.n) : NULL;

    if (stop == piece.p && piece.n > 0) {
        p->at++;
        return pieces_next(p, most);
    }
    if (stop)
        piece.n = (size_t)(stop - piece.p);
    p->at += piece.n;
    return piece;
}

static inline bool pieces_done(const struct pieces *p)
{
    return p->at == p->input.n;
}

/* Puts the next piece into `to`; says whether there was one. */
static inline bool pieces_feed(struct pieces *p, struct buf *to)
{
    struct slice piece = pieces_next(p, buf_left(to));

    assert_int_equal(buf_put(to, piece), 0);
    return piece.n > 0;
}

/* ---- What a talk tells ---- */

static inline void told_init(struct buf *told)
{
    buf_init(told, 1 << 20, false);
}

__attribute__((format(printf, 2, 3))) static inline void tell(struct buf *told, const char *fmt,
                                                              ...)
{
    char text[2048];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    assert_in_range(n, 0, sizeof(text) - 1);
    assert_int_equal(buf_put(told, slice_of(text, (size_t)n)), 0);
}

/* Moves what was to be sent. */
static inline void tell_sent(struct buf *told, struct buf *out)
{
    assert_int_equal(buf_put(told, buf_slice(out)), 0);
    buf_take(out, buf_len(out));
}

/* As a string, freed with free(). */
static inline char *told_done(struct buf *told)
{
    char *text = slice_dup(buf_slice(told));

    assert_non_null(text);
    buf_release(told);
    return text;
}

typedef char *talk_fn(const void *arg, struct pieces *p);

static inline void assert_talk_once(talk_fn *talk, const void *arg, struct pieces p,
                                    const char *expected)
{
    char *told = talk(arg, &p);

    if (strcmp(told, expected) != 0)
        print_error("pieces of %zu, then %zu of: %.*s\n", p.first, p.then,
                    (int)(p.input.n < 200 ? p.input.n : 200), p.input.p);
    assert_string_equal(told, expected);
    free(told);
}

static inline void assert_talk(talk_fn *talk, const void *arg, struct slice input,
                               const char *expected)
{
    size_t step = input.n / 500 + 1; /* long inputs: about 500 of the cuts */

    assert_talk_once(talk, arg, (struct pieces){input, input.n, input.n, 0}, expected);
    assert_talk_once(talk, arg, (struct pieces){input, 1, 1, 0}, expected);
    for (size_t cut = 1; cut < input.n; cut += step)
        assert_talk_once(talk, arg, (struct pieces){input, cut, input.n, 0}, expected);
}

#endif
