/* The pieces of IMAP's grammar at each place of an input: they are what a plain reading of RFC 9051
 * finds there, they end by themselves, and a string that is written is read again. */
#include "cut.h"

#include "imap/lex.h"
#include "imap/write.h"

#include <stdlib.h>

enum { MAX_INPUT = 256 };

/* ---- The model. Each function returns how many bytes the piece has, 0: it is not there ---- */

static bool is_atom_char(char c)
{
    return c >= 0x20 && c <= 0x7e && !strchr("(){ %*\"\\]", c);
}

static size_t run_of(struct slice s, const char *more, const char *less)
{
    size_t n = 0;

    while (n < s.n && s.p[n] != '\0' && (is_atom_char(s.p[n]) || strchr(more, s.p[n])) &&
           !strchr(less, s.p[n]))
        n++;
    return n;
}

static size_t end_of_line(struct slice s)
{
    if (s.n >= 2 && memcmp(s.p, "\r\n", 2) == 0)
        return 2;
    return s.n >= 1 && s.p[0] == '\n' ? 1 : 0;
}

static size_t model_quoted(struct slice s, struct buf *value)
{
    bool is_escaped = false;

    for (size_t i = 1; i < s.n; i++) {
        char c = s.p[i];

        if (c == '\0' || c == '\r' || c == '\n')
            return 0;
        if (is_escaped && c != '"' && c != '\\')
            return 0;
        if (!is_escaped && c == '"')
            return i + 1;
        is_escaped = !is_escaped && c == '\\';
        if (!is_escaped)
            INSIST(buf_put(value, slice_of(&c, 1)) == 0);
    }
    return 0;
}

static size_t model_literal(struct slice s, struct buf *value)
{
    size_t i = 1, n = 0, end;

    for (; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++) {
        n = 10 * n + (size_t)(s.p[i] - '0');
        if (n > MAX_INPUT)
            n = MAX_INPUT + 1; /* more than there is; and it can only grow */
    }
    if (i == 1)
        return 0;
    i += i < s.n && s.p[i] == '+';
    if (i == s.n || s.p[i] != '}')
        return 0;
    end = end_of_line(slice_sub(s, i + 1, s.n));
    if (end == 0 || s.n - (i + 1 + end) < n)
        return 0;
    i += 1 + end;
    INSIST(buf_put(value, slice_sub(s, i, i + n)) == 0);
    return i + n;
}

static size_t model_string(struct slice s, struct buf *value)
{
    buf_take(value, buf_len(value));
    if (s.n > 0 && s.p[0] == '"')
        return model_quoted(s, value);
    return s.n > 0 && s.p[0] == '{' ? model_literal(s, value) : 0;
}

static size_t model_astring(struct slice s, struct buf *value)
{
    size_t n = run_of(s, "]", "");

    if (n == 0)
        return model_string(s, value);
    buf_take(value, buf_len(value));
    INSIST(buf_put(value, slice_sub(s, 0, n)) == 0);
    return n;
}

/* ---- Checks ---- */

/* How far a function moved the cursor, which it did only if the piece was there. */
static size_t moved(struct slice s, const struct lex *l, bool is_there)
{
    INSIST(lies_in(l->s, s) && l->s.p + l->s.n == s.p + s.n);
    INSIST(is_there == (l->s.n < s.n));
    return s.n - l->s.n;
}

static void check_words(struct slice s)
{
    struct slice word = {0};
    struct lex l = lex_start(s);
    size_t n = run_of(s, "", "");

    INSIST(moved(s, &l, lex_atom(&l, &word)) == n);
    INSIST(n == 0 || slice_eq(word, slice_sub(s, 0, n)));
    l = lex_start(s);
    n = run_of(s, "]", "+");
    if (n > LEX_TAG)
        n = 0;
    INSIST(moved(s, &l, lex_tag(&l, &word)) == n);
    INSIST(n == 0 || slice_eq(word, slice_sub(s, 0, n)));
    l = lex_start(s);
    n = s.n > 0 && s.p[0] == ' ';
    INSIST(moved(s, &l, lex_sp(&l)) == n);
    l = lex_start(s);
    n = end_of_line(s);
    if (n != s.n)
        n = 0;
    INSIST(moved(s, &l, lex_end(&l)) == n);
}

/* Written in each way, read again. */
static void write_and_read(struct slice value)
{
    const size_t nonsync_max[] = {0, value.n, value.n - (value.n > 0), SIZE_MAX};
    struct slice due, again;

    if (write_form(value) == WRITE_NEVER)
        return;
    for (size_t i = 0; i < sizeof(nonsync_max) / sizeof(nonsync_max[0]); i++) {
        struct buf out;
        struct lex l;
        char *to;

        buf_init(&out, 2 * value.n + 32, false);
        INSIST(write_string(&out, value, nonsync_max[i], &due) == 0);
        INSIST((due.n > 0) == write_waits(value, nonsync_max[i]));
        INSIST(due.n == 0 || (slice_eq(due, value) && value.n > nonsync_max[i]));
        INSIST(buf_put(&out, due) == 0);
        to = malloc(buf_len(&out));
        l = lex_start(buf_slice(&out));
        INSIST(to && lex_string(&l, to, &again) && l.s.n == 0 && slice_eq(again, value));
        free(to);
        buf_release(&out);
    }
    if (write_form(value) == WRITE_ATOM) {
        struct lex l = lex_start(value);

        INSIST(lex_atom(&l, &again) && l.s.n == 0);
    }
}

typedef bool read_fn(struct lex *l, char *to, struct slice *out_value);
typedef size_t model_fn(struct slice s, struct buf *value);

static void check_string(struct slice s, read_fn *read, model_fn *model)
{
    char *to = malloc(s.n); /* no byte more than the contract asks for */
    struct slice value = {0}, again;
    struct lex l = lex_start(s);
    struct buf expected;
    bool is_there;
    size_t n;

    INSIST(to);
    buf_init(&expected, MAX_INPUT, false);
    n = model(s, &expected);
    is_there = read(&l, to, &value);
    INSIST(moved(s, &l, is_there) == n);
    if (is_there) {
        struct lex alone = lex_start(slice_sub(s, 0, n)), less = lex_start(slice_sub(s, 0, n - 1));

        INSIST(slice_eq(value, buf_slice(&expected)) && (value.n == 0 || value.p == to));
        write_and_read(value);
        INSIST(read(&alone, to, &again) && alone.s.n == 0 && slice_eq(again, buf_slice(&expected)));
        if (s.p[0] == '"' || s.p[0] == '{')
            INSIST(!read(&less, to, &again));
    }
    buf_release(&expected);
    free(to);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > MAX_INPUT)
        return 0;
    for (size_t i = 0; i <= size; i++) {
        struct slice s = slice_of(data + i, size - i);

        check_words(s);
        check_string(s, lex_string, model_string);
        check_string(s, lex_astring, model_astring);
    }
    write_and_read(slice_of(data, size));
    return 0;
}
