/* Writing strings so that the other side reads the same bytes (RFC 9051 section 9: astring). */
#ifndef USHER_IMAP_WRITE_H
#define USHER_IMAP_WRITE_H

#include "base/buf.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>

/* The simplest form that can carry the bytes. */
enum write_form {
    WRITE_ATOM,    /* ATOM-CHARs, at least one, and not NIL */
    WRITE_QUOTED,  /* ASCII without NUL, CR, LF, DEL and other controls */
    WRITE_LITERAL, /* all but NUL */
    WRITE_NEVER,   /* NUL, which only literal8 could carry */
};

enum write_form write_form(struct slice s);

/* "..." with escapes; `s` is of WRITE_ATOM or WRITE_QUOTED. -1 when it does not fit: nothing or a
 * part is written then. */
int write_quoted(struct buf *out, struct slice s) MUST_CHECK;

/* The line that announces a literal of n bytes, "{n}" or "{n+}", and its CRLF. */
int write_literal_header(struct buf *out, size_t n, bool is_sync) MUST_CHECK;

/* A string without NUL, quoted where that can carry it, else as a literal: with "{n+}" up to
 * `nonsync_max` bytes, which the other side takes without being asked (RFC 7888). For a longer one
 * only "{n}" is written, and *out_due is the bytes that may follow when the other side has said
 * "+"; else *out_due is empty. */
int write_string(struct buf *out, struct slice s, size_t nonsync_max,
                 struct slice *out_due) MUST_CHECK;

/* Whether write_string() would have to wait. */
bool write_waits(struct slice s, size_t nonsync_max);

#endif
