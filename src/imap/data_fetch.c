/* What servers tell of messages; see imap/data.h. */
#include "imap/data.h"

#include "base/num.h"
#include "imap/data_parts.h"

/* --- FETCH ------------------------------------------------------------------------------------ */

static bool read_uid(struct lex *l, struct data_fetch *f)
{
    struct lex end = *l;
    uint64_t n;

    if (!data_number(&end, &n) || n == 0 || n > UINT32_MAX)
        return false;
    f->uid = (uint32_t)n;
    *l = end;
    return true;
}

static bool read_flags(struct lex *l, struct data_fetch *f)
{
    return data_words(l, &f->flags);
}

/* A date has no escapes, so it is read where it lies. */
static bool read_date(struct lex *l, struct data_fetch *f)
{
    struct lex end = *l;
    const char *quote;
    size_t n;

    if (!lex_byte(&end, '"') || end.s.n == 0)
        return false;
    quote = memchr(end.s.p, '"', end.s.n < DATE_TEXT ? end.s.n : DATE_TEXT);
    if (!quote)
        return false;
    n = (size_t)(quote - end.s.p);
    if (!date_parse(slice_sub(end.s, 0, n), &f->date))
        return false;
    data_move(&end, n + 1);
    *l = end;
    return true;
}

static bool read_size(struct lex *l, struct data_fetch *f)
{
    return data_number(l, &f->size);
}

/* In parentheses (RFC 7162), or bare. */
static bool read_modseq(struct lex *l, struct data_fetch *f)
{
    struct lex end = *l;
    bool is_list = lex_byte(&end, '(');
    uint64_t n;

    data_blanks(&end);
    if (!data_number(&end, &n))
        return false;
    data_blanks(&end);
    if (is_list && !lex_byte(&end, ')'))
        return false;
    f->modseq = n;
    *l = end;
    return true;
}

/* Each takes a value; when it is not of its form the cursor has not moved, and it is passed over.
 */
static const struct {
    struct slice name;
    unsigned bit;
    bool (*read)(struct lex *l, struct data_fetch *f);
} items[] = {
    {SLICE("UID"), FETCH_UID, read_uid},
    {SLICE("FLAGS"), FETCH_FLAGS, read_flags},
    {SLICE("INTERNALDATE"), FETCH_INTERNALDATE, read_date},
    {SLICE("RFC822.SIZE"), FETCH_SIZE, read_size},
    {SLICE("MODSEQ"), FETCH_MODSEQ, read_modseq},
};

static bool read_item(struct lex *l, struct slice name, struct data_fetch *f)
{
    for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++) {
        if (!slice_ieq(name, items[i].name))
            continue;
        if (!items[i].read(l, f))
            break;
        f->told |= items[i].bit;
        return true;
    }
    /* An item without a value is none of the grammar, but harmless at the end. */
    return data_at(l, ')') || data_skip(l);
}

/* BODY[...]<0> and its value. `tail`: how many bytes the announcement at the end of the text has,
 * if a body may be left open there, else 0. */
static bool read_body(struct lex *l, size_t tail, char **to, struct data_fetch *f)
{
    if (!data_section(l, &f->section))
        return false;
    data_blanks(l);
    f->told |= FETCH_BODY;
    f->body = (struct slice){0};
    f->is_nil = false;
    f->is_open = tail > 0 && l->s.n == tail;
    if (f->is_open)
        return true;
    if (!data_nstring(l, *to, &f->body, &f->is_nil))
        return false;
    *to += f->body.n;
    return true;
}

/* Whether an item begins at the cursor, and does not stick to the value before it (whose last byte
 * may be of a literal): data_is_body(), which looks at a line alone, would not see it. */
static bool begins_item(const struct lex *l, const char *begin)
{
    return l->s.p == begin || !data_is_word_char(l->s.p[-1]);
}

/* Up to the closing parenthesis, or to a body that is left open. */
static bool read_items(struct lex *l, size_t tail, char *to, struct data_fetch *f)
{
    const char *begin = l->s.p;

    for (data_blanks(l); !lex_byte(l, ')'); data_blanks(l)) {
        struct slice name;

        if (!begins_item(l, begin) || !data_attribute(l, &name))
            return false;
        if (data_at(l, '[') &&
            (slice_ieq(name, SLICE("BODY")) || slice_ieq(name, SLICE("BINARY")))) {
            if (!read_body(l, tail, &to, f))
                return false;
            if (f->is_open)
                return true;
            continue;
        }
        if (data_at(l, '[') && !data_section(l, &name)) /* BINARY.SIZE[1] */
            return false;
        data_blanks(l);
        if (!read_item(l, name, f))
            return false;
    }
    return data_ends(l);
}

/* How many bytes the announcement of a literal has with which the text ends; 0: it ends with none.
 */
static size_t announcement(struct slice text)
{
    size_t n = text.n, digits;

    if (n < 2 || text.p[n - 1] != '\n' || text.p[n - 2] != '\r')
        return 0;
    n -= 2;
    if (n == 0 || text.p[--n] != '}')
        return 0;
    digits = n;
    while (n > 0 && data_is_digit(text.p[n - 1]))
        n--;
    if (n == digits || n == 0 || text.p[--n] != '{')
        return 0;
    if (n > 0 && text.p[n - 1] == '~')
        n--;
    return text.n - n;
}

bool data_fetch(struct slice text, bool is_partial, char *to, struct data_fetch *out)
{
    struct lex l = lex_start(text);
    struct data_fetch f = {0};

    if (!lex_byte(&l, '(') && !is_partial)
        return false;
    if (!read_items(&l, is_partial ? announcement(text) : 0, to, &f))
        return false;
    *out = f;
    return true;
}

bool data_fetch_rest(struct slice text, char *to, struct data_fetch *out)
{
    struct lex l = lex_start(text);
    struct data_fetch f = {0};

    if (!read_items(&l, announcement(text), to, &f))
        return false;
    *out = f;
    return true;
}

/* The end of `s` without the "]" and "<0>" that it ends with; 0: it does not. */
static size_t before_bracket(struct slice s)
{
    size_t n = s.n;

    if (n > 0 && s.p[n - 1] == '>') {
        for (n--; n > 0 && data_is_digit(s.p[n - 1]);)
            n--;
        if (n == 0 || s.p[--n] != '<')
            return 0;
    }
    return n > 0 && s.p[n - 1] == ']' ? n - 1 : 0;
}

/* Whether `word` is the last of `s`. */
static bool ends_with(struct slice s, struct slice word)
{
    return s.n >= word.n && slice_ieq(slice_sub(s, s.n - word.n, s.n), word) &&
           (s.n == word.n || !data_is_word_char(s.p[s.n - word.n - 1]));
}

/* Read from its end: blanks, "<0>" or nothing, "]", and back to the "[" that has BODY before it. */
bool data_is_body(struct slice text)
{
    size_t n = text.n - announcement(text);

    if (n == text.n)
        return false;
    while (n > 0 && text.p[n - 1] == ' ')
        n--;
    n = before_bracket(slice_sub(text, 0, n));
    while (n > 0 && text.p[n - 1] != '\n') {
        struct slice before = slice_sub(text, 0, n - 1);

        if (text.p[--n] == '[' &&
            (ends_with(before, SLICE("BODY")) || ends_with(before, SLICE("BINARY"))))
            return true;
    }
    return false;
}

/* --- searches --------------------------------------------------------------------------------- */

/* (TAG "a1") */
static bool correlator(struct lex *l, char *to, struct slice *out_tag)
{
    struct slice word;
    bool is_nil;

    if (!lex_byte(l, '('))
        return false;
    data_blanks(l);
    word = data_take_word(l);
    data_blanks(l);
    if (!slice_ieq(word, SLICE("TAG")) || !data_nstring(l, to, out_tag, &is_nil))
        return false;
    data_blanks(l);
    return lex_byte(l, ')');
}

/* A set, as far as its bytes tell; set_next() tells the rest. */
static bool take_set(struct lex *l, struct slice *out_set)
{
    struct slice set = data_take_word(l);

    for (size_t i = 0; i < set.n; i++) {
        if (!data_is_digit(set.p[i]) && set.p[i] != ',' && set.p[i] != ':')
            return false;
    }
    *out_set = set;
    return set.n > 0;
}

static bool search_value(struct lex *l, struct slice name, struct data_esearch *e)
{
    if (slice_ieq(name, SLICE("ALL")))
        return take_set(l, &e->all);
    if (slice_ieq(name, SLICE("COUNT")))
        return data_number(l, &e->count);
    if (slice_ieq(name, SLICE("MODSEQ")))
        return data_number(l, &e->modseq);
    return data_skip(l);
}

bool data_esearch(struct slice text, char *to, struct data_esearch *out)
{
    struct lex l = lex_start(text);
    struct data_esearch e = {0};
    struct slice name;

    data_blanks(&l);
    if (data_at(&l, '(') && !correlator(&l, to, &e.tag))
        return false;
    for (bool is_first = true; !data_ends(&l); is_first = false) {
        if (!data_attribute(&l, &name))
            return false;
        if (is_first && slice_ieq(name, SLICE("UID"))) {
            e.is_uid = true;
            continue;
        }
        data_blanks(&l);
        if (!search_value(&l, name, &e))
            return false;
    }
    *out = e;
    return true;
}

/* (MODSEQ 1), which comes last (RFC 7162 section 3.1.5). */
static bool search_modseq(struct lex *l)
{
    struct lex end = *l;

    if (!data_skip(&end) || !data_ends(&end))
        return false;
    *l = end;
    return true;
}

bool data_search_next(struct slice *text, uint32_t *out_number)
{
    struct lex l = lex_start(*text), end;
    uint64_t n;

    data_blanks(&l);
    if (data_at(&l, '('))
        (void)search_modseq(&l);
    end = l;
    *text = l.s;
    if (!data_number(&end, &n) || n == 0 || n > UINT32_MAX)
        return false;
    *text = end.s;
    *out_number = (uint32_t)n;
    return true;
}

bool data_vanished(struct slice text, bool *out_is_earlier, struct slice *out_set)
{
    struct lex l = lex_start(text);
    struct slice words, word, set;
    bool is_earlier;

    data_blanks(&l);
    is_earlier = data_words(&l, &words);
    if (is_earlier && (!data_word(&words, &word) || !slice_ieq(word, SLICE("EARLIER"))))
        return false;
    data_blanks(&l);
    if (!take_set(&l, &set) || !data_ends(&l))
        return false;
    *out_is_earlier = is_earlier;
    *out_set = set;
    return true;
}
