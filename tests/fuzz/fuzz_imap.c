/* Framing and grammar: frames do not depend on how bytes come, tokens and responses stay within
 * their frame, and what is written is read again. */
#include "cut.h"

#include "imap/capability.h"
#include "imap/frame.h"
#include "imap/id.h"
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

static bool same_pairs(struct id a, struct id b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++) {
        const struct id_pair *x = &a.pairs[i], *y = &b.pairs[i];

        if (!slice_eq(x->key, y->key) || x->is_nil != y->is_nil || !slice_eq(x->value, y->value))
            return false;
    }
    return true;
}

static void check_pairs(struct id id)
{
    INSIST(id.n <= ID_PAIRS);
    for (size_t i = 0; i < id.n; i++) {
        const struct id_pair *pair = &id.pairs[i];

        INSIST(pair->key.n <= ID_KEY && lex_is_text(pair->key));
        INSIST(pair->value.n <= ID_VALUE && lex_is_text(pair->value));
        INSIST(!pair->is_nil || pair->value.n == 0);
    }
}

/* Reads an ID, writes it with and without waiting, and reads both again. */
static void read_id(struct slice s)
{
    static const size_t nonsync_max[] = {0, SIZE_MAX};
    struct id_pair pairs[ID_PAIRS], again[ID_PAIRS];
    char *to = malloc(s.n + 1);
    struct lex l = lex_start(s);
    struct id id = {pairs, 0};

    INSIST(to);
    if (id_parse(&l, to, pairs, &id.n)) {
        check_pairs(id);
        for (size_t i = 0; i < 2; i++) {
            struct slice due = {0};
            struct id second = {again, 0};
            struct buf out;
            size_t at = 0;
            char *to_again;

            buf_init(&out, 1 << 20, false);
            do
                INSIST(buf_put(&out, due) == 0 &&
                       id_write(&out, id, nonsync_max[i], &at, &due) == 0);
            while (due.n > 0);
            to_again = malloc(buf_len(&out));
            l = lex_start(buf_slice(&out));
            INSIST(to_again && id_parse(&l, to_again, again, &second.n) && l.s.n == 0);
            INSIST(same_pairs(id, second));
            free(to_again);
            buf_release(&out);
        }
    } else {
        INSIST(l.s.p == s.p && l.s.n == s.n);
    }
    free(to);
}

static void leave_out(struct slice list)
{
    char *to = malloc(list.n + 1);
    size_t n;

    INSIST(to);
    n = capability_without(list, SLICE(""), to);
    INSIST(slice_eq(slice_of(to, n), list));
    n = capability_without(list, SLICE("A UNAUTHENTICATE"), to);
    INSIST(n <= list.n && !capability_has(slice_of(to, n), SLICE("A")));
    free(to);
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
    read_id(in.bytes);
    leave_out(in.bytes);
    return 0;
}
