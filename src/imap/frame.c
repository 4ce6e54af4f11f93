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

/* What the end of `line` (itself without its end) looks like, whatever stands before it. */
static struct announcement braces_at_end(struct slice line, bool may_have_plus)
{
    struct announcement a = {.is_sync = true};
    size_t to = line.n, from;

    if (to < 3 || line.p[to - 1] != '}')
        return a;
    to--;
    if (may_have_plus && line.p[to - 1] == '+') {
        a.is_sync = false;
        to--;
    }
    for (from = to; from > 0 && line.p[from - 1] >= '0' && line.p[from - 1] <= '9';)
        from--;
    if (from == to || from == 0 || line.p[from - 1] != '{')
        return a;
    a.is_there = true;
    if (!num_parse(slice_sub(line, from, to), UINT64_MAX, &a.n))
        a.n = UINT64_MAX;
    return a;
}

static bool is_response(const struct frame *f)
{
    return f->kind == FRAME_RESPONSE || f->kind == FRAME_PARTS;
}

static struct announcement announced(const struct frame *f, struct slice line)
{
    struct announcement a = {0};
    bool is_first = f->lines == 0;

    if (f->kind == FRAME_LINE)
        return a;
    a = braces_at_end(line, f->kind == FRAME_COMMAND);
    if (a.is_there && a.is_sync && ends_in_quotes(line))
        a.is_there = false;
    if (a.is_there && is_response(f) && is_first && !is_data(line))
        a.is_there = false;
    return a;
}

bool frame_keep(struct frame *f)
{
    bool is_part = f->kind == FRAME_PARTS;
    /* Behind the literal a line must have room. */
    size_t left = is_part ? f->max_line - f->lines - 1 : f->max_literal - f->literals;

    if (f->literal > left)
        return false;
    *(is_part ? &f->lines : &f->literals) += (size_t)f->literal;
    f->part = f->seen + (size_t)f->literal;
    return true;
}

void frame_cut(struct frame *f)
{
    f->part = f->seen = 0;
}

/* A line has been read up to f->seen. MORE: it goes on with a literal, behind which the next line
 * of the frame begins. */
static enum frame_result end_line(struct frame *f, struct slice line)
{
    bool has_cr = line.n > 1 && line.p[line.n - 2] == '\r';
    struct announcement a;

    if (is_response(f) && !has_cr)
        return FRAME_BARE_LF;
    a = announced(f, slice_sub(line, 0, line.n - (has_cr ? 2 : 1)));
    f->lines += line.n;
    if (!a.is_there)
        return FRAME_WHOLE;
    if (f->lines == f->max_line) /* no room for the line behind the literal */
        return FRAME_LINE_LONG;
    f->is_sync = a.is_sync;
    f->literal = a.n;
    if (f->kind == FRAME_PARTS)
        return FRAME_LITERAL;
    if (!frame_keep(f))
        return FRAME_LITERAL_LARGE;
    return f->kind == FRAME_COMMAND && a.is_sync ? FRAME_CONTINUE : FRAME_MORE;
}

enum frame_result frame_step(struct frame *f, struct slice s)
{
    for (;;) {
        enum frame_result result;
        struct slice line;
        const char *lf;

        if (f->seen < f->part) /* over the literal */
            f->seen = f->part;
        if (f->seen >= s.n)
            return FRAME_MORE;
        lf = memchr(s.p + f->seen, '\n', s.n - f->seen);
        f->seen = lf ? (size_t)(lf - s.p) + 1 : s.n;
        line = slice_sub(s, f->part, f->seen);
        /* A line that fills the limit without an end is too long already. */
        if (f->lines + line.n + (lf ? 0 : 1) > f->max_line)
            return FRAME_LINE_LONG;
        if (!lf)
            return FRAME_MORE;
        result = end_line(f, line);
        if (result != FRAME_MORE)
            return result;
    }
}
