/* Responses and what is in them: the parts lie in the frame and make it up again, a code is its
 * brackets' content, and lists of capabilities are the words that one sees. */
#include "cut.h"

#include "imap/capability.h"
#include "imap/lex.h"
#include "imap/response.h"

#include <stdlib.h>

enum { MAX_INPUT = 1024 };

/* What is between the spaces of a list, also where that is nothing. */
struct words {
    struct slice at[MAX_INPUT + 1];
    size_t n;
};

static void split(struct slice list, struct words *out)
{
    size_t from = 0;

    out->n = 0;
    for (size_t i = 0; i <= list.n; i++) {
        if (i < list.n && list.p[i] != ' ')
            continue;
        out->at[out->n++] = slice_sub(list, from, i);
        from = i + 1;
    }
}

static bool has(const struct words *words, struct slice word)
{
    for (size_t i = 0; i < words->n; i++) {
        if (word.n > 0 && slice_ieq(words->at[i], word))
            return true;
    }
    return false;
}

/* `list` without `left_out`, in memory of its own and in the list's. */
static void check_without(struct slice list, struct slice left_out)
{
    static struct words words, unwanted, left;
    struct buf expected;
    char *to = malloc(list.n), *same = slice_dup(list);
    size_t n, kept = 0;

    INSIST(to && same);
    split(list, &words);
    split(left_out, &unwanted);
    buf_init(&expected, list.n, false);
    for (size_t i = 0; i < words.n; i++) {
        if (has(&unwanted, words.at[i]))
            continue;
        INSIST(buf_put(&expected, kept++ > 0 ? SLICE(" ") : SLICE("")) == 0);
        INSIST(buf_put(&expected, words.at[i]) == 0);
    }
    n = capability_without(list, left_out, to);
    INSIST(n <= list.n && slice_eq(slice_of(to, n), buf_slice(&expected)));
    INSIST(capability_without(slice_of(same, list.n), left_out, same) == n);
    INSIST(n == 0 || memcmp(to, same, n) == 0);
    split(slice_of(to, n), &left);
    for (size_t i = 0; i < words.n; i++) {
        INSIST(capability_has(list, words.at[i]) == (words.at[i].n > 0));
        INSIST(capability_has(slice_of(to, n), words.at[i]) == has(&left, words.at[i]));
    }
    for (size_t i = 0; i < unwanted.n; i++)
        INSIST(!capability_has(slice_of(to, n), unwanted.at[i]));
    buf_release(&expected);
    free(same);
    free(to);
}

static void check_list(struct slice list)
{
    static const struct slice others[] = {SLICE(""), SLICE("UNAUTHENTICATE"), SLICE("a IDLE")};
    const char *space = list.n > 0 ? memchr(list.p, ' ', list.n) : NULL;

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        check_without(list, others[i]);
    if (space)
        check_without(list, slice_sub(list, 0, (size_t)(space - list.p)));
}

static void check_text(struct slice text)
{
    struct slice code, arguments, list;
    bool has_code = response_code(text, &code, &arguments);

    if (has_code) {
        const char *end = memchr(text.p, ']', text.n);

        INSIST(text.p[0] == '[' && end && code.n > 0 && code.p == text.p + 1);
        INSIST(lies_in(arguments, text) && !slice_has(arguments, ']') && !slice_has(code, ']'));
        if (code.p + code.n == end)
            INSIST(arguments.n == 0);
        else
            INSIST(code.p[code.n] == ' ' && arguments.p == code.p + code.n + 1 &&
                   arguments.p + arguments.n == end);
    }
    INSIST(capability_in_text(text, &list) == (has_code && slice_ieq(code, SLICE("CAPABILITY"))));
    if (has_code)
        check_list(arguments);
}

/* The frame, put together from its parts, is the frame again, but for its line's end. */
static void put_together(const struct response *r, struct slice frame)
{
    struct slice rest = frame;

    if (r->kind == RESPONSE_CONTINUE) {
        INSIST(slice_eq(r->word, SLICE("+")) && r->tag.n == 0);
    } else {
        struct slice tag = r->tag.n > 0 ? r->tag : SLICE("*");

        INSIST(slice_eq(slice_sub(rest, 0, tag.n), tag) && rest.p[tag.n] == ' ');
        rest = slice_sub(rest, tag.n + 1, rest.n);
    }
    INSIST(slice_eq(slice_sub(rest, 0, r->word.n), r->word));
    rest = slice_sub(rest, r->word.n, rest.n);
    if (r->text.n > 0 || rest.p[0] == ' ') {
        INSIST(rest.p[0] == ' ' && r->text.p == rest.p + 1);
        rest = slice_sub(rest, r->text.n + 1, rest.n);
    }
    INSIST(slice_eq(rest, SLICE("\r\n")) || slice_eq(rest, SLICE("\n")));
}

static void check_response(struct slice frame)
{
    static const enum response_kind tagged[] = {RESPONSE_OK, RESPONSE_NO, RESPONSE_BAD};
    bool may_be_tagged = false;
    struct response r;

    if (!response_parse(frame, &r))
        return;
    for (size_t i = 0; i < sizeof(tagged) / sizeof(tagged[0]); i++)
        may_be_tagged = may_be_tagged || r.kind == tagged[i];
    INSIST(r.word.n > 0 && (r.tag.n == 0 || may_be_tagged));
    INSIST(r.tag.n <= LEX_TAG && !slice_has(r.text, '\0'));
    INSIST(lex_is_text(r.text) || slice_has(r.text, '\n'));
    put_together(&r, frame);
    check_text(r.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice s = slice_of(data, size);

    if (size > MAX_INPUT)
        return 0;
    check_response(s);
    check_text(s);
    check_list(s);
    return 0;
}
