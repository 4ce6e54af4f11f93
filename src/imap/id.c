/* The list of ID; see imap/id.h. */
#include "imap/id.h"

#include "imap/write.h"

/* nstring */
static bool value_parse(struct lex *l, char *to, struct id_pair *pair)
{
    struct slice nil;

    if (lex_string(l, to, &pair->value))
        return pair->value.n <= ID_VALUE && lex_is_text(pair->value);
    pair->is_nil = lex_atom(l, &nil) && slice_ieq(nil, SLICE("NIL"));
    return pair->is_nil;
}

/* The cursor stands behind the opening parenthesis. */
static bool pairs_parse(struct lex *l, char *to, struct id_pair pairs[ID_PAIRS], size_t *out_n)
{
    size_t n = 0;

    while (!lex_byte(l, ')')) {
        struct id_pair pair = {0};

        if (n == ID_PAIRS || (n > 0 && !lex_sp(l)))
            return false;
        if (!lex_string(l, to, &pair.key) || pair.key.n > ID_KEY || !lex_is_text(pair.key))
            return false;
        to += pair.key.n;
        if (!lex_sp(l) || !value_parse(l, to, &pair))
            return false;
        to += pair.value.n;
        pairs[n++] = pair;
    }
    *out_n = n;
    return true;
}

bool id_parse(struct lex *l, char *to, struct id_pair pairs[ID_PAIRS], size_t *out_n)
{
    struct lex at = *l;
    struct slice nil;

    if (lex_byte(&at, '(')) {
        if (!pairs_parse(&at, to, pairs, out_n))
            return false;
    } else {
        if (!lex_atom(&at, &nil) || !slice_ieq(nil, SLICE("NIL")))
            return false;
        *out_n = 0;
    }
    *l = at;
    return true;
}

/* The string number `at` of the list; NULL for NIL. */
static const struct slice *string_at(const struct id_pair *pairs, size_t at)
{
    const struct id_pair *pair = &pairs[at / 2];

    INSIST(pairs != NULL);
    if (at % 2 == 0)
        return &pair->key;
    return pair->is_nil ? NULL : &pair->value;
}

int id_write(struct buf *out, struct id id, size_t nonsync_max, size_t *at, struct slice *out_due)
{
    *out_due = (struct slice){0};
    if (id.n == 0)
        return buf_puts(out, "NIL");
    while (*at < 2 * id.n) {
        const struct slice *s = string_at(id.pairs, *at);

        if (buf_puts(out, *at == 0 ? "(" : " ") < 0)
            return -1;
        if (s ? write_string(out, *s, nonsync_max, out_due) < 0 : buf_puts(out, "NIL") < 0)
            return -1;
        ++*at;
        if (out_due->n > 0)
            return 0;
    }
    return buf_puts(out, ")");
}

bool id_waits(struct id id, size_t nonsync_max)
{
    for (size_t at = 0; at < 2 * id.n; at++) {
        const struct slice *s = string_at(id.pairs, at);

        if (s && write_waits(*s, nonsync_max))
            return true;
    }
    return false;
}
