/* Responses of a server; see imap/response.h. */
#include "imap/response.h"

#include "base/num.h"
#include "imap/lex.h"

#include <string.h>

static const struct {
    struct slice word;
    enum response_kind kind;
} conditions[] = {
    {SLICE("OK"), RESPONSE_OK},           {SLICE("NO"), RESPONSE_NO},
    {SLICE("BAD"), RESPONSE_BAD},         {SLICE("BYE"), RESPONSE_BYE},
    {SLICE("PREAUTH"), RESPONSE_PREAUTH},
};

static enum response_kind kind_of(struct slice word)
{
    for (size_t i = 0; i < sizeof(conditions) / sizeof(conditions[0]); i++) {
        if (slice_ieq(word, conditions[i].word))
            return conditions[i].kind;
    }
    return RESPONSE_DATA;
}

static bool may_be_tagged(enum response_kind kind)
{
    return kind == RESPONSE_OK || kind == RESPONSE_NO || kind == RESPONSE_BAD;
}

/* `frame` without its line end; false when it has none. */
static bool cut_end(struct slice *frame)
{
    if (frame->n == 0 || frame->p[frame->n - 1] != '\n')
        return false;
    frame->n--;
    if (frame->n > 0 && frame->p[frame->n - 1] == '\r')
        frame->n--;
    return true;
}

/* "+ text", or tag or "*", a word and text; r->text begins with the space then. */
static bool cut_words(struct slice line, struct response *r)
{
    struct lex l = lex_start(line);

    if (slice_istarts(line, SLICE("+"))) {
        r->kind = RESPONSE_CONTINUE;
        r->word = slice_sub(line, 0, 1);
        r->text = slice_sub(line, 1, line.n);
        return true;
    }
    if (slice_istarts(line, SLICE("*")))
        l.s = slice_sub(line, 1, line.n);
    else if (!lex_tag(&l, &r->tag))
        return false;
    if (!lex_sp(&l) || !lex_atom(&l, &r->word))
        return false;
    r->kind = kind_of(r->word);
    r->text = l.s;
    return r->tag.n == 0 || may_be_tagged(r->kind);
}

/* Whether there is a CR that ends no line: a client might see an end where we see none. In literals
 * it may be; one stands wherever a line is followed by another. */
static bool has_bare_cr(struct slice text)
{
    const char *lf;

    while (text.n > 0 && (lf = memchr(text.p, '\n', text.n)) != NULL) {
        struct slice line = slice_sub(text, 0, (size_t)(lf - text.p));
        const char *brace = memrchr(line.p, '{', line.n), *end = lf - 2;
        uint64_t n;

        if (!brace || brace >= end || end[0] != '}' || end[1] != '\r' ||
            !num_parse(slice_of(brace + 1, (size_t)(end - brace) - 1), text.n, &n) ||
            memchr(line.p, '\r', line.n - 1))
            return true;
        text = slice_sub(text, line.n + 1 + (size_t)n, text.n);
    }
    return slice_has(text, '\r');
}

static bool is_clean(struct slice text)
{
    return !slice_has(text, '\0') && !has_bare_cr(text);
}

bool response_parse(struct slice frame, struct response *out)
{
    struct response r = {0};

    if (!cut_end(&frame) || !cut_words(frame, &r))
        return false;
    if (r.text.n > 0 && r.text.p[0] != ' ')
        return false;
    r.text = slice_sub(r.text, 1, r.text.n);
    if (!is_clean(r.text))
        return false;
    *out = r;
    return true;
}

bool response_rest(struct slice frame, struct slice *out_text)
{
    if (!cut_end(&frame) || !is_clean(frame))
        return false;
    *out_text = frame;
    return true;
}

bool response_code(struct slice text, struct slice *out_code, struct slice *out_arguments)
{
    struct lex l = lex_start(text);
    struct slice code, arguments = {0};
    const char *end;

    if (text.n == 0 || text.p[0] != '[')
        return false;
    l.s = slice_sub(text, 1, text.n);
    end = l.s.n > 0 ? memchr(l.s.p, ']', l.s.n) : NULL;
    if (!end || !lex_atom(&l, &code))
        return false;
    if (lex_sp(&l))
        arguments = slice_of(l.s.p, (size_t)(end - l.s.p));
    else if (l.s.p != end)
        return false;
    *out_code = code;
    *out_arguments = arguments;
    return true;
}
