/* What servers tell of mailboxes, and the pieces that it is made of; see imap/data.h. Messages are
 * data_fetch.c. */
#include "imap/data.h"

#include "base/num.h"
#include "imap/data_parts.h"
#include "imap/response.h"
#include "imap/set.h"

/* --- pieces ----------------------------------------------------------------------------------- */

bool data_words(struct lex *l, struct slice *out_words)
{
    struct lex end = *l;

    if (!lex_byte(&end, '('))
        return false;
    while (end.s.n > 0 && (data_is_word_char(end.s.p[0]) || end.s.p[0] == ' '))
        data_move(&end, 1);
    if (!data_at(&end, ')'))
        return false;
    *out_words = slice_sub(l->s, 1, l->s.n - end.s.n);
    data_move(&end, 1);
    *l = end;
    return true;
}

bool data_word(struct slice *words, struct slice *out_word)
{
    struct lex l = lex_start(*words);
    struct slice word;

    data_blanks(&l);
    word = data_take_word(&l);
    *words = l.s;
    if (word.n == 0)
        return false;
    *out_word = word;
    return true;
}

bool data_has_word(struct slice words, struct slice word)
{
    struct slice w;

    while (data_word(&words, &w)) {
        if (slice_ieq(w, word))
            return true;
    }
    return false;
}

bool data_number(struct lex *l, uint64_t *out_number)
{
    size_t n = 0;

    while (n < l->s.n && data_is_digit(l->s.p[n]))
        n++;
    if (n < l->s.n && data_is_word_char(l->s.p[n]))
        return false;
    if (!num_parse(slice_sub(l->s, 0, n), INT64_MAX, out_number))
        return false;
    data_move(l, n);
    return true;
}

/* string, or a word of any bytes that cannot be taken for something else. */
static bool loose_astring(struct lex *l, char *to, struct slice *out_value)
{
    struct slice word;

    if (data_at(l, '"') || data_at(l, '{'))
        return lex_string(l, to, out_value);
    word = data_take_word(l);
    if (word.n > 0)
        *out_value = word;
    return word.n > 0;
}

bool data_nstring(struct lex *l, char *to, struct slice *out_value, bool *out_is_nil)
{
    struct lex end = *l;
    struct slice value;
    bool is_word;

    if (lex_byte(&end, '~') && !data_at(&end, '{'))
        end = *l;
    is_word = !data_at(&end, '"') && !data_at(&end, '{');
    if (!loose_astring(&end, to, &value))
        return false;
    *out_is_nil = is_word && slice_ieq(value, SLICE("NIL"));
    if (*out_is_nil)
        value.n = 0;
    *out_value = value;
    *l = end;
    return true;
}

/* "{5}" CRLF and what it announces; "~" has been taken. */
static bool skip_literal(struct lex *l)
{
    struct lex end = *l;
    size_t digits = 0;
    uint64_t n;

    if (!lex_byte(&end, '{'))
        return false;
    while (digits < end.s.n && data_is_digit(end.s.p[digits]))
        digits++;
    if (!num_parse(slice_sub(end.s, 0, digits), end.s.n, &n))
        return false;
    data_move(&end, digits);
    if (!lex_byte(&end, '}'))
        return false;
    (void)lex_byte(&end, '\r');
    if (!lex_byte(&end, '\n') || n > end.s.n)
        return false;
    data_move(&end, (size_t)n);
    *l = end;
    return true;
}

static bool skip_quoted(struct lex *l)
{
    for (size_t i = 1; i < l->s.n; i++) {
        char c = l->s.p[i];

        if (c == '"') {
            data_move(l, i + 1);
            return true;
        }
        if (c == '\\')
            i++;
        if (i == l->s.n || l->s.p[i] == '\r' || l->s.p[i] == '\n')
            return false;
    }
    return false;
}

static bool skip_string(struct lex *l)
{
    struct lex end = *l;

    if (data_at(l, '"'))
        return skip_quoted(l);
    (void)lex_byte(&end, '~');
    if (!skip_literal(&end))
        return false;
    *l = end;
    return true;
}

/* A string, a parenthesis of a list that holds no other, or any byte. */
static bool section_piece(struct lex *l, bool *is_in_list)
{
    if (skip_string(l))
        return true;
    if (l->s.n == 0 || data_at(l, '"') || data_at(l, '\r') || data_at(l, '\n') ||
        data_at(l, *is_in_list ? '(' : ')'))
        return false;
    if (data_at(l, '(') || data_at(l, ')'))
        *is_in_list = !*is_in_list;
    data_move(l, 1);
    return true;
}

/* "<0>" */
static bool skip_origin(struct lex *l)
{
    while (l->s.n > 1 && data_is_digit(l->s.p[1]))
        data_move(l, 1);
    data_move(l, 1);
    return lex_byte(l, '>');
}

bool data_section(struct lex *l, struct slice *out_section)
{
    struct lex end = *l, from;
    bool is_in_list = false;

    if (!lex_byte(&end, '['))
        return false;
    from = end;
    while (is_in_list || !data_at(&end, ']')) {
        if (!section_piece(&end, &is_in_list))
            return false;
    }
    *out_section = slice_sub(from.s, 0, from.s.n - end.s.n);
    data_move(&end, 1);
    if (data_at(&end, '<') && !skip_origin(&end))
        return false;
    *l = end;
    return true;
}

bool data_attribute(struct lex *l, struct slice *out_name)
{
    size_t n = 0;

    while (n < l->s.n && data_is_word_char(l->s.p[n]) && l->s.p[n] != '[')
        n++;
    if (n == 0)
        return false;
    *out_name = slice_sub(l->s, 0, n);
    data_move(l, n);
    return true;
}

/* An atom; of BODY[...] and BINARY[...] the brackets belong to it. "[" in others, as of a keyword,
 * is a byte like any. */
static bool skip_atom(struct lex *l)
{
    struct slice name;

    if (!data_attribute(l, &name))
        return data_at(l, '[') && data_take_word(l).n > 0;
    if (!data_at(l, '['))
        return true;
    if (slice_ieq(name, SLICE("BODY")) || slice_istarts(name, SLICE("BINARY")))
        return data_section(l, &name);
    (void)data_take_word(l);
    return true;
}

bool data_skip(struct lex *l)
{
    struct lex end = *l;
    size_t depth = 0;

    do {
        if (depth > 0)
            data_blanks(&end);
        if (lex_byte(&end, '(')) {
            if (++depth > DATA_NESTING)
                return false;
        } else if (depth > 0 && lex_byte(&end, ')')) {
            depth--;
        } else if (!skip_string(&end) && !skip_atom(&end)) {
            return false;
        }
    } while (depth > 0);
    *l = end;
    return true;
}

/* --- mailboxes -------------------------------------------------------------------------------- */

/* What parts the levels of names: one byte within quotes, or NIL. `to` is for the time of it. */
static bool separator(struct lex *l, char *to, char *out_separator)
{
    struct slice s;
    bool is_nil;

    if (!data_nstring(l, to, &s, &is_nil) || s.n > 1)
        return false;
    *out_separator = '\0';
    if (s.n == 1)
        *out_separator = s.p[0];
    return true;
}

bool data_list(struct slice text, char *to, struct data_list *out)
{
    struct lex l = lex_start(text);
    struct data_list list = {0};

    if (!data_words(&l, &list.attributes))
        return false;
    data_blanks(&l);
    if (!separator(&l, to, &list.separator))
        return false;
    data_blanks(&l);
    if (!loose_astring(&l, to, &list.name))
        return false;
    data_blanks(&l);
    if ((data_at(&l, '(') && !data_skip(&l)) || !data_ends(&l))
        return false;
    *out = list;
    return true;
}

/* A value that is no such number is passed over. */
static bool status_value(struct lex *l, struct slice name, struct data_status *status)
{
    const struct {
        struct slice name;
        unsigned bit;
        uint32_t *to;
        uint64_t *to_large;
    } rows[] = {
        {SLICE("MESSAGES"), STATUS_MESSAGES, &status->messages, NULL},
        {SLICE("UIDNEXT"), STATUS_UIDNEXT, &status->uidnext, NULL},
        {SLICE("UIDVALIDITY"), STATUS_UIDVALIDITY, &status->uidvalidity, NULL},
        {SLICE("UNSEEN"), STATUS_UNSEEN, &status->unseen, NULL},
        {SLICE("HIGHESTMODSEQ"), STATUS_HIGHESTMODSEQ, NULL, &status->highestmodseq},
        {SLICE("SIZE"), STATUS_SIZE, NULL, &status->size},
    };
    uint64_t n;

    if (!data_number(l, &n))
        return data_skip(l);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (!slice_ieq(name, rows[i].name) || (rows[i].to && n > UINT32_MAX))
            continue;
        if (rows[i].to)
            *rows[i].to = (uint32_t)n;
        else
            *rows[i].to_large = n;
        status->told |= rows[i].bit;
    }
    return true;
}

bool data_status(struct slice text, char *to, struct data_status *out)
{
    struct lex l = lex_start(text);
    struct data_status status = {0};
    struct slice name;

    if (!loose_astring(&l, to, &status.name))
        return false;
    data_blanks(&l);
    if (!lex_byte(&l, '('))
        return false;
    for (data_blanks(&l); !lex_byte(&l, ')'); data_blanks(&l)) {
        if (!data_attribute(&l, &name))
            return false;
        data_blanks(&l);
        if (!status_value(&l, name, &status))
            return false;
    }
    if (!data_ends(&l))
        return false;
    *out = status;
    return true;
}

bool data_namespaces(struct slice text, struct data_namespaces *out)
{
    struct lex l = lex_start(text);
    struct slice parts[3] = {{0}};

    for (size_t i = 0; i < 3; i++) {
        struct lex from;

        data_blanks(&l);
        from = l;
        if (!data_skip(&l))
            return false;
        if (data_at(&from, '('))
            parts[i] = slice_sub(from.s, 1, from.s.n - l.s.n - 1);
        else if (!slice_ieq(slice_sub(from.s, 0, from.s.n - l.s.n), SLICE("NIL")))
            return false;
    }
    if (!data_ends(&l))
        return false;
    *out = (struct data_namespaces){parts[0], parts[1], parts[2]};
    return true;
}

bool data_namespace_next(struct slice *part, char *to, struct slice *out_prefix,
                         char *out_separator)
{
    struct lex l = lex_start(*part);
    struct slice prefix;
    char sep;
    bool is_nil;

    data_blanks(&l);
    if (!lex_byte(&l, '('))
        return false;
    data_blanks(&l);
    if (!data_nstring(&l, to, &prefix, &is_nil))
        return false;
    data_blanks(&l);
    if (!separator(&l, to + prefix.n, &sep))
        return false;
    for (data_blanks(&l); !lex_byte(&l, ')'); data_blanks(&l)) { /* RFC 2342: extensions */
        if (!data_skip(&l))
            return false;
    }
    *part = l.s;
    *out_prefix = prefix;
    *out_separator = sep;
    return true;
}

bool data_namespace(struct slice text, char *to, struct slice *out_prefix, char *out_separator)
{
    struct data_namespaces spaces;

    return data_namespaces(text, &spaces) &&
           data_namespace_next(&spaces.personal, to, out_prefix, out_separator);
}

/* --- response codes --------------------------------------------------------------------------- */

bool data_appenduid(struct slice arguments, uint32_t *out_uidvalidity, struct slice *out_set)
{
    struct lex l = lex_start(arguments);
    struct slice set;
    uint64_t n;

    if (!data_number(&l, &n) || n == 0 || n > UINT32_MAX || !lex_sp(&l))
        return false;
    data_blanks(&l);
    set = data_take_word(&l);
    if (!data_ends(&l) || set_count(set) == 0)
        return false;
    *out_uidvalidity = (uint32_t)n;
    *out_set = set;
    return true;
}

/* Moves to the "]" that ends the arguments. Quotes count where a string may begin; brackets where
 * there is no list, since flags may have one alone. */
static bool code_end(struct lex *l)
{
    size_t lists = 0, brackets = 0;
    bool may_begin = true;

    for (; l->s.n > 0; data_move(l, 1)) {
        char c = l->s.p[0];

        if (may_begin && c == '"') {
            if (!skip_quoted(l) || l->s.n == 0)
                return false;
            c = l->s.p[0];
        }
        may_begin = c == ' ' || c == '(';
        if (c == ']' && lists == 0 && brackets-- == 0)
            return true;
        if (c == '[' && lists == 0)
            brackets++;
        else if (c == '(')
            lists++;
        else if (c == ')' && lists > 0)
            lists--;
    }
    return false;
}

bool data_code(struct slice text, struct slice *out_code, struct slice *out_arguments)
{
    struct lex l = lex_start(text);
    struct slice code;
    struct lex from;

    if (!lex_byte(&l, '[') || !lex_atom(&l, &code) || !lex_sp(&l))
        return response_code(text, out_code, out_arguments);
    from = l;
    if (!code_end(&l)) /* quotes or parentheses that never close are text */
        return response_code(text, out_code, out_arguments);
    *out_code = code;
    *out_arguments = slice_sub(from.s, 0, from.s.n - l.s.n);
    return true;
}
