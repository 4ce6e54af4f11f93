/* Lines and literals; see imap/frame.h. */
#include "imap/frame.h"

#include "base/num.h"

#include <stdint.h>
#include <string.h>

struct announcement {
    bool is_there, is_sync;
    uint64_t n;
};

void frame_start(struct frame *f, enum frame_kind kind, size_t max_line, size_t max_literal)
{
    *f = (struct frame){.kind = kind, .max_line = max_line, .max_literal = max_literal};
}

/* Whether a quoted string that began in the line is still open at its end. */
static bool ends_in_quotes(struct slice line)
{
    bool is_open = false;

    for (size_t i = 0; i < line.n; i++) {
        if (line.p[i] == '"')
            is_open = !is_open;
        else if (line.p[i] == '\\' && is_open)
            i++;
    }
    return is_open;
}

/* Untagged data is "* " and a word that does not begin free text (RFC 9051: resp-cond-state,
 * resp-cond-bye, greeting). */
static bool is_data(struct slice line)
{
    static const struct slice texts[] = {SLICE("OK"), SLICE("NO"), SLICE("BAD"), SLICE("BYE"),
                                         SLICE("PREAUTH")};
    struct slice word = slice_sub(line, 2, line.n);
    const char *space;

    if (!slice_istarts(line, SLICE("* ")))
        return false;
    space = memchr(word.p, ' ', word.n);
    if (space)
        word.n = (size_t)(space - word.p);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (slice_ieq(word, texts[i]))
            return false;
    }
    return true;
}

/* `line` without its end. */
static struct announcement announced(enum frame_kind kind, struct slice line, bool is_first)
{
    struct announcement a = {.is_sync = true};
    size_t to = line.n, from;

    if (kind == FRAME_LINE || line.n < 3 || line.p[to - 1] != '}')
        return a;
    to--;
    if (kind == FRAME_COMMAND && line.p[to - 1] == '+') {
        a.is_sync = false;
        to--;
    }
    for (from = to; from > 0 && line.p[from - 1] >= '0' && line.p[from - 1] <= '9';)
        from--;
    if (from == to || from == 0 || line.p[from - 1] != '{')
        return a;
    if (a.is_sync && ends_in_quotes(line))
        return a;
    if (kind == FRAME_RESPONSE && is_first && !is_data(line))
        return a;
    a.is_there = true;
    if (!num_parse(slice_sub(line, from, to), UINT64_MAX, &a.n))
        a.n = UINT64_MAX;
    return a;
}

enum frame_result frame_step(struct frame *f, struct slice s)
{
    if (f->seen < f->part)
        f->seen = f->part;
    while (f->seen < s.n) {
        const char *lf = memchr(s.p + f->seen, '\n', s.n - f->seen);
        size_t end = lf ? (size_t)(lf - s.p) + 1 : s.n;
        struct slice line = slice_sub(s, f->part, end);
        struct announcement a;

        f->seen = end;
        if (f->lines + line.n > f->max_line || (!lf && f->lines + line.n == f->max_line))
            return FRAME_LINE_LONG;
        if (!lf)
            return FRAME_MORE;
        if (f->kind == FRAME_RESPONSE && (line.n < 2 || line.p[line.n - 2] != '\r'))
            return FRAME_BARE_LF;
        f->lines += line.n;
        line.n -= line.n > 1 && line.p[line.n - 2] == '\r' ? 2 : 1;
        a = announced(f->kind, line, f->part == 0);
        if (!a.is_there)
            return FRAME_WHOLE;
        if (f->lines == f->max_line) /* no room for the line behind the literal */
            return FRAME_LINE_LONG;
        f->is_sync = a.is_sync;
        if (a.n > f->max_literal - f->literals)
            return FRAME_LITERAL_LARGE;
        f->literals += (size_t)a.n;
        f->part = end + (size_t)a.n;
        if (f->kind == FRAME_COMMAND && a.is_sync)
            return FRAME_CONTINUE;
        f->seen = f->part;
    }
    return FRAME_MORE;
}
