/* Foreign bytes made fit to be shown; see ports/probe_parts.h. Pure. */
#include "ports/probe_parts.h"

#include "base/term.h"
#include "base/utf8.h"

/* Puts the character there that `s` begins with; false: there is no room for all of it. */
static bool add_char(char *out, size_t cap, struct slice c)
{
    size_t n = strlen(out);
    struct buf safe;
    bool fits;

    buf_init(&safe, 16, false);
    fits = term_escape(&safe, c) == 0 && buf_len(&safe) < cap - n;
    if (fits) {
        memcpy(out + n, buf_slice(&safe).p, buf_len(&safe));
        out[n + buf_len(&safe)] = '\0';
    }
    buf_release(&safe);
    return fits;
}

/* How many bytes at the beginning are fit as they are. */
static size_t fit_bytes(struct slice s)
{
    size_t n = 0;

    while (n < s.n && s.p[n] >= ' ' && s.p[n] <= '~')
        n++;
    return n;
}

/* As text_add(); false: some of it did not fit. */
static bool add(char *out, size_t cap, struct slice s)
{
    INSIST(cap > 0);
    while (s.n > 0) {
        size_t at = strlen(out), n = fit_bytes(s);

        if (n > 0) {
            size_t room = cap - 1 - at, take = n < room ? n : room;

            memcpy(out + at, s.p, take);
            out[at + take] = '\0';
            if (take < n)
                return false;
        } else {
            n = utf8_char(s);
            n = n > 0 ? n : 1;
            if (!add_char(out, cap, slice_sub(s, 0, n)))
                return false;
        }
        s = slice_sub(s, n, s.n);
    }
    return true;
}

void text_add(char *out, size_t cap, struct slice s)
{
    (void)add(out, cap, s);
}

void text_set(char *out, size_t cap, struct slice s)
{
    INSIST(cap > 0);
    out[0] = '\0';
    text_add(out, cap, s);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Takes the next word off *rest; false: there is none. */
static bool next_word(struct slice *rest, struct slice *out_word)
{
    size_t from = 0, to;

    while (from < rest->n && is_blank(rest->p[from]))
        from++;
    for (to = from; to < rest->n && !is_blank(rest->p[to]); to++)
        ;
    *out_word = slice_sub(*rest, from, to);
    *rest = slice_sub(*rest, to, rest->n);
    return to > from;
}

void text_add_words(char *out, size_t cap, struct slice s)
{
    struct slice word;

    while (next_word(&s, &word)) {
        size_t n = strlen(out);

        if ((n > 0 && !add(out, cap, SLICE(" "))) || !add(out, cap, word)) {
            out[n] = '\0';
            return;
        }
    }
}

void text_add_item(char *out, size_t cap, struct slice key, struct slice values)
{
    size_t n = strlen(out), start;
    struct slice word;
    bool fits = n == 0 || add(out, cap, SLICE(" "));
    const char *between = "=";

    start = strlen(out);
    while (fits && next_word(&key, &word))
        fits = add(out, cap, word);
    if (strlen(out) == start)
        fits = false;
    while (fits && next_word(&values, &word)) {
        fits = add(out, cap, slice_str(between)) && add(out, cap, word);
        between = ",";
    }
    if (!fits)
        out[n] = '\0';
}
