/* What servers answer, line by line; see ports/probe_parts.h. Pure. */
#include "ports/probe_parts.h"

#include <ctype.h>

void reply_start(struct reply *r, enum reply_kind kind)
{
    r->kind = kind;
    r->lines = 0;
    r->code = 0;
    r->is_ok = r->has_starttls = false;
    r->text[0] = r->caps[0] = r->server[0] = '\0';
}

/* What is behind the first word. */
static struct slice behind_word(struct slice s, struct slice word)
{
    s = slice_sub(s, word.n, s.n);
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = slice_sub(s, 1, s.n);
    return s;
}

static struct slice first_word(struct slice s)
{
    size_t n = 0;

    while (n < s.n && s.p[n] != ' ' && s.p[n] != '\t')
        n++;
    return slice_sub(s, 0, n);
}

/* A keyword with its arguments, as CAPA and EHLO tell them. */
static void add_capability(struct reply *r, struct slice line, struct slice starttls)
{
    struct slice key = first_word(line), values = behind_word(line, key);

    if (key.n == 0)
        return;
    if (slice_ieq(key, SLICE("IMPLEMENTATION"))) {
        text_set(r->server, sizeof r->server, values);
        return;
    }
    /* AUTH once more, in a form from before RFC 2554 */
    if (slice_istarts(key, SLICE("AUTH=")))
        return;
    r->has_starttls |= slice_ieq(key, starttls);
    text_add_item(r->caps, sizeof r->caps, key, values);
}

/* ---- SMTP and LMTP ---- */

static bool code_of(struct slice line, unsigned *out_code)
{
    unsigned code = 0;

    if (line.n < 3 || (line.n > 3 && line.p[3] != ' ' && line.p[3] != '-'))
        return false;
    for (size_t i = 0; i < 3; i++) {
        if (!isdigit((unsigned char)line.p[i]))
            return false;
        code = code * 10 + (unsigned)(line.p[i] - '0');
    }
    *out_code = code;
    return true;
}

/* The first line greets, the others tell extensions. */
static enum reply_result smtp_line(struct reply *r, struct slice line)
{
    unsigned code;

    if (!code_of(line, &code) || (r->lines > 1 && code != r->code))
        return REPLY_BAD;
    r->code = code;
    r->is_ok = code / 100 == 2;
    if (r->lines > 1)
        add_capability(r, slice_sub(line, 4, line.n), SLICE("STARTTLS"));
    return line.n > 3 && line.p[3] == '-' ? REPLY_MORE : REPLY_WHOLE;
}

/* ---- POP3 ---- */

static bool is_status(struct slice line, struct slice word)
{
    return slice_istarts(line, word) && (line.n == word.n || line.p[word.n] == ' ');
}

static enum reply_result pop3_line(struct reply *r, struct slice line)
{
    if (r->lines == 1) {
        r->is_ok = is_status(line, SLICE("+OK"));
        if (!r->is_ok && !is_status(line, SLICE("-ERR")))
            return REPLY_BAD;
        return r->is_ok && r->kind == REPLY_POP3_LIST ? REPLY_MORE : REPLY_WHOLE;
    }
    if (slice_eq(line, SLICE(".")))
        return REPLY_WHOLE;
    if (slice_istarts(line, SLICE("..")))
        line = slice_sub(line, 1, line.n);
    add_capability(r, line, SLICE("STLS"));
    return REPLY_MORE;
}

/* ---- ManageSieve ---- */

/* Takes a quoted string off the front of *rest, into `out` without its escapes; false: there is
 * none. */
static bool take_quoted(struct slice *rest, struct buf *out)
{
    size_t i = 1;

    while (rest->n > 0 && rest->p[0] == ' ')
        *rest = slice_sub(*rest, 1, rest->n);
    if (rest->n < 2 || rest->p[0] != '"')
        return false;
    for (; i < rest->n && rest->p[i] != '"'; i++) {
        if (rest->p[i] == '\\' && i + 1 < rest->n)
            i++;
        if (buf_put(out, slice_sub(*rest, i, i + 1)) < 0)
            return false;
    }
    if (i >= rest->n)
        return false;
    *rest = slice_sub(*rest, i + 1, rest->n);
    return true;
}

/* A capability whose value is a literal is not read: there is none that is of use here. */
static void sieve_capability(struct reply *r, struct slice line)
{
    struct buf key, value;

    buf_init(&key, PROBE_TEXT, false);
    buf_init(&value, CONN_IN, false);
    if (take_quoted(&line, &key)) {
        (void)take_quoted(&line, &value);
        if (slice_ieq(buf_slice(&key), SLICE("IMPLEMENTATION")))
            text_set(r->server, sizeof r->server, buf_slice(&value));
        else if (buf_len(&key) > 0)
            text_add_item(r->caps, sizeof r->caps, buf_slice(&key), buf_slice(&value));
        r->has_starttls |= slice_ieq(buf_slice(&key), SLICE("STARTTLS"));
    }
    buf_release(&key);
    buf_release(&value);
}

static enum reply_result sieve_line(struct reply *r, struct slice line)
{
    struct slice word = first_word(line);

    r->is_ok = slice_ieq(word, SLICE("OK"));
    if (r->is_ok || slice_ieq(word, SLICE("NO")) || slice_ieq(word, SLICE("BYE"))) {
        text_set(r->text, sizeof r->text, line);
        return REPLY_WHOLE;
    }
    sieve_capability(r, line);
    return REPLY_MORE;
}

/* ---- HTTP ---- */

static enum reply_result http_line(struct reply *r, struct slice line)
{
    struct slice field = first_word(line);

    if (r->lines == 1) {
        r->is_ok = slice_istarts(line, SLICE("HTTP/"));
        (void)code_of(behind_word(line, field), &r->code);
        return r->is_ok ? REPLY_MORE : REPLY_BAD;
    }
    if (slice_ieq(field, SLICE("Server:")))
        text_set(r->server, sizeof r->server, behind_word(line, field));
    return line.n == 0 ? REPLY_WHOLE : REPLY_MORE;
}

/* ---- all ---- */

enum reply_result reply_line(struct reply *r, struct slice line)
{
    if (line.n > 0 && line.p[line.n - 1] == '\n')
        line.n--;
    if (line.n > 0 && line.p[line.n - 1] == '\r')
        line.n--;
    if (++r->lines == 1)
        text_set(r->text, sizeof r->text, line);
    if (r->lines > REPLY_LINES)
        return REPLY_BAD;
    switch (r->kind) {
    case REPLY_SMTP:
        return smtp_line(r, line);
    case REPLY_POP3:
    case REPLY_POP3_LIST:
        return pop3_line(r, line);
    case REPLY_SIEVE:
        return sieve_line(r, line);
    case REPLY_HTTP:
        return http_line(r, line);
    }
    INSIST(false);
}
