/* Framing: frames do not depend on how bytes come, end where a plain reading of imap/frame.h says,
 * and where the grammar of imap/lex.h ends, so that nobody sees two commands in one.
 *
 * Flags: the kind of frames; small limits. Of FRAME_PARTS every third size of literals is cut out.
 */
#include "cut.h"

#include "imap/frame.h"
#include "imap/lex.h"

#include <stdlib.h>

enum { MAX_INPUT = 4096 };
enum { KIND = 3, IS_TIGHT = 4 };

/* What the end of a line says. */
struct line {
    bool announces, is_sync;
    uint64_t n; /* bytes of the literal */
};

struct limits {
    size_t line, literal;
};

static bool is_response(enum frame_kind kind)
{
    return kind == FRAME_RESPONSE || kind == FRAME_PARTS;
}

static bool is_cut_out(uint64_t literal)
{
    return literal <= MAX_INPUT && literal % 3 == 2;
}

/* ---- The model ---- */

static bool is_open_quote(struct slice line)
{
    bool is_open = false, is_escaped = false;

    for (size_t i = 0; i < line.n; i++) {
        bool is_quote = line.p[i] == '"' && !is_escaped;

        is_escaped = is_open && !is_escaped && line.p[i] == '\\';
        is_open ^= is_quote;
    }
    return is_open;
}

/* Whether the first line of a response is untagged data. */
static bool is_data(struct slice line)
{
    static const char *const texts[] = {"* OK ", "* NO ", "* BAD ", "* BYE ", "* PREAUTH ", NULL};
    char padded[16] = "";

    if (line.n < 2 || memcmp(line.p, "* ", 2) != 0)
        return false;
    memcpy(padded, line.p, line.n < 11 ? line.n : 11);
    if (line.n < 11)
        padded[line.n] = ' ';
    for (size_t i = 0; texts[i]; i++) {
        if (slice_istarts(slice_of(padded, 12), slice_str(texts[i])))
            return false;
    }
    return true;
}

/* 1*DIGIT, of any size: what is too large stays so. */
static bool read_count(struct slice s, uint64_t *out_n)
{
    uint64_t n = 0;

    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        n = n > MAX_INPUT ? n : 10 * n + (uint64_t)(s.p[i] - '0');
    }
    *out_n = n;
    return s.n > 0;
}

/* `line` is without its end. */
static struct line read_line(struct slice line, enum frame_kind kind, bool is_first)
{
    struct line a = {.is_sync = true};
    const char *brace = line.n > 0 ? memrchr(line.p, '{', line.n) : NULL;
    struct slice in;

    if (kind == FRAME_LINE || !brace || line.p[line.n - 1] != '}')
        return a;
    in = slice_sub(line, (size_t)(brace + 1 - line.p), line.n - 1);
    if (in.n > 0 && in.p[in.n - 1] == '+' && kind == FRAME_COMMAND) {
        a.is_sync = false;
        in.n--;
    }
    a.announces = read_count(in, &a.n);
    if (a.is_sync && is_open_quote(line))
        a.announces = false;
    if (is_response(kind) && is_first && !is_data(line))
        a.announces = false;
    return a;
}

/* How far the model has come in a frame. */
struct model {
    enum frame_kind kind;
    const struct limits *limits;
    size_t at;              /* where the next line begins, maybe behind what there is */
    size_t from;            /* behind the last literal that was cut out */
    size_t lines, literals; /* bytes of them */
};

/* A literal of FRAME_PARTS is announced. */
static enum frame_result model_part(struct model *m, size_t end, uint64_t n)
{
    if (!is_cut_out(n) && n >= m->limits->line - m->lines)
        return FRAME_LITERAL_LARGE;
    m->at = end + (size_t)n;
    if (is_cut_out(n))
        m->from = m->at;
    else
        m->lines += (size_t)n;
    return FRAME_CONTINUE;
}

/* The next line; CONTINUE also where it goes on with a literal that nobody waits for, and
 * *out_is_sync tells. *out_end: where the line ends. */
static enum frame_result model_line(struct model *m, struct slice s, size_t *out_end,
                                    bool *out_is_sync)
{
    struct slice rest = slice_sub(s, m->at, s.n), line = rest;
    const char *lf = rest.n > 0 ? memchr(rest.p, '\n', rest.n) : NULL;
    struct line read;

    if (lf)
        line.n = (size_t)(lf - rest.p) + 1;
    *out_end = m->at + line.n;
    if (rest.n == 0)
        return FRAME_MORE;
    m->lines += line.n;
    if (m->lines + (lf ? 0 : 1) > m->limits->line)
        return FRAME_LINE_LONG;
    if (!lf)
        return FRAME_MORE;
    line.n--;
    if (line.n > 0 && line.p[line.n - 1] == '\r')
        line.n--;
    else if (is_response(m->kind))
        return FRAME_BARE_LF;
    read = read_line(line, m->kind, m->at == 0);
    *out_is_sync = read.is_sync;
    if (!read.announces)
        return FRAME_WHOLE;
    if (m->lines == m->limits->line)
        return FRAME_LINE_LONG;
    if (m->kind == FRAME_PARTS)
        return model_part(m, *out_end, read.n);
    if (read.n > m->limits->literal - m->literals)
        return FRAME_LITERAL_LARGE;
    m->literals += (size_t)read.n;
    m->at = *out_end + (size_t)read.n;
    return FRAME_CONTINUE;
}

static void tell_last(struct buf *told, enum frame_result result, size_t n)
{
    if (result != FRAME_MORE)
        INSIST(buf_printf(told, "%d %zu\n", (int)result, result == FRAME_LINE_LONG ? 0 : n) == 0);
}

/* Tells the results of the frame that `s` begins with; returns the last. *out_n: its bytes;
 * *out_told: those that lie together. */
static enum frame_result model_frame(enum frame_kind kind, const struct limits *limits,
                                     struct slice s, struct buf *told, size_t *out_n,
                                     size_t *out_told)
{
    struct model m = {.kind = kind, .limits = limits};
    enum frame_result result;
    bool is_sync = false;

    for (;;) {
        size_t from = m.from;

        result = model_line(&m, s, out_n, &is_sync);
        *out_told = *out_n - from;
        if (kind == FRAME_PARTS && (result == FRAME_CONTINUE || result == FRAME_LITERAL_LARGE))
            tell_last(told, FRAME_LITERAL, *out_told);
        if (result != FRAME_CONTINUE)
            return result;
        if (kind == FRAME_COMMAND && is_sync)
            tell_last(told, FRAME_CONTINUE, *out_told);
    }
}

static void run_model(enum frame_kind kind, const struct limits *limits, struct slice s,
                      struct buf *told)
{
    enum frame_result result;
    size_t n, told_n;

    do {
        result = model_frame(kind, limits, s, told, &n, &told_n);
        tell_last(told, result, told_n);
        if (result == FRAME_WHOLE)
            s = slice_sub(s, n, s.n);
    } while (result == FRAME_WHOLE);
}

/* ---- Grammar and frames see the same ends ---- */

/* How many bytes the grammar reads of `s` as one command, or as one response with data; 0: `s` does
 * not begin with one. */
static size_t grammar_end(enum frame_kind kind, struct slice s)
{
    struct slice piece;
    struct lex l = lex_start(s);
    char *to = malloc(s.n);
    size_t n = 0;

    INSIST(to);
    if ((kind == FRAME_COMMAND ? lex_tag(&l, &piece) : lex_byte(&l, '*')) && lex_sp(&l) &&
        lex_atom(&l, &piece)) {
        while (lex_sp(&l) && lex_astring(&l, to, &piece))
            ;
        lex_byte(&l, '\r');
        if (lex_byte(&l, '\n'))
            n = s.n - l.s.n;
    }
    free(to);
    return n;
}

/* A server's "{n+}" is left out: the grammar takes it, but no server may send it and nobody reads
 * strings of servers. */
static void check_end(enum frame_kind kind, struct slice s, enum frame_result result, size_t len)
{
    size_t n = kind == FRAME_LINE || kind == FRAME_PARTS ? 0 : grammar_end(kind, s), line = 0;

    while (line < n && s.p[line] != '\r' && s.p[line] != '\n')
        line++;
    if (n == 0 || (kind == FRAME_RESPONSE && (!is_data(slice_sub(s, 0, line)) ||
                                              count_in(slice_sub(s, 0, n), SLICE("+}")) > 0)))
        return;
    INSIST(result != FRAME_MORE);
    INSIST(result != FRAME_WHOLE || len == n);
}

/* ---- What the code says ---- */

/* What comes of a literal that was cut out goes by. */
static void skip(struct buf *in, uint64_t *left)
{
    size_t n = *left < buf_len(in) ? (size_t)*left : buf_len(in);

    buf_take(in, n);
    *left -= n;
}

/* The literal is kept or cut out; what it is if it can be neither. */
static enum frame_result decide(struct frame *f, struct buf *in, uint64_t *left)
{
    if (!is_cut_out(frame_literal(f)))
        return frame_keep(f) ? FRAME_LITERAL : FRAME_LITERAL_LARGE;
    *left = frame_literal(f);
    buf_take(in, frame_len(f));
    frame_cut(f);
    return FRAME_LITERAL;
}

static void run(enum frame_kind kind, const struct limits *limits, struct slice bytes,
                uint64_t seed, struct buf *told)
{
    struct cut c = {bytes, seed, false};
    enum frame_result result = FRAME_MORE;
    uint64_t left = 0; /* of a literal that was cut out */
    struct frame f;
    struct buf in;

    buf_init(&in, limits->line + limits->literal, false);
    frame_start(&f, kind, limits->line, limits->literal);
    do {
        struct slice s;

        skip(&in, &left);
        s = buf_slice(&in);
        result = frame_step(&f, s);
        check_end(kind, s, result, frame_len(&f));
        if (result == FRAME_MORE) {
            INSIST(buf_left(&in) > 0);
            continue;
        }
        INSIST(result == FRAME_LINE_LONG || frame_len(&f) <= s.n);
        INSIST(result == FRAME_LINE_LONG || s.p[frame_len(&f) - 1] == '\n');
        tell_last(told, result, frame_len(&f));
        if (result == FRAME_LITERAL) {
            result = decide(&f, &in, &left);
            if (result == FRAME_LITERAL_LARGE)
                tell_last(told, result, frame_len(&f));
        }
        if (result == FRAME_WHOLE) {
            buf_take(&in, frame_len(&f));
            frame_start(&f, kind, limits->line, limits->literal);
        }
    } while (result == FRAME_WHOLE || result == FRAME_CONTINUE || result == FRAME_LITERAL ||
             (result == FRAME_MORE && cut_feed(&c, &in)));
    buf_release(&in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum frame_kind kinds[] = {FRAME_COMMAND, FRAME_LINE, FRAME_RESPONSE, FRAME_PARTS};
    const uint64_t seeds[] = {0, 1, size > 1 ? data[1] | 1U : 0};
    struct fuzz_input in;
    struct limits limits;
    struct buf expected;

    if (size > MAX_INPUT || !fuzz_input_read(&in, data, size))
        return 0;
    limits = in.flags & IS_TIGHT ? (struct limits){24, 12} : (struct limits){256, 128};
    buf_init(&expected, 1 << 20, false);
    run_model(kinds[in.flags & KIND], &limits, in.bytes, &expected);
    for (size_t i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++) {
        struct buf told;

        buf_init(&told, 1 << 20, false);
        run(kinds[in.flags & KIND], &limits, in.bytes, seeds[i], &told);
        INSIST(slice_eq(buf_slice(&told), buf_slice(&expected)));
        buf_release(&told);
    }
    buf_release(&expected);
    return 0;
}
