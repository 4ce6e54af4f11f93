/* Perl's substitutions; see sync/names_trans.h. */
#include "sync/names_trans.h"

#include "base/utf8.h"

#include <stdlib.h>

/* What the right side is made of. */
enum piece_kind {
    PIECE_TEXT,
    PIECE_GROUP,
    PIECE_UPPER,      /* \U: letters from here to PIECE_END */
    PIECE_LOWER,      /* \L */
    PIECE_UPPER_NEXT, /* \u: the next letter alone */
    PIECE_LOWER_NEXT, /* \l */
    PIECE_END         /* \E */
};

struct piece {
    enum piece_kind kind;
    size_t group;
    struct slice text; /* in the trans's own */
};

struct names_trans {
    char *text; /* a copy of the whole, in which delimiters lose their backslash */
    struct regex *regex;
    struct piece *pieces;
    size_t pieces_n;
    bool is_global;
};

/* --- reading ---------------------------------------------------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_delimiter(char c)
{
    return c > ' ' && c < 0x7f && !is_letter(c) && !is_digit(c) && c != '_' && c != '\\';
}

static char closing(char open)
{
    static const char pairs[][2] = {{'{', '}'}, {'(', ')'}, {'[', ']'}, {'<', '>'}};

    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        if (open == pairs[i][0])
            return pairs[i][1];
    }
    return open;
}

static struct slice behind(struct slice s, size_t n)
{
    return slice_sub(s, n, s.n);
}

/* Takes what stands before the closing delimiter, which is taken too; *rest begins behind the
 * opening one. The text is written to `to`, which may be where it is read. As Perl has it, a
 * backslash before a delimiter goes, unless the delimiters are a pair: so s|a\|b|| is about a or b,
 * and s{\{}{} about a brace. False: there is no end. */
static bool take_side(struct slice *rest, char open, char *to, struct slice *out_side)
{
    const char close = closing(open);
    size_t depth = 0, n = 0;

    for (size_t i = 0; i < rest->n; i++) {
        const char c = rest->p[i];

        if (c == '\\' && i + 1 < rest->n) {
            i++;
            if (open != close || rest->p[i] != close)
                to[n++] = c;
        } else if (c == close && depth == 0) {
            *out_side = slice_of(to, n);
            *rest = behind(*rest, i + 1);
            return true;
        } else if (open != close) {
            depth += c == open;
            depth -= c == close;
        }
        to[n++] = rest->p[i];
    }
    return false;
}

static int read_delimiter(struct slice *rest, char *out_open, struct err *err)
{
    if (rest->n == 0 || !is_delimiter(rest->p[0]))
        return err_set(err, 0, "a delimiter must stand here, as in s/A/B/");
    /* To Perl that is another language: nothing is special on the right side then. */
    if (rest->p[0] == '\'')
        return err_set(err, 0, "the delimiter ' is not taken; write s/A/B/ or s{A}{B}");
    *out_open = rest->p[0];
    *rest = behind(*rest, 1);
    return 0;
}

/* Cuts s/A/B/flags. */
static int read_sides(struct slice *rest, char *to, struct slice *out_left, struct slice *out_right,
                      struct err *err)
{
    char open;

    if (read_delimiter(rest, &open, err) < 0)
        return -1;
    if (!take_side(rest, open, to, out_left))
        return err_set(err, 0, "the left side has no end: \"%c\" is missing", closing(open));
    if (closing(open) != open) {
        while (rest->n > 0 && is_blank(rest->p[0]))
            *rest = behind(*rest, 1);
        if (read_delimiter(rest, &open, err) < 0)
            return -1;
    }
    if (!take_side(rest, open, to + out_left->n, out_right))
        return err_set(err, 0, "the right side has no end: \"%c\" is missing", closing(open));
    return 0;
}

static int read_flags(struct slice rest, unsigned *out_how, bool *out_is_global, struct err *err)
{
    static const struct {
        char letter;
        unsigned how;
    } known[] = {{'i', REGEX_NO_CASE},
                 {'x', REGEX_EXTENDED},
                 {'m', REGEX_LINES},
                 {'s', REGEX_DOT_ALL},
                 {'g', 0}};

    for (; rest.n > 0; rest = behind(rest, 1)) {
        size_t i = 0;

        while (i < sizeof known / sizeof *known && known[i].letter != rest.p[0])
            i++;
        if (rest.p[0] == 'e')
            return err_set(err, 0, "the flag e is code in Perl, which is not run here");
        if (i == sizeof known / sizeof *known)
            return err_set(err, 0, "behind it stands \"%.*s\", where flags may be: g i m s x",
                           SLICE_ARG(rest));
        *out_how |= known[i].how;
        *out_is_global |= rest.p[0] == 'g';
    }
    return 0;
}

/* --- the right side --------------------------------------------------------------------------- */

static void add_piece(struct names_trans *t, struct piece piece)
{
    t->pieces[t->pieces_n++] = piece;
}

/* At most two digits, as more groups cannot be asked for. */
static size_t take_number(struct slice *rest)
{
    size_t number = 0, n = 0;

    for (; n < 2 && n < rest->n && is_digit(rest->p[n]); n++)
        number = 10 * number + (size_t)(rest->p[n] - '0');
    *rest = behind(*rest, n);
    return number;
}

/* Behind "$". */
static int read_variable(struct names_trans *t, struct slice *rest, struct err *err)
{
    const bool has_braces = rest->n > 0 && rest->p[0] == '{';
    struct slice at = behind(*rest, has_braces);
    struct piece piece = {.kind = PIECE_GROUP};

    if (at.n > 0 && at.p[0] == '&') {
        at = behind(at, 1);
    } else {
        piece.group = take_number(&at);
        if (piece.group == 0)
            return err_set(err, 0,
                           "behind $ on the right side only a number (1 to 99) or & may stand; a "
                           "dollar itself is \\$");
    }
    if (has_braces) {
        if (at.n == 0 || at.p[0] != '}')
            return err_set(err, 0, "${ on the right side has no }");
        at = behind(at, 1);
    }
    add_piece(t, piece);
    *rest = at;
    return 0;
}

/* Behind a backslash. */
static int read_escape(struct names_trans *t, struct slice *rest, struct err *err)
{
    static const struct {
        char letter;
        enum piece_kind kind;
    } known[] = {{'U', PIECE_UPPER},
                 {'L', PIECE_LOWER},
                 {'u', PIECE_UPPER_NEXT},
                 {'l', PIECE_LOWER_NEXT},
                 {'E', PIECE_END}};
    const char c = rest->n > 0 ? rest->p[0] : '\\';

    if (c >= '1' && c <= '9') {
        add_piece(t, (struct piece){.kind = PIECE_GROUP, .group = take_number(rest)});
        return 0;
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (known[i].letter == c) {
            add_piece(t, (struct piece){.kind = known[i].kind});
            *rest = behind(*rest, 1);
            return 0;
        }
    }
    if (is_letter(c) || is_digit(c) || rest->n == 0)
        return err_set(err, 0, "\\%c is not known on the right side", c);
    /* As much as the text may be, if it is more than ASCII: the rest of it is text anyway. */
    add_piece(t, (struct piece){.kind = PIECE_TEXT, .text = slice_sub(*rest, 0, 1)});
    *rest = behind(*rest, 1);
    return 0;
}

static int read_right(struct names_trans *t, struct slice right, struct err *err)
{
    /* A piece takes one byte at least. */
    t->pieces = calloc(right.n + 1, sizeof *t->pieces);
    if (!t->pieces)
        return err_set(err, 0, "no memory");
    while (right.n > 0) {
        const char c = right.p[0];
        size_t n = 0;

        while (n < right.n && right.p[n] != '$' && right.p[n] != '\\')
            n++;
        if (n > 0)
            add_piece(t, (struct piece){.kind = PIECE_TEXT, .text = slice_sub(right, 0, n)});
        right = behind(right, n > 0 ? n : 1);
        if (n == 0 && (c == '$' ? read_variable(t, &right, err) : read_escape(t, &right, err)) < 0)
            return -1;
    }
    return 0;
}

/* --- the whole -------------------------------------------------------------------------------- */

static struct slice trimmed(struct slice s)
{
    while (s.n > 0 && is_blank(s.p[0]))
        s = behind(s, 1);
    while (s.n > 0 && (is_blank(s.p[s.n - 1]) || s.p[s.n - 1] == ';'))
        s.n--;
    return s;
}

static bool is_text(struct slice s)
{
    for (size_t at = 0, n; at < s.n; at += n) {
        n = utf8_char(behind(s, at));
        if (n == 0 || (unsigned char)s.p[at] < ' ' || s.p[at] == 0x7f)
            return false;
    }
    return true;
}

/* tr, or y, and then a delimiter. */
static bool is_transliteration(struct slice s)
{
    const size_t n = s.n > 1 && s.p[0] == 't' && s.p[1] == 'r' ? 2 : 1;

    return s.n > n && (n == 2 || s.p[0] == 'y') && is_delimiter(s.p[n]);
}

static int read_all(struct names_trans *t, struct slice text, struct err *err)
{
    struct slice rest, left, right;
    unsigned how = REGEX_CHARACTERS;

    if (!is_text(text))
        return err_set(err, 0, "it is not UTF-8, or has control characters");
    rest = trimmed(slice_of(t->text, text.n));
    if (is_transliteration(rest))
        return err_set(err, 0, "tr and y are not taken; write one s/A/B/g for each character");
    if (rest.n == 0 || rest.p[0] != 's')
        return err_set(err, 0, "it is not a substitution, s/A/B/");
    rest = behind(rest, 1);
    if (read_sides(&rest, t->text, &left, &right, err) < 0 ||
        read_flags(rest, &how, &t->is_global, err) < 0 ||
        regex_new_with(left, how, &t->regex, err) < 0)
        return -1;
    return read_right(t, right, err);
}

int names_trans_new(struct slice text, struct names_trans **out_trans, struct err *err)
{
    struct names_trans *t = calloc(1, sizeof *t);

    if (t)
        t->text = slice_dup(text);
    if (!t || !t->text) {
        names_trans_free(&t);
        return err_set(err, 0, "no memory");
    }
    if (read_all(t, text, err) < 0) {
        names_trans_free(&t);
        return -1;
    }
    *out_trans = t;
    return 0;
}

void names_trans_free(struct names_trans **t)
{
    if (!*t)
        return;
    regex_free(&(*t)->regex);
    free((*t)->pieces);
    free((*t)->text);
    free(*t);
    *t = NULL;
}

/* --- applying --------------------------------------------------------------------------------- */

/* How letters come out; begins anew with each match. */
struct letters {
    enum piece_kind all, next; /* PIECE_TEXT: as they are */
};

static char in_case(char c, enum piece_kind kind)
{
    if ((kind == PIECE_UPPER || kind == PIECE_UPPER_NEXT) && c >= 'a' && c <= 'z')
        return (char)(c - 'a' + 'A');
    if ((kind == PIECE_LOWER || kind == PIECE_LOWER_NEXT) && c >= 'A' && c <= 'Z')
        return (char)(c - 'A' + 'a');
    return c;
}

static enum names_trans_result put(struct letters *letters, struct slice s, struct buf *out)
{
    char *room;

    if (s.n == 0)
        return NAMES_TRANS_OK;
    if (s.n > buf_left(out))
        return NAMES_TRANS_LONG;
    room = buf_room(out, s.n);
    if (!room)
        return NAMES_TRANS_MEMORY;
    for (size_t i = 0; i < s.n; i++)
        room[i] = in_case(s.p[i], letters->all);
    room[0] = letters->next == PIECE_TEXT ? room[0] : in_case(s.p[0], letters->next);
    letters->next = PIECE_TEXT;
    buf_added(out, s.n);
    return NAMES_TRANS_OK;
}

static enum names_trans_result put_piece(const struct piece *piece, const struct regex_space *space,
                                         struct slice name, struct letters *letters,
                                         struct buf *out)
{
    struct regex_span span;

    switch (piece->kind) {
    case PIECE_TEXT:
        return put(letters, piece->text, out);
    case PIECE_GROUP:
        if (!regex_group(space, piece->group, &span))
            return NAMES_TRANS_OK;
        return put(letters, slice_sub(name, span.from, span.to), out);
    case PIECE_UPPER:
    case PIECE_LOWER:
        letters->all = piece->kind;
        break;
    case PIECE_UPPER_NEXT:
    case PIECE_LOWER_NEXT:
        letters->next = piece->kind;
        break;
    case PIECE_END:
        letters->all = PIECE_TEXT;
        break;
    }
    return NAMES_TRANS_OK;
}

static enum names_trans_result put_as_is(struct slice s, struct buf *out)
{
    return put(&(struct letters){PIECE_TEXT, PIECE_TEXT}, s, out);
}

static enum names_trans_result put_right(const struct names_trans *t,
                                         const struct regex_space *space, struct slice name,
                                         struct buf *out)
{
    struct letters letters = {PIECE_TEXT, PIECE_TEXT};
    enum names_trans_result result = NAMES_TRANS_OK;

    for (size_t i = 0; i < t->pieces_n && result == NAMES_TRANS_OK; i++)
        result = put_piece(&t->pieces[i], space, name, &letters, out);
    return result;
}

enum names_trans_result names_trans_apply(const struct names_trans *t, struct regex_space *space,
                                          struct slice name, struct buf *out)
{
    enum names_trans_result result;
    bool is_behind_empty = false;
    size_t done = 0;

    for (;;) {
        const enum regex_result found = regex_search(t->regex, space, name, done, is_behind_empty);
        struct regex_span span;

        if (found == REGEX_NO)
            break;
        if (found == REGEX_FAILED || !regex_group(space, 0, &span) || span.from < done)
            return NAMES_TRANS_FAILED;
        result = put_as_is(slice_sub(name, done, span.from), out);
        if (result == NAMES_TRANS_OK)
            result = put_right(t, space, name, out);
        if (result != NAMES_TRANS_OK)
            return result;
        done = span.to;
        is_behind_empty = span.from == span.to;
        if (!t->is_global)
            break;
    }
    return put_as_is(behind(name, done), out);
}
