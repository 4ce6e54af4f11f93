/* Subjects, for people; see sync/look.h. */
#include "sync/look.h"

#include "base/base64.h"
#include "base/buf.h"
#include "base/term.h"
#include "base/utf8.h"
#include "imap/data.h"
#include "sync/look_parts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* More of a header than this is not read. */
enum { HEADER_MOST = 8192, WORD_MOST = 2048 };

/* --- encoded words (RFC 2047) ----------------------------------------------------------------- */

enum charset { CHARSET_UTF8, CHARSET_LATIN1, CHARSET_UNKNOWN };

/* "=?charset*language?B?text?=" */
struct word {
    enum charset charset;
    bool is_base64;
    struct slice text;
    size_t n; /* of all of it */
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static enum charset charset_of(struct slice name)
{
    const char *star = name.n > 0 ? memchr(name.p, '*', name.n) : NULL;

    if (star)
        name.n = (size_t)(star - name.p);
    if (slice_ieq(name, SLICE("utf-8")) || slice_ieq(name, SLICE("us-ascii")))
        return CHARSET_UTF8;
    return slice_ieq(name, SLICE("iso-8859-1")) ? CHARSET_LATIN1 : CHARSET_UNKNOWN;
}

/* Up to the next "?", which is passed over; no blanks are in between. */
static bool cut_part(struct slice *s, struct slice *out_part)
{
    size_t n = 0;

    while (n < s->n && s->p[n] != '?') {
        if (is_space(s->p[n]))
            return false;
        n++;
    }
    if (n == s->n)
        return false;
    *out_part = slice_sub(*s, 0, n);
    *s = slice_sub(*s, n + 1, s->n);
    return true;
}

static bool read_word(struct slice s, struct word *out)
{
    struct slice rest, charset, encoding;

    if (!slice_istarts(s, SLICE("=?")))
        return false;
    rest = slice_sub(s, 2, s.n);
    if (!cut_part(&rest, &charset) || !cut_part(&rest, &encoding) || !cut_part(&rest, &out->text) ||
        !slice_istarts(rest, SLICE("=")) || out->text.n > WORD_MOST)
        return false;
    out->charset = charset_of(charset);
    out->is_base64 = slice_ieq(encoding, SLICE("B"));
    out->n = s.n - rest.n + 1;
    return out->charset != CHARSET_UNKNOWN && (out->is_base64 || slice_ieq(encoding, SLICE("Q")));
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Returns how many bytes; -1: it is no good. */
static long decode_q(struct slice s, char *to)
{
    long n = 0;

    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '=') {
            to[n++] = s.p[i] == '_' ? ' ' : s.p[i];
            continue;
        }
        if (s.n - i < 3 || hex(s.p[i + 1]) < 0 || hex(s.p[i + 2]) < 0)
            return -1;
        to[n++] = (char)(hex(s.p[i + 1]) << 4 | hex(s.p[i + 2]));
        i += 2;
    }
    return n;
}

static int put_latin1(struct buf *out, struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned c = (unsigned char)s.p[i];
        const char two[2] = {(char)(0xc0 | c >> 6), (char)(0x80 | (c & 0x3f))};

        if (buf_put(out, c < 0x80 ? slice_sub(s, i, i + 1) : slice_of(two, 2)) < 0)
            return -1;
    }
    return 0;
}

/* Decoded; false when it is no good or does not fit: nothing is put then. */
static bool put_word(struct buf *out, const struct word *word)
{
    char text[WORD_MOST];
    long n = word->is_base64 ? base64_decode(word->text, text) : decode_q(word->text, text);

    if (n < 0 || buf_left(out) < 2 * (size_t)n)
        return false;
    if (word->charset == CHARSET_LATIN1)
        return put_latin1(out, slice_of(text, (size_t)n)) == 0;
    return buf_put(out, slice_of(text, (size_t)n)) == 0;
}

/* --- the field -------------------------------------------------------------------------------- */

/* Behind the first colon, up to where a line begins with no blank. */
static struct slice value_of(struct slice header)
{
    const char *colon = header.n > 0 ? memchr(header.p, ':', header.n) : NULL;
    struct slice value = {0};

    if (!colon)
        return value;
    value = slice_sub(header, (size_t)(colon - header.p) + 1, header.n);
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] == '\n' &&
            (i + 1 == value.n || (value.p[i + 1] != ' ' && value.p[i + 1] != '\t')))
            return slice_sub(value, 0, i);
    }
    return value;
}

/* Decodes all words, as far as there is room. Blanks between two of them only part them. */
static void decode(struct slice s, struct buf *out)
{
    size_t blanks = 0; /* where those before us begin */
    bool is_behind_word = false;
    struct word word;

    for (size_t i = 0; i < s.n;) {
        bool is_word = read_word(slice_sub(s, i, s.n), &word);

        if (!is_word && is_space(s.p[i])) {
            i++;
            continue;
        }
        if (is_word && is_behind_word && put_word(out, &word)) {
            i += word.n;
        } else {
            if (buf_put(out, slice_sub(s, blanks, i)) < 0)
                return;
            is_behind_word = is_word && put_word(out, &word);
            if (!is_behind_word && buf_put(out, slice_sub(s, i, i + 1)) < 0)
                return;
            i += is_behind_word ? word.n : 1;
        }
        blanks = i;
    }
}

/* --- shown ------------------------------------------------------------------------------------ */

/* A character as term_escape() shows it, where there is room for all of it. */
static bool show(struct slice c, char *out, size_t cap, size_t *n)
{
    struct buf shown;
    bool fits;

    buf_init(&shown, 16, false);
    fits = term_escape(&shown, c) == 0 && *n + buf_len(&shown) < cap;
    if (fits) {
        memcpy(out + *n, buf_slice(&shown).p, buf_len(&shown));
        *n += buf_len(&shown);
    }
    buf_release(&shown);
    return fits;
}

static void show_all(struct slice s, char *out, size_t cap)
{
    size_t n = 0, step;
    bool is_behind_blank = true;

    for (size_t i = 0; i < s.n; i += step) {
        bool is_blank = is_space(s.p[i]);

        step = utf8_char(slice_sub(s, i, s.n));
        if (step == 0)
            step = 1;
        if (is_blank && is_behind_blank)
            continue;
        if (!show(is_blank ? SLICE(" ") : slice_sub(s, i, i + step), out, cap, &n))
            break;
        is_behind_blank = is_blank;
    }
    if (n > 0 && is_behind_blank)
        n--;
    out[n] = '\0';
}

void look_subject_decode(struct slice header, char *out, size_t cap)
{
    struct buf decoded;

    buf_init(&decoded, HEADER_MOST * 4, false);
    decode(slice_sub(value_of(header), 0, HEADER_MOST), &decoded);
    show_all(buf_slice(&decoded), out, cap);
    buf_release(&decoded);
}

/* --- asking ----------------------------------------------------------------------------------- */

struct subjects {
    const uint32_t *uids;
    size_t n, at; /* the first that was asked for last */
    char *out;    /* `cap` bytes of it for each */
    size_t cap;
    struct buf header; /* of the response that comes */
    uint32_t of;       /* whose it is; 0: not yet known */
    bool is_in;        /* behind a body of it */
    struct look_room room;
};

static void keep(struct subjects *s, struct slice bytes)
{
    size_t left = buf_left(&s->header);

    (void)!buf_put(&s->header, slice_sub(bytes, 0, left));
}

static int read_text(struct subjects *s, struct slice text, bool is_partial, struct err *err)
{
    struct data_fetch f;
    char *to = look_room(&s->room, text.n);

    if (!to)
        return err_set(err, 0, "no memory for a subject");
    if (s->is_in ? !data_fetch_rest(text, to, &f) : !data_fetch(text, is_partial, to, &f))
        return 0;
    if (f.told & FETCH_UID)
        s->of = f.uid;
    if (f.told & FETCH_BODY && !is_partial && !f.is_nil)
        keep(s, f.body);
    return 0;
}

static int on_subject(void *arg, struct pipeline *p, enum pipeline_event event, struct err *err)
{
    struct subjects *s = arg;
    bool is_rest = event == PIPELINE_DATA && pipeline_is_rest(p);

    if (event == PIPELINE_BODY) {
        if (read_text(s, pipeline_head(p), true, err) < 0)
            return -1;
        s->is_in = true;
    }
    if (event == PIPELINE_BYTES)
        keep(s, pipeline_bytes(p));
    if (!is_rest && !look_is_data(p, event, SLICE("FETCH")))
        return 0;
    if (read_text(s, pipeline_response(p)->text, false, err) < 0)
        return -1;
    for (size_t i = 0; i < s->n && buf_len(&s->header) > 0; i++) {
        if (s->uids[i] == s->of)
            look_subject_decode(buf_slice(&s->header), s->out + i * s->cap, s->cap);
    }
    s->of = 0;
    s->is_in = false;
    buf_take(&s->header, buf_len(&s->header));
    return 0;
}

static int on_subject_answer(void *arg, size_t i, const struct link_answer *answer, struct err *err)
{
    const struct subjects *s = arg;

    (void)err;
    if (answer->kind != RESPONSE_OK)
        s->out[(s->at + i) * s->cap] = '\0';
    return 0;
}

static int put_subject(struct look_commands *c, uint32_t uid, struct err *err)
{
    if (buf_printf(&c->text, "UID FETCH %" PRIu32 " (BODY.PEEK[HEADER.FIELDS (SUBJECT)])", uid) < 0)
        return err_sys(err, ENOMEM, "cannot ask for subjects");
    look_commands_end(c);
    return 0;
}

/* Each by a command of its own, as one that is refused is to take no others with it. */
static int ask_subjects(struct link *l, struct subjects *s, struct look_commands *c,
                        struct err *err)
{
    struct slice commands[LOOK_COMMANDS];

    for (size_t i = 0; i < s->n; i++) {
        if (put_subject(c, s->uids[i], err) < 0)
            return -1;
        if (c->n < LOOK_COMMANDS && i + 1 < s->n)
            continue;
        for (size_t k = 0; k < c->n; k++)
            commands[k] = look_command(c, k);
        if (link_calls(l, commands, c->n, on_subject, on_subject_answer, s, err) < 0)
            return -1;
        look_commands_clear(c);
        s->at = i + 1;
    }
    return 0;
}

int look_subjects(struct link *l, const uint32_t *uids, size_t n, char *out, size_t cap,
                  struct err *err)
{
    struct subjects subjects = {.uids = uids, .n = n, .out = out, .cap = cap};
    struct look_commands commands;
    int result;

    for (size_t i = 0; i < n; i++)
        out[i * cap] = '\0';
    look_commands_init(&commands);
    buf_init(&subjects.header, HEADER_MOST, false);
    result = ask_subjects(l, &subjects, &commands, err);
    buf_release(&subjects.header);
    look_commands_free(&commands);
    free(subjects.room.p);
    return result;
}
