/* The small pieces of IMAP's grammar (RFC 9051 section 9, whose names are used): a cursor over one
 * framed command or response, moved by functions that each take one piece.
 *
 * Each says whether the piece was there; when not, the cursor has not moved. Slices that come out
 * lie in the bytes that are read; only strings are copied, since taking out their escapes changes
 * them.
 *
 * Taken beyond the grammar, as servers commonly do: any byte but NUL, CR and LF within quotes
 * (RFC 9051 allows UTF-8 there, older clients send Latin-1), and LF alone as the line's end.
 */
#ifndef USHER_IMAP_LEX_H
#define USHER_IMAP_LEX_H

#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>

struct lex {
    struct slice s; /* what is left */
};

static inline struct lex lex_start(struct slice frame)
{
    return (struct lex){frame};
}

/* ATOM-CHAR: printable ASCII but ( ) { space % * " \ ] */
bool lex_is_atom_char(char c);

/* TEXT-CHAR, widened to UTF-8 and what else is above 127: no NUL, CR, LF. */
bool lex_is_text(struct slice s);

/* The byte `c`. */
bool lex_byte(struct lex *l, char c);

/* One space. */
bool lex_sp(struct lex *l);

/* CRLF or LF, and nothing behind it. */
bool lex_end(struct lex *l);

/* 1*ATOM-CHAR */
bool lex_atom(struct lex *l, struct slice *out_atom);

/* tag: 1*<any ASTRING-CHAR except "+">, at most LEX_TAG bytes. */
enum { LEX_TAG = 128 };
bool lex_tag(struct lex *l, struct slice *out_tag);

/* string: quoted or literal (not literal8). Its value is copied to `to`, which has room for as many
 * bytes as are left in `l`; *out_value is there. A literal may hold any byte, also those that CHAR8
 * excludes: ask lex_is_text(). */
bool lex_string(struct lex *l, char *to, struct slice *out_value);

/* astring: 1*ASTRING-CHAR, or string; `to` as with lex_string(). */
bool lex_astring(struct lex *l, char *to, struct slice *out_value);

#endif
