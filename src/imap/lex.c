/* Pieces of IMAP's grammar; see imap/lex.h. */
#include "imap/lex.h"

#include "base/num.h"

#include <string.h>

/* A switch, which becomes a bit mask: this runs for most bytes that pass through the relay outside
 * of literals. */
bool lex_is_atom_char(char c)
{
    switch (c) {
    case '(':
    case ')':
    case '{':
    case '%':
    case '*':
    case '"':
    case '\\':
    case ']':
        return false;
    default:
        return c > ' ' && c < 0x7f;
    }
}

/* ASTRING-CHAR: ATOM-CHAR / resp-specials */
static bool is_astring_char(char c)
{
    return lex_is_atom_char(c) || c == ']';
}

bool lex_is_text(struct slice s)
{
    return !slice_has(s, '\0') && !slice_has(s, '\r') && !slice_has(s, '\n');
}

/* Moves over `n` bytes and returns them. */
static struct slice take(struct lex *l, size_t n)
{
    struct slice taken = slice_sub(l->s, 0, n);

    l->s = slice_sub(l->s, n, l->s.n);
    return taken;
}

bool lex_byte(struct lex *l, char c)
{
    if (l->s.n == 0 || l->s.p[0] != c)
        return false;
    take(l, 1);
    return true;
}

bool lex_sp(struct lex *l)
{
    return lex_byte(l, ' ');
}

/* Bytes of the line end at the cursor, or 0. */
static size_t line_end(struct slice s)
{
    if (s.n >= 1 && s.p[0] == '\n')
        return 1;
    return s.n >= 2 && s.p[0] == '\r' && s.p[1] == '\n' ? 2 : 0;
}

bool lex_end(struct lex *l)
{
    size_t n = line_end(l->s);

    if (n == 0 || n != l->s.n)
        return false;
    take(l, n);
    return true;
}

bool lex_atom(struct lex *l, struct slice *out_atom)
{
    size_t n = 0;

    while (n < l->s.n && lex_is_atom_char(l->s.p[n]))
        n++;
    if (n == 0)
        return false;
    *out_atom = take(l, n);
    return true;
}

bool lex_tag(struct lex *l, struct slice *out_tag)
{
    size_t n = 0;

    while (n < l->s.n && is_astring_char(l->s.p[n]) && l->s.p[n] != '+')
        n++;
    if (n == 0 || n > LEX_TAG)
        return false;
    *out_tag = take(l, n);
    return true;
}

/* The cursor stands behind the opening quote. */
static bool quoted(struct lex *l, char *to, struct slice *out_value)
{
    size_t n = 0;

    for (size_t i = 0; i < l->s.n; i++) {
        char c = l->s.p[i];

        if (c == '"') {
            take(l, i + 1);
            *out_value = slice_of(to, n);
            return true;
        }
        if (c == '\\') {
            i++;
            if (i == l->s.n || (l->s.p[i] != '"' && l->s.p[i] != '\\'))
                return false;
            c = l->s.p[i];
        }
        if (c == '\0' || c == '\r' || c == '\n')
            return false;
        to[n++] = c;
    }
    return false;
}

/* The cursor stands behind the opening brace. */
static bool literal(struct lex *l, char *to, struct slice *out_value)
{
    size_t digits = 0, at;
    uint64_t n;

    while (digits < l->s.n && l->s.p[digits] >= '0' && l->s.p[digits] <= '9')
        digits++;
    if (!num_parse(slice_sub(l->s, 0, digits), l->s.n, &n))
        return false;
    at = digits;
    if (at < l->s.n && l->s.p[at] == '+')
        at++;
    if (at == l->s.n || l->s.p[at++] != '}')
        return false;
    digits = line_end(slice_sub(l->s, at, l->s.n));
    at += digits;
    if (digits == 0 || n > l->s.n - at)
        return false;
    take(l, at);
    if (n)
        memcpy(to, l->s.p, n);
    take(l, n);
    *out_value = slice_of(to, n);
    return true;
}

bool lex_string(struct lex *l, char *to, struct slice *out_value)
{
    struct lex at = *l;

    if (lex_byte(&at, '"') ? !quoted(&at, to, out_value)
                           : !lex_byte(&at, '{') || !literal(&at, to, out_value))
        return false;
    *l = at;
    return true;
}

bool lex_astring(struct lex *l, char *to, struct slice *out_value)
{
    size_t n = 0;

    while (n < l->s.n && is_astring_char(l->s.p[n]))
        n++;
    if (n == 0)
        return lex_string(l, to, out_value);
    memcpy(to, take(l, n).p, n);
    *out_value = slice_of(to, n);
    return true;
}
