/* Reading a message once for its digests; see sync/identity.h.
 *
 * The header goes through line by line, each piece of a line in a run: what comes out is gathered
 * in a small buffer, so that the hash is not called for every word. Behind the header there is only
 * the search for line ends, which in mail as IMAP servers give it need no change.
 */
#include "sync/identity.h"

#include <stdlib.h>
#include <string.h>

enum {
    NAME = 24, /* more than the longest name that means something */
    OUT = 2048
};

/* What a field's name means to us. */
enum meaning {
    FIELD_ANY = 0,
    FIELD_ID = 1, /* these three as bits of `seen` */
    FIELD_DATE = 2,
    FIELD_FROM = 4,
    FIELD_LEFT_OUT = 8
};

static const struct {
    struct slice name;
    enum meaning meaning;
} meanings[] = {
    {SLICE("message-id"), FIELD_ID},
    {SLICE("date"), FIELD_DATE},
    {SLICE("from"), FIELD_FROM},
    {SLICE("status"), FIELD_LEFT_OUT},
    {SLICE("x-status"), FIELD_LEFT_OUT},
    {SLICE("x-keywords"), FIELD_LEFT_OUT},
    {SLICE("x-uid"), FIELD_LEFT_OUT},
    {SLICE("x-uidl"), FIELD_LEFT_OUT},
    {SLICE("x-imap"), FIELD_LEFT_OUT},
    {SLICE("x-imapbase"), FIELD_LEFT_OUT},
    {SLICE("content-length"), FIELD_LEFT_OUT},
    {SLICE("lines"), FIELD_LEFT_OUT},
    {SLICE("x-evolution-source"), FIELD_LEFT_OUT},
    {SLICE("x-mozilla-status"), FIELD_LEFT_OUT},
    {SLICE("x-mozilla-status2"), FIELD_LEFT_OUT},
    {SLICE("x-mozilla-keys"), FIELD_LEFT_OUT},
};

/* Where in the message we are. */
enum place {
    AT_LINE,    /* at the beginning of a line of the header */
    AT_LINE_CR, /* behind a CR there, which may become an empty line */
    IN_LINE,
    IN_TEXT /* behind the header */
};

/* What becomes of the bytes of the field. */
enum part { IN_NAME, IN_LONG_NAME, IN_VALUE, IN_NOTHING };

struct identity_reader {
    struct hash_stream *head, *raw, *text;
    unsigned what;
    uint64_t size;
    bool has_nul;
    enum place place;

    /* The field, if place is one of the header's. */
    enum part part;
    enum meaning meaning;
    bool is_first;   /* no field was before it */
    bool is_empty;   /* of a value: nothing but blanks yet */
    bool has_blanks; /* they came last, and become a space between what was and what follows */
    unsigned seen;   /* meanings of all fields that were not empty */
    size_t name_n;
    char name[NAME]; /* of IN_NAME: as it came, blanks being one space */

    bool has_cr; /* the text's last byte */

    size_t out_n;
    char out[OUT]; /* what is not hashed yet, of the header, later of the text */
};

struct identity_reader *identity_reader_new(void)
{
    struct identity_reader *r = calloc(1, sizeof(*r));

    if (!r)
        return NULL;
    r->head = hash_stream_new();
    r->raw = hash_stream_new();
    r->text = hash_stream_new();
    if (!r->head || !r->raw || !r->text)
        identity_reader_free(&r);
    return r;
}

void identity_reader_free(struct identity_reader **r)
{
    if (!*r)
        return;
    hash_stream_free(&(*r)->head);
    hash_stream_free(&(*r)->raw);
    hash_stream_free(&(*r)->text);
    free(*r);
    *r = NULL;
}

/* --- what comes out --------------------------------------------------------------------------- */

static void hash_out(struct identity_reader *r, struct slice s)
{
    if (r->place == IN_TEXT)
        hash_stream_add(r->text, s);
    else if (r->what & IDENTITY_HEAD)
        hash_stream_add(r->head, s);
}

static void flush(struct identity_reader *r)
{
    if (r->out_n > 0)
        hash_out(r, slice_of(r->out, r->out_n));
    r->out_n = 0;
}

static void put(struct identity_reader *r, struct slice s)
{
    if (s.n == 0)
        return;
    if (s.n > OUT - r->out_n)
        flush(r);
    if (s.n > OUT) {
        hash_out(r, s);
        return;
    }
    memcpy(r->out + r->out_n, s.p, s.n);
    r->out_n += s.n;
}

static void put_byte(struct identity_reader *r, char c)
{
    put(r, slice_of(&c, 1));
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* --- fields ----------------------------------------------------------------------------------- */

static void begin_field(struct identity_reader *r)
{
    r->part = IN_NAME;
    r->name_n = 0;
}

static void put_name(struct identity_reader *r)
{
    for (size_t i = 0; i < r->name_n; i++)
        r->name[i] = lower(r->name[i]);
    put(r, slice_of(r->name, r->name_n));
}

static void end_field(struct identity_reader *r)
{
    bool is_nothing = r->part == IN_NAME && r->name_n == 0;

    if (is_nothing)
        return;
    r->is_first = false;
    if (r->part == IN_NAME)
        put_name(r);
    if (r->part != IN_NOTHING)
        put_byte(r, '\n');
}

static enum meaning meaning_of(struct slice name)
{
    for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++) {
        if (meanings[i].name.n == name.n && slice_ieq(meanings[i].name, name))
            return meanings[i].meaning;
    }
    return FIELD_ANY;
}

/* A colon. */
static void end_name(struct identity_reader *r)
{
    r->meaning = FIELD_ANY;
    if (r->part == IN_NAME) {
        r->meaning = meaning_of(slice_of(r->name, r->name_n));
        if (r->meaning == FIELD_LEFT_OUT) {
            r->part = IN_NOTHING;
            return;
        }
        put_name(r);
    }
    put_byte(r, ':');
    r->part = IN_VALUE;
    r->is_empty = true;
    r->has_blanks = false;
}

/* A byte that is no blank follows blanks: whether the name up to them is the word of an mbox. */
static bool is_mbox_line(const struct identity_reader *r)
{
    struct slice name = slice_of(r->name, r->name_n);

    return r->is_first && r->part == IN_NAME &&
           (slice_eq(name, SLICE("From")) || slice_eq(name, SLICE(">From")));
}

static void add_to_name(struct identity_reader *r, char c)
{
    if (r->part == IN_NAME && r->name_n == NAME) {
        put_name(r);
        r->part = IN_LONG_NAME;
    }
    if (r->part == IN_LONG_NAME)
        put_byte(r, lower(c));
    else
        r->name[r->name_n++] = c;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* Takes bytes of a line as long as they are of the name; returns how many. */
static size_t read_name(struct identity_reader *r, struct slice line)
{
    for (size_t i = 0; i < line.n; i++) {
        char c = line.p[i];

        if (is_blank(c)) {
            r->has_blanks = true;
            continue;
        }
        if (c == ':') {
            end_name(r);
            return i + 1;
        }
        if (r->has_blanks && r->name_n > 0) {
            if (is_mbox_line(r)) {
                r->part = IN_NOTHING;
                return i;
            }
            add_to_name(r, ' ');
        }
        r->has_blanks = false;
        add_to_name(r, c);
    }
    return line.n;
}

/* Blanks in a row become one space; one at the end waits for what follows. Without a branch for
 * each byte, as most of what is read of a header passes here. There is room for s.n + 1. */
static void read_words(struct identity_reader *r, struct slice s)
{
    char *begin = r->out + r->out_n, *to = begin;
    bool was_blank = r->is_empty || r->has_blanks;

    if (!r->is_empty && r->has_blanks)
        *to++ = ' ';
    for (size_t i = 0; i < s.n; i++) {
        bool is = is_blank(s.p[i]);

        *to = is ? ' ' : s.p[i];
        to += !(is && was_blank);
        was_blank = is;
    }
    if (was_blank && to > begin)
        to--;
    r->has_blanks = was_blank;
    if (to == begin)
        return;
    r->out_n += (size_t)(to - begin);
    r->is_empty = false;
    r->seen |= (unsigned)r->meaning;
}

static void read_value(struct identity_reader *r, struct slice line)
{
    while (line.n > 0) {
        struct slice piece = slice_sub(line, 0, OUT / 2);

        if (OUT - r->out_n < piece.n + 1)
            flush(r);
        read_words(r, piece);
        line = slice_sub(line, piece.n, line.n);
    }
}

/* A piece of a line, without its end: what goes on with the field begins with blanks. */
static void read_line(struct identity_reader *r, struct slice line)
{
    if (r->part == IN_NAME || r->part == IN_LONG_NAME) {
        size_t n = read_name(r, line);

        line = slice_sub(line, n, line.n);
    }
    if (r->part == IN_VALUE)
        read_value(r, line);
}

/* --- lines ------------------------------------------------------------------------------------ */

static void end_header(struct identity_reader *r)
{
    end_field(r);
    flush(r);
    r->place = IN_TEXT;
}

/* The first byte of a line, or the second if that was CR. Returns how many bytes it takes: a byte
 * of a field is left to read_line(). */
static size_t begin_line(struct identity_reader *r, char c)
{
    if (c == '\n') {
        end_header(r);
        return 1;
    }
    if (c == '\r' && r->place == AT_LINE) {
        r->place = AT_LINE_CR;
        return 1;
    }
    if (r->place == AT_LINE_CR || (c != ' ' && c != '\t')) {
        end_field(r);
        begin_field(r);
    }
    r->place = IN_LINE;
    return 0;
}

/* Reads up to the end of the header; returns what is behind it. */
static struct slice read_header(struct identity_reader *r, struct slice s)
{
    while (s.n > 0 && r->place != IN_TEXT) {
        const char *lf;
        size_t n;

        if (r->place != IN_LINE) {
            n = begin_line(r, s.p[0]);
        } else {
            lf = memchr(s.p, '\n', s.n);
            n = lf ? (size_t)(lf - s.p) : s.n;
            read_line(r, slice_sub(s, 0, n));
            if (lf) {
                r->place = AT_LINE;
                n++;
            }
        }
        s = slice_sub(s, n, s.n);
    }
    return s;
}

static void read_text(struct identity_reader *r, struct slice s)
{
    size_t done = 0, at = 0;
    const char *lf;

    if (s.n == 0)
        return;
    while (at < s.n && (lf = memchr(s.p + at, '\n', s.n - at)) != NULL) {
        at = (size_t)(lf - s.p);
        if (at > 0 ? s.p[at - 1] != '\r' : !r->has_cr) {
            put(r, slice_sub(s, done, at));
            put_byte(r, '\r');
            done = at;
        }
        at++;
    }
    put(r, slice_sub(s, done, s.n));
    r->has_cr = s.p[s.n - 1] == '\r';
}

/* --- messages --------------------------------------------------------------------------------- */

void identity_begin(struct identity_reader *r, unsigned what)
{
    if (what & IDENTITY_HEAD)
        hash_stream_begin(r->head);
    if (what & IDENTITY_RAW)
        hash_stream_begin(r->raw);
    if (what & IDENTITY_TEXT)
        hash_stream_begin(r->text);
    r->what = what;
    r->size = 0;
    r->has_nul = false;
    r->place = AT_LINE;
    r->is_first = true;
    r->seen = 0;
    r->has_cr = false;
    r->out_n = 0;
    begin_field(r);
}

void identity_add(struct identity_reader *r, struct slice bytes)
{
    if (bytes.n == 0)
        return;
    r->size += bytes.n;
    if (!r->has_nul)
        r->has_nul = slice_has(bytes, '\0');
    if (r->what & IDENTITY_RAW)
        hash_stream_add(r->raw, bytes);
    if (r->place != IN_TEXT && r->what & (IDENTITY_HEAD | IDENTITY_TEXT))
        bytes = read_header(r, bytes);
    if (r->what & IDENTITY_TEXT)
        read_text(r, bytes);
}

void identity_end(struct identity_reader *r, struct identity_digest *out)
{
    *out = (struct identity_digest){.size = r->size, .has_nul = r->has_nul};
    if (r->place != IN_TEXT)
        end_header(r);
    if (r->what & IDENTITY_HEAD) {
        out->head = hash_stream_end(r->head);
        out->is_weak = !(r->seen & FIELD_ID) &&
                       (r->seen & (FIELD_DATE | FIELD_FROM)) != (FIELD_DATE | FIELD_FROM);
    }
    if (r->what & IDENTITY_RAW)
        out->raw = hash_stream_end(r->raw);
    if (r->what & IDENTITY_TEXT) {
        flush(r);
        out->text = hash_stream_end(r->text);
    }
}
