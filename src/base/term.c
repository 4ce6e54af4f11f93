/* Terminals: their colour and width, and text for them. */
#include "base/term.h"

#include "base/err.h"
#include "base/num.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { WIDTH_UNKNOWN = 80, WIDTH_MAX = 100000 };

static const char *const sgr[TERM_STYLES] = {
    [TERM_PLAIN] = "",        [TERM_BOLD] = "\033[1m",  [TERM_DIM] = "\033[2m",
    [TERM_GOOD] = "\033[32m", [TERM_WARN] = "\033[33m", [TERM_BAD] = "\033[31m"};

const char *term_sgr(enum term_style style)
{
    INSIST(style < TERM_STYLES);
    return sgr[style];
}

const char *term_sgr_end(enum term_style style)
{
    return *term_sgr(style) ? "\033[0m" : "";
}

static const char *variable(const char *name)
{
    const char *value = getenv(name);

    return value ? value : "";
}

bool term_is_coloured(FILE *stream)
{
    const char *force = variable("CLICOLOR_FORCE"), *term = variable("TERM");

    if (*variable("NO_COLOR"))
        return false;
    if (*force && strcmp(force, "0") != 0)
        return true;
    return isatty(fileno(stream)) == 1 && *term && strcmp(term, "dumb") != 0;
}

size_t term_width(FILE *stream)
{
    struct winsize size;
    uint64_t columns;

    if (isatty(fileno(stream)) != 1)
        return 0;
    if (num_parse(slice_str(variable("COLUMNS")), WIDTH_MAX, &columns) && columns > 0)
        return (size_t)columns;
    if (ioctl(fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return WIDTH_UNKNOWN;
}

/* --- text ---------------------------------------------------------------------------------- */

struct range {
    uint32_t first, last;
};

/* Marks that sit on the character before them, and joiners. */
static const struct range narrowest[] = {
    {0x0300, 0x036f}, {0x0483, 0x0489}, {0x0591, 0x05bd},   {0x05bf, 0x05c7}, {0x0610, 0x061a},
    {0x064b, 0x065f}, {0x0670, 0x0670}, {0x06d6, 0x06dc},   {0x06df, 0x06e4}, {0x0900, 0x0902},
    {0x093c, 0x093c}, {0x0941, 0x0948}, {0x094d, 0x094d},   {0x0e31, 0x0e31}, {0x0e34, 0x0e3a},
    {0x0e47, 0x0e4e}, {0x1160, 0x11ff}, {0x1ab0, 0x1aff},   {0x1dc0, 0x1dff}, {0x200b, 0x200d},
    {0x2060, 0x2064}, {0x20d0, 0x20ff}, {0x302a, 0x302d},   {0x3099, 0x309a}, {0xfe00, 0xfe0f},
    {0xfe20, 0xfe2f}, {0xfeff, 0xfeff}, {0xe0001, 0xe01ef},
};

static const struct range widest[] = {
    {0x1100, 0x115f},   {0x231a, 0x231b},   {0x2329, 0x232a},   {0x23e9, 0x23ec},
    {0x2614, 0x2615},   {0x2648, 0x2653},   {0x2705, 0x2705},   {0x270a, 0x270b},
    {0x274c, 0x274c},   {0x2753, 0x2757},   {0x2795, 0x2797},   {0x2b1b, 0x2b1c},
    {0x2e80, 0x303e},   {0x3041, 0x3247},   {0x3250, 0x4dbf},   {0x4e00, 0xa4cf},
    {0xa960, 0xa97f},   {0xac00, 0xd7a3},   {0xf900, 0xfaff},   {0xfe10, 0xfe19},
    {0xfe30, 0xfe6f},   {0xff01, 0xff60},   {0xffe0, 0xffe6},   {0x16fe0, 0x18dff},
    {0x1b000, 0x1b2ff}, {0x1f300, 0x1f320}, {0x1f32d, 0x1f64f}, {0x1f680, 0x1f6ff},
    {0x1f90c, 0x1f9ff}, {0x1fa70, 0x1faff}, {0x20000, 0x3fffd},
};

/* Line and paragraph separators; marks of the writing direction. */
static const struct range turning[] = {
    {0x061c, 0x061c}, {0x200e, 0x200f}, {0x2028, 0x202e}, {0x2066, 0x2069}};

static bool is_in(uint32_t c, const struct range *ranges, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (c >= ranges[i].first && c <= ranges[i].last)
            return true;
    }
    return false;
}

#define IS_IN(c, ranges) is_in(c, ranges, sizeof(ranges) / sizeof *(ranges))

/* The character of the `n` bytes that utf8_char() has found. */
static uint32_t decode(const char *p, size_t n)
{
    static const unsigned char lead[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t c = (unsigned char)p[0] & lead[n];

    for (size_t i = 1; i < n; i++)
        c = c << 6 | ((unsigned char)p[i] & 0x3f);
    return c;
}

int term_escape(struct buf *out, struct slice s)
{
    for (size_t i = 0, n; i < s.n; i += n) {
        uint32_t c = (unsigned char)s.p[i];
        int result;

        n = utf8_char(slice_sub(s, i, s.n));
        if (n > 0)
            c = decode(s.p + i, n);
        if (n == 0 || c < 0x20 || c == 0x7f)
            result = buf_printf(out, "\\x%02x", (unsigned)c);
        else if ((c >= 0x80 && c < 0xa0) || IS_IN(c, turning))
            result = buf_printf(out, "\\u%04x", (unsigned)c);
        else
            result = buf_put(out, slice_of(s.p + i, n));
        if (result < 0)
            return -1;
        if (n == 0)
            n = 1;
    }
    return 0;
}

/* Of the character at the start of `s`, whose bytes are counted in *out_n. */
static size_t char_width(struct slice s, size_t *out_n)
{
    size_t n = utf8_char(s);
    uint32_t c;

    *out_n = n > 0 ? n : 1;
    if (n <= 1)
        return 1;
    c = decode(s.p, n);
    if (IS_IN(c, narrowest))
        return 0;
    return IS_IN(c, widest) ? 2 : 1;
}

size_t term_text_width(struct slice s)
{
    size_t width = 0;

    for (size_t i = 0, n; i < s.n; i += n)
        width += char_width(slice_sub(s, i, s.n), &n);
    return width;
}

struct slice term_text_cut(struct slice s, size_t width)
{
    size_t taken = 0;

    for (size_t i = 0, n; i < s.n; i += n) {
        taken += char_width(slice_sub(s, i, s.n), &n);
        if (taken > width)
            return slice_sub(s, 0, i);
    }
    return s;
}
