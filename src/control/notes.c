/* The form of control/notes.h. */
#include "control/notes.h"

#include "base/err.h"
#include "base/num.h"

#include <stdio.h>
#include <string.h>

static const char first_line[] = "usher notes 1\n";

/* --- writing ------------------------------------------------------------------------------- */

int notes_write(struct notes_writer *w, struct buf *to)
{
    w->to = to;
    w->n = 0;
    return buf_puts(to, first_line);
}

/* A line that has become too long takes nothing more. */
static void put(struct notes_writer *w, char c)
{
    if (w->n < NOTES_LINE)
        w->line[w->n++] = c;
    else
        w->n = NOTES_LINE + 1;
}

static void put_word(struct notes_writer *w, const char *word)
{
    while (*word)
        put(w, *word++);
}

static bool is_plain(unsigned char c)
{
    return c > ' ' && c < 0x7f && c != '%' && c != '=';
}

static void put_value(struct notes_writer *w, struct slice value)
{
    static const char hex[] = "0123456789abcdef";

    for (size_t i = 0; i < value.n; i++) {
        unsigned char c = (unsigned char)value.p[i];

        if (is_plain(c)) {
            put(w, value.p[i]);
            continue;
        }
        put(w, '%');
        put(w, hex[c >> 4]);
        put(w, hex[c & 15]);
    }
}

void notes_begin(struct notes_writer *w, const char *kind)
{
    w->n = 0;
    put_word(w, kind);
}

void notes_slice(struct notes_writer *w, const char *key, struct slice value)
{
    put(w, ' ');
    put_word(w, key);
    put(w, '=');
    put_value(w, value);
}

void notes_str(struct notes_writer *w, const char *key, const char *value)
{
    notes_slice(w, key, slice_str(value));
}

void notes_uint(struct notes_writer *w, const char *key, uint64_t value)
{
    char digits[24];

    snprintf(digits, sizeof digits, "%llu", (unsigned long long)value);
    notes_str(w, key, digits);
}

int notes_end(struct notes_writer *w)
{
    put(w, '\n');
    return w->n > NOTES_LINE ? -1 : buf_put(w->to, slice_of(w->line, w->n));
}

/* --- reading ------------------------------------------------------------------------------- */

bool notes_read(struct notes_reader *r, struct slice text)
{
    const struct slice first = SLICE(first_line);

    if (!slice_eq(slice_sub(text, 0, first.n), first))
        return false;
    r->rest = slice_sub(text, first.n, text.n);
    r->kind = SLICE("");
    r->pairs_n = 0;
    return true;
}

/* The part of *rest before the first `end`, which is taken off with it; all if there is none. */
static struct slice take_to(struct slice *rest, char end)
{
    const char *at = rest->n ? memchr(rest->p, end, rest->n) : NULL;
    size_t n = at ? (size_t)(at - rest->p) : rest->n;
    struct slice part = slice_sub(*rest, 0, n);

    *rest = slice_sub(*rest, n + (at != NULL), rest->n);
    return part;
}

static bool is_word(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < 'a' || s.p[i] > 'z')
            return false;
    }
    return s.n > 0;
}

/* -1: none. */
static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Writes the value as it was to *at, which goes on behind it; it is never longer than written. */
static bool take_value(struct slice written, char **at, struct slice *out_value)
{
    char *to = *at;

    for (size_t i = 0; i < written.n; i++) {
        unsigned char c = (unsigned char)written.p[i];

        if (c == '%') {
            int high = i + 2 < written.n ? hex_digit(written.p[i + 1]) : -1;
            int low = high < 0 ? -1 : hex_digit(written.p[i + 2]);

            if (low < 0)
                return false;
            c = (unsigned char)(high << 4 | low);
            i += 2;
        } else if (!is_plain(c)) {
            return false;
        }
        *to++ = (char)c;
    }
    *out_value = slice_of(*at, (size_t)(to - *at));
    *at = to;
    return true;
}

static bool take_pairs(struct notes_reader *r, struct slice line)
{
    char *at = r->line;

    while (line.n > 0) {
        struct slice pair = take_to(&line, ' ');
        bool is_pair = slice_has(pair, '=');
        struct slice key = take_to(&pair, '=');
        struct notes_pair *p = &r->pairs[r->pairs_n];

        if (!is_pair || !is_word(key))
            return false;
        if (r->pairs_n == NOTES_PAIRS)
            continue;
        if (!take_value(pair, &at, &p->value))
            return false;
        p->key = key;
        r->pairs_n++;
    }
    return true;
}

enum notes_result notes_next(struct notes_reader *r)
{
    struct slice line;

    if (r->rest.n == 0)
        return NOTES_OVER;
    line = take_to(&r->rest, '\n');
    r->kind = take_to(&line, ' ');
    r->pairs_n = 0;
    /* What is written is never longer; and so its values have room. */
    if (r->kind.n + line.n >= NOTES_LINE || !is_word(r->kind) || !take_pairs(r, line)) {
        r->pairs_n = 0;
        return NOTES_BAD;
    }
    return NOTES_READ;
}

struct slice notes_value(const struct notes_reader *r, const char *key)
{
    for (size_t i = 0; i < r->pairs_n; i++) {
        if (slice_eq(r->pairs[i].key, slice_str(key)))
            return r->pairs[i].value;
    }
    return SLICE("");
}

uint64_t notes_number(const struct notes_reader *r, const char *key, uint64_t most,
                      uint64_t otherwise)
{
    uint64_t n;

    return num_parse(notes_value(r, key), most, &n) ? n : otherwise;
}
