/* Framing and grammar: frames do not depend on how bytes come, tokens and responses stay within
 * their frame, and what is written is read again. */
#include "cut.h"

#include "imap/capability.h"
#include "imap/frame.h"
#include "imap/lex.h"
#include "imap/response.h"
#include "imap/write.h"

#include <stdlib.h>

enum { MAX_LINE = 256, MAX_LITERAL = 128, MAX_INPUT = 4096 };

static bool lies_in(struct slice part, struct slice whole)
{
    return part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

static void read_tokens(struct slice frame)
{
    struct lex l = lex_start(frame);
    struct slice piece;
    char *to = malloc(frame.n + 1);
    size_t before;

    INSIST(to);
    do {
        before = l.s.n;
        if (lex_tag(&l, &piece))
            INSIST(piece.n > 0 && piece.n <= LEX_TAG && lies_in(piece, frame));
        if (lex_atom(&l, &piece))
            INSIST(piece.n > 0 && lies_in(piece, frame));
        lex_sp(&l);
        if (lex_astring(&l, to, &piece))
            INSIST(piece.p == to && piece.n <= before - l.s.n);
        lex_sp(&l);
        INSIST(lies_in(l.s, frame));
    } while (l.s.n < before);
    lex_end(&l);
    free(to);
}

static void read_response(struct slice frame)
{
    struct response r;
    struct slice code, arguments;

    if (!response_parse(frame, &r))
        return;
    INSIST(lies_in(r.tag, frame) && lies_in(r.word, frame) && lies_in(r.text, frame));
    INSIST(r.word.n > 0 && !slice_has(r.text, '\0'));
    INSIST(r.tag.n == 0 || r.kind == RESPONSE_OK || r.kind == RESPONSE_NO ||
           r.kind == RESPONSE_BAD);
    if (response_code(r.text, &code, &arguments))
        INSIST(code.n > 0 && lies_in(code, r.text) && lies_in(arguments, r.text));
    if (capability_in_text(r.text, &arguments))
        capability_has(arguments, SLICE("IDLE"));
}

static void write_and_read(struct slice s)
{
    enum write_form form = write_form(s);
    struct slice value;
    struct buf out;
    struct lex l;
    char *to;

    if (form == WRITE_NEVER)
        return;
    buf_init(&out, 2 * s.n + 64, false);
    if (form == WRITE_LITERAL)
        INSIST(write_literal_header(&out, s.n, false) == 0 && buf_put(&out, s) == 0);
    else
        INSIST(write_quoted(&out, s) == 0);
    to = malloc(buf_len(&out));
    INSIST(to);
    l = lex_start(buf_slice(&out));
    INSIST(lex_astring(&l, to, &value) && l.s.n == 0 && slice_eq(value, s));
    l = lex_start(s);
    INSIST(form != WRITE_ATOM || (lex_atom(&l, &value) && l.s.n == 0));
    free(to);
    buf_release(&out);
}

/* Frames `bytes` and writes down each result with its length. */
static void run(enum frame_kind kind, struct slice bytes, uint64_t seed, struct buf *told)
{
    struct cut c = {bytes, seed};
    enum frame_result result = FRAME_MORE;
    struct frame f;
    struct buf in;

    buf_init(&in, MAX_LINE + MAX_LITERAL, false);
    frame_start(&f, kind, MAX_LINE, MAX_LITERAL);
    do {
        struct slice s = buf_slice(&in);

        result = frame_step(&f, s);
        if (result == FRAME_MORE) {
            INSIST(buf_left(&in) > 0);
            continue;
        }
        INSIST(result == FRAME_LINE_LONG || frame_len(&f) <= s.n);
        INSIST(result == FRAME_LINE_LONG || s.p[frame_len(&f) - 1] == '\n');
        INSIST(buf_printf(told, "%d %zu\n", (int)result,
                          result == FRAME_LINE_LONG ? 0 : frame_len(&f)) == 0);
        if (result == FRAME_WHOLE) {
            s = slice_sub(s, 0, frame_len(&f));
            read_tokens(s);
            read_response(s);
            buf_take(&in, s.n);
            frame_start(&f, kind, MAX_LINE, MAX_LITERAL);
        }
    } while (result == FRAME_WHOLE || result == FRAME_CONTINUE ||
             (result == FRAME_MORE && cut_feed(&c, &in)));
    buf_release(&in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum frame_kind kinds[] = {FRAME_COMMAND, FRAME_LINE, FRAME_RESPONSE};
    struct fuzz_input in;
    struct buf whole, cut;

    if (size > MAX_INPUT || !fuzz_input_read(&in, data, size))
        return 0;
    buf_init(&whole, 1 << 20, false);
    buf_init(&cut, 1 << 20, false);
    run(kinds[in.flags % 3], in.bytes, 0, &whole);
    run(kinds[in.flags % 3], in.bytes, in.seed | 1U, &cut);
    INSIST(slice_eq(buf_slice(&whole), buf_slice(&cut)));
    buf_release(&whole);
    buf_release(&cut);
    read_tokens(in.bytes);
    read_response(in.bytes);
    write_and_read(in.bytes);
    return 0;
}
