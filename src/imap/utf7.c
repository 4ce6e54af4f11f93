/* Modified UTF-7; see imap/utf7.h. */
#include "imap/utf7.h"

#include "base/utf8.h"

#include <stdint.h>

/* Base64 with "," where others have "/" (RFC 3501 section 5.1.3). */
static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

/* What is written; only counted where `p` is NULL. Names are gone through twice, so that a buffer
 * is asked for just the room that is needed. */
struct writer {
    char *p;
    size_t n;
};

static void put(struct writer *w, uint32_t byte)
{
    if (w->p)
        w->p[w->n] = (char)byte;
    w->n++;
}

/* What stands for itself. */
static bool is_printable(uint32_t c)
{
    return c >= ' ' && c <= '~';
}

static bool is_refused(uint32_t c)
{
    return c == '\0' || c == '\r' || c == '\n';
}

/* --- to UTF-8 --------------------------------------------------------------------------------- */

static void put_utf8(struct writer *w, uint32_t c)
{
    if (c < 0x80) {
        put(w, c);
    } else if (c < 0x800) {
        put(w, 0xc0 | c >> 6);
        put(w, 0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        put(w, 0xe0 | c >> 12);
        put(w, 0x80 | (c >> 6 & 0x3f));
        put(w, 0x80 | (c & 0x3f));
    } else {
        put(w, 0xf0 | c >> 18);
        put(w, 0x80 | (c >> 12 & 0x3f));
        put(w, 0x80 | (c >> 6 & 0x3f));
        put(w, 0x80 | (c & 0x3f));
    }
}

/* One unit of UTF-16; *high is the first half of a pair that has come, or 0. */
static bool put_unit(struct writer *w, uint32_t unit, uint32_t *high)
{
    const bool is_low = unit >= 0xdc00 && unit <= 0xdfff;

    if (is_low != (*high > 0))
        return false;
    if (is_low) {
        put_utf8(w, 0x10000 + ((*high - 0xd800) << 10) + (unit - 0xdc00));
        *high = 0;
    } else if (unit >= 0xd800 && unit <= 0xdbff) {
        *high = unit;
    } else if (is_printable(unit) || is_refused(unit)) {
        return false;
    } else {
        put_utf8(w, unit);
    }
    return true;
}

/* What stands between "&" and "-". */
static bool decode_shifted(struct slice s, struct writer *w)
{
    uint32_t bits = 0, high = 0;
    unsigned n = 0;

    for (size_t i = 0; i < s.n; i++) {
        const char *digit = memchr(digits, s.p[i], sizeof(digits) - 1);

        if (!digit)
            return false;
        bits = bits << 6 | (uint32_t)(digit - digits);
        n += 6;
        if (n < 16)
            continue;
        n -= 16;
        if (!put_unit(w, bits >> n, &high))
            return false;
        bits &= (1U << n) - 1;
    }
    return n < 6 && bits == 0 && high == 0;
}

static bool decode(struct slice wire, struct writer *w)
{
    size_t shifted = SIZE_MAX; /* where another shift would be superfluous */

    for (size_t i = 0; i < wire.n; i++) {
        struct slice rest = slice_sub(wire, i + 1, wire.n);
        const char *end;

        if (wire.p[i] != '&') {
            if (!is_printable((unsigned char)wire.p[i]))
                return false;
            put(w, (unsigned char)wire.p[i]);
            continue;
        }
        end = rest.n > 0 ? memchr(rest.p, '-', rest.n) : NULL;
        if (!end)
            return false;
        rest.n = (size_t)(end - rest.p);
        if (rest.n == 0)
            put(w, '&');
        else if (i == shifted || !decode_shifted(rest, w))
            return false;
        i += rest.n + 1;
        if (rest.n > 0)
            shifted = i + 1;
    }
    return true;
}

/* A name that is UTF-8 on the wire, and could be taken for nothing else. */
static bool copy_utf8(struct slice wire, struct writer *w)
{
    size_t n;

    for (size_t i = 0; i < wire.n; i += n) {
        n = utf8_char(slice_sub(wire, i, wire.n));
        if (n == 0 || (n == 1 && (!is_printable((unsigned char)wire.p[i]) || wire.p[i] == '&')))
            return false;
        for (size_t k = 0; k < n; k++)
            put(w, (unsigned char)wire.p[i + k]);
    }
    return true;
}

static bool is_ascii(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if ((unsigned char)s.p[i] > 127)
            return false;
    }
    return true;
}

/* --- from UTF-8 ------------------------------------------------------------------------------- */

/* A shift that is open, and what of it does not fill a digit yet. */
struct shift {
    bool is_open;
    uint32_t bits;
    unsigned n; /* below 6 */
};

static void shift_put(struct shift *shift, struct writer *w, uint32_t unit)
{
    if (!shift->is_open)
        put(w, '&');
    shift->is_open = true;
    shift->bits = shift->bits << 16 | unit;
    for (shift->n += 16; shift->n >= 6; shift->n -= 6)
        put(w, (unsigned char)digits[shift->bits >> (shift->n - 6) & 63]);
    shift->bits &= (1U << shift->n) - 1;
}

static void shift_end(struct shift *shift, struct writer *w)
{
    if (!shift->is_open)
        return;
    if (shift->n > 0)
        put(w, (unsigned char)digits[shift->bits << (6 - shift->n) & 63]);
    put(w, '-');
    *shift = (struct shift){0};
}

/* The character of `n` well-formed bytes. */
static uint32_t code_point(const char *p, size_t n)
{
    uint32_t c = (unsigned char)p[0];

    if (n > 1)
        c &= 0x7fU >> n;
    for (size_t i = 1; i < n; i++)
        c = c << 6 | ((unsigned char)p[i] & 0x3f);
    return c;
}

static bool encode(struct slice name, struct writer *w)
{
    struct shift shift = {0};
    size_t n;

    for (size_t i = 0; i < name.n; i += n) {
        uint32_t c;

        n = utf8_char(slice_sub(name, i, name.n));
        if (n == 0)
            return false;
        c = code_point(name.p + i, n);
        if (is_refused(c))
            return false;
        if (is_printable(c)) {
            shift_end(&shift, w);
            put(w, c);
            if (c == '&')
                put(w, '-');
        } else if (c < 0x10000) {
            shift_put(&shift, w, c);
        } else {
            shift_put(&shift, w, 0xd800 + ((c - 0x10000) >> 10));
            shift_put(&shift, w, 0xdc00 + ((c - 0x10000) & 0x3ff));
        }
    }
    shift_end(&shift, w);
    return true;
}

/* ---------------------------------------------------------------------------------------------- */

static bool write_by(bool (*convert)(struct slice s, struct writer *w), struct slice s,
                     struct buf *out)
{
    struct writer w = {0};

    if (!convert(s, &w))
        return false;
    if (w.n == 0)
        return true;
    w.p = buf_room(out, w.n);
    if (!w.p)
        return false;
    w.n = 0;
    (void)convert(s, &w);
    buf_added(out, w.n);
    return true;
}

bool utf7_decode(struct slice wire, struct buf *out)
{
    return write_by(is_ascii(wire) ? decode : copy_utf8, wire, out);
}

bool utf7_encode(struct slice name, struct buf *out)
{
    return write_by(encode, name, out);
}
