/* Sequence sets; see imap/set.h. */
#include "imap/set.h"

#include "base/num.h"

/* "4294967295:4294967295," */
enum { RANGE_TEXT = 24 };

/* seq-number: nz-number, or "*". */
static bool take_number(struct slice *s, uint32_t star, uint32_t *out_number)
{
    uint64_t v = star;
    size_t n = 0;

    if (s->n > 0 && s->p[0] == '*') {
        n = 1;
    } else {
        while (n < s->n && s->p[n] >= '0' && s->p[n] <= '9')
            n++;
        if (!num_parse(slice_sub(*s, 0, n), UINT32_MAX, &v))
            return false;
    }
    if (v == 0)
        return false;
    *s = slice_sub(*s, n, s->n);
    *out_number = (uint32_t)v;
    return true;
}

bool set_next(struct slice *set, uint32_t star, struct set_range *out_range)
{
    struct slice at = *set;
    struct set_range range;

    if (!take_number(&at, star, &range.first))
        return false;
    range.last = range.first;
    if (at.n > 0 && at.p[0] == ':') {
        at = slice_sub(at, 1, at.n);
        if (!take_number(&at, star, &range.last))
            return false;
    }
    if (at.n > 0 && at.p[0] != ',')
        return false;
    if (at.n > 1) /* a comma with nothing behind it stays: the next call cannot read it */
        at = slice_sub(at, 1, at.n);
    if (range.first > range.last)
        range = (struct set_range){range.last, range.first};
    *out_range = range;
    *set = at;
    return true;
}

uint32_t set_count(struct slice set)
{
    struct set_range range;
    uint64_t n = 0;

    while (set_next(&set, 0, &range)) {
        n += (uint64_t)range.last - range.first + 1;
        if (n > UINT32_MAX)
            return 0;
    }
    return set.n == 0 ? (uint32_t)n : 0;
}

static char *put_number(char *to, uint32_t number)
{
    char text[10];
    size_t n = 0;

    do {
        text[n++] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    while (n > 0)
        *to++ = text[--n];
    return to;
}

/* The range that grows, as it will be written. */
static size_t range_text(const struct set_writer *w, char text[RANGE_TEXT])
{
    char *to = text;

    if (w->first == 0)
        return 0;
    if (w->n > 0)
        *to++ = ',';
    to = put_number(to, w->first);
    if (w->last > w->first) {
        *to++ = ':';
        to = put_number(to, w->last);
    }
    return (size_t)(to - text);
}

int set_end(struct set_writer *w)
{
    char text[RANGE_TEXT];
    const size_t n = range_text(w, text);

    if (buf_put(w->out, slice_of(text, n)) < 0)
        return -1;
    w->n += n;
    w->first = w->last = 0;
    return 0;
}

int set_put(struct set_writer *w, uint32_t number)
{
    INSIST(number > 0);
    if (w->first > 0 && number >= w->first && number <= w->last)
        return 0;
    if (w->first > 0 && number - 1 == w->last) {
        w->last = number;
        return 0;
    }
    if (set_end(w) < 0)
        return -1;
    w->first = w->last = number;
    return 0;
}

size_t set_length(const struct set_writer *w)
{
    char text[RANGE_TEXT];

    return w->n + range_text(w, text);
}
