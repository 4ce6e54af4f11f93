/* What a terminal can show: colour, how wide it is, and which texts are safe to write to it. */
#ifndef USHER_BASE_TERM_H
#define USHER_BASE_TERM_H

#include "base/buf.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum term_style {
    TERM_PLAIN,
    TERM_BOLD,
    TERM_DIM,
    TERM_GOOD, /* green */
    TERM_WARN, /* yellow */
    TERM_BAD,  /* red */
    TERM_STYLES
};

/* What begins a style (SGR, ECMA-48 section 8.3.117); "" for TERM_PLAIN. */
const char *term_sgr(enum term_style style);

/* What ends all styles; "" for TERM_PLAIN, which has none to end. */
const char *term_sgr_end(enum term_style style);

/* Whether colour is wanted on the stream. The first of these decides:
 *
 *     NO_COLOR        set and not empty: no (no-color.org)
 *     CLICOLOR_FORCE  set, not empty and not 0: yes, a pipe too (bixense.com/clicolors)
 *     the stream      is no terminal: no
 *     TERM            "dumb", empty or not set: no
 *
 * else yes. */
bool term_is_coloured(FILE *stream);

/* How many columns the stream shows: COLUMNS if that is a number above 0, else what the terminal
 * says, else 80. 0 if it is no terminal: then a line may be as long as it likes. */
size_t term_width(FILE *stream);

/* Puts `s` behind `out` so that it can only be read, whoever wrote it: a control character becomes
 * "\x1b", a byte that is no UTF-8 "\xe4"; line and paragraph separators, and what turns the writing
 * direction round (with which one text can be made to look like another), become "\u202e". -1: it
 * does not fit, and a part of it may be there. */
int term_escape(struct buf *out, struct slice s) MUST_CHECK;

/* How many columns a text takes that term_escape() has made. Two for the characters of East Asia
 * and pictures (emoji), none for accents and other marks that sit on the character before, else
 * one. By blocks of Unicode, not by a list of all characters, so that it needs no locale; where it
 * is wrong for a rare script a table is ragged there, and no more. */
size_t term_text_width(struct slice s);

/* The first bytes of such a text that take at most `width` columns. */
struct slice term_text_cut(struct slice s, size_t width);

#endif
