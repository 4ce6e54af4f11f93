/* Finds where one command or response ends, without understanding it: lines, and the literals that
 * they announce.
 *
 * The caller keeps the bytes in one piece, from the first of the frame on, and calls frame_step()
 * whenever more have come. No byte is looked at twice for the sake of how they came: the cost is
 * O(n) in all even when they come one by one. Holds no memory and copies nothing.
 *
 * A line ends with LF; a CR before it belongs to the end. Bare LF is taken from clients, as by
 * Dovecot and Cyrus, since people type and scripts print it; that usher and a backend might see
 * different lines cannot matter, since nothing that a client sent before login is passed on. What a
 * server sends is passed on, so there bare LF is an error: a client might see another end than we
 * do. A bare CR ends nothing; frames may hold it, NUL and any other byte: refusing those is the
 * grammar's job (imap/lex.h, imap/response.h).
 *
 * Literals (RFC 9051 section 4.3, RFC 7888): a line announces one when it ends with "{" digits "}",
 * or "{" digits "+}" in a command. literal8's "~" (RFC 9051, RFC 4466) changes nothing here. Digits
 * may lead with zeros; a count that no integer holds is just too large. Anything else in braces
 * ("{}", "{-1}", "{4-}", "{ 4}") is no announcement but bytes of the line. Where a quoted string is
 * still open at the line's end:
 *   - "{4+}" counts: RFC 7888 section 4 wants every line's end looked at, since the client sends
 *     the bytes in any case;
 *   - "{4}" does not: the line can only be refused, and the client should hear so at once.
 *
 * A reader of FRAME_PARTS decides of each literal whether it belongs to the frame, frame_keep(), or
 * is the reader's own, of any size, and never comes here, frame_cut(). What stands between two
 * literals that were cut out is then a part of the frame.
 */
#ifndef USHER_IMAP_FRAME_H
#define USHER_IMAP_FRAME_H

#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum frame_kind {
    FRAME_COMMAND,  /* from a client: literals of both sorts */
    FRAME_LINE,     /* from a client, where no literal can be: answers to AUTHENTICATE */
    FRAME_RESPONSE, /* from a server: "{n}" only, and only in untagged data. Tagged lines, "+" and
                       "* OK NO BAD BYE PREAUTH" end with free text, where braces mean nothing */
    FRAME_PARTS,    /* FRAME_RESPONSE, for a reader who may take literals out of it */
};

enum frame_result {
    FRAME_MORE,          /* not whole yet */
    FRAME_WHOLE,         /* the first frame_len() bytes are it, with the line's end */
    FRAME_CONTINUE,      /* told once for each synchronizing literal: the client waits for "+". The
                            next step goes on behind it; frame_len() is where the line ended */
    FRAME_LINE_LONG,     /* longer than max_line; whether it ever ends is not known */
    FRAME_LITERAL_LARGE, /* a literal that max_literal does not allow was announced in the line that
                            ends at frame_len(). If frame_is_sync() its bytes do not come when it is
                            refused; else they come anyway */
    FRAME_LITERAL,       /* FRAME_PARTS: the line that ends at frame_len() announces a literal of
                            frame_literal() bytes. To be followed by frame_keep() or frame_cut() */
    FRAME_BARE_LF,       /* of responses: the line that ends at frame_len() has no CR */
};

struct frame {
    enum frame_kind kind;
    size_t max_line;    /* bytes of all lines of the frame, their ends counted, literals not. Of
                           FRAME_PARTS: of lines and literals that are kept, together */
    size_t max_literal; /* bytes of all literals of the frame together. Not of FRAME_PARTS */
    size_t part;        /* where the line that is being read begins */
    size_t seen;        /* up to here nothing needs to be looked at again */
    size_t lines;       /* bytes that count for max_line, of the lines before `part` */
    size_t literals;    /* bytes that count for max_literal, so far */
    uint64_t literal;   /* of the last announcement; UINT64_MAX also for what no integer holds */
    bool is_sync;
};

/* Begins a frame; `f` may be used over and over. */
void frame_start(struct frame *f, enum frame_kind kind, size_t max_line, size_t max_literal);

/* `s`: all bytes from the frame's first on, or from behind the literal that was cut out last. After
 * any result but MORE, CONTINUE and LITERAL the next call must be frame_start(). */
enum frame_result frame_step(struct frame *f, struct slice s);

/* After FRAME_LITERAL: the literal is part of the frame. False: the limit does not allow it. */
bool frame_keep(struct frame *f);

/* After FRAME_LITERAL: the bytes up to frame_len() and those of the literal are taken away; the
 * frame goes on behind them, and all that was counted stays counted. */
void frame_cut(struct frame *f);

static inline size_t frame_len(const struct frame *f)
{
    return f->seen;
}

static inline uint64_t frame_literal(const struct frame *f)
{
    return f->literal;
}

static inline bool frame_is_sync(const struct frame *f)
{
    return f->is_sync;
}

#endif
