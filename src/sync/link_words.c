/* Names of mailboxes and literals in commands as the server takes them, and what its words mean;
 * see sync/link_parts.h. */
#include "sync/link_parts.h"

#include "base/num.h"
#include "base/utf8.h"
#include "imap/capability.h"
#include "imap/response.h"
#include "imap/utf7.h"
#include "imap/write.h"

#include <string.h>

/* RFC 7888 section 5, and RFC 9051 section 4.3. */
enum { LITERAL_MINUS = 4096 };

/* A name is some hundred bytes at most, in whatever encoding. */
enum { NAME_MOST = 64 * 1024 };

/* --- what is offered -------------------------------------------------------------------------- */

struct slice link_capabilities(const struct link *l)
{
    return buf_slice(&l->capabilities);
}

bool link_offers(const struct link *l, const char *capability)
{
    return capability_has(link_capabilities(l), slice_str(capability));
}

size_t link_nonsync_max(const struct link *l)
{
    if (link_offers(l, "LITERAL+"))
        return SIZE_MAX;
    return link_offers(l, "LITERAL-") || link_offers(l, "IMAP4rev2") ? LITERAL_MINUS : 0;
}

bool link_has_utf8(const struct link *l)
{
    return l->has_utf8;
}

/* --- names ------------------------------------------------------------------------------------ */

/* NUL, CR and LF can stand in no name: neither on a line nor, with servers that keep lists of names
 * as lines, anywhere else. */
static bool is_name(struct slice s)
{
    for (size_t n; s.n > 0; s = slice_sub(s, n, s.n)) {
        n = utf8_char(s);
        if (n == 0 || *s.p == '\0' || *s.p == '\r' || *s.p == '\n')
            return false;
    }
    return true;
}

int link_put_name(const struct link *l, struct slice name, struct buf *out)
{
    struct buf wire;
    int done;

    if (!is_name(name))
        return -1;
    /* UTF-8 may stand within quotes then (RFC 6855 section 3, RFC 9051 section 9). */
    if (l->has_utf8)
        return write_quoted(out, name);
    buf_init(&wire, NAME_MOST, false);
    done = utf7_encode(name, &wire) ? write_quoted(out, buf_slice(&wire)) : -1;
    buf_release(&wire);
    return done;
}

bool link_read_name(const struct link *l, struct slice wire, struct buf *out)
{
    if (!l->has_utf8)
        return utf7_decode(wire, out);
    return is_name(wire) && buf_put(out, wire) == 0;
}

/* --- literals --------------------------------------------------------------------------------- */

/* The number of a line that ends with "{n}" or "{n+}", and where that begins. */
static bool announces(struct slice line, size_t *out_n, size_t *out_at)
{
    size_t end = line.n;
    uint64_t n;

    if (end < 3 || line.p[end - 1] != '}')
        return false;
    end -= line.p[end - 2] == '+' ? 2 : 1;
    for (size_t at = end; at > 0; at--) {
        if (line.p[at - 1] != '{')
            continue;
        if (!num_parse(slice_sub(line, at, end), SIZE_MAX, &n))
            return false;
        *out_n = (size_t)n;
        *out_at = at - 1;
        return true;
    }
    return false;
}

/* Up to the end of a literal's announcement, or of all. */
static int cut_line(struct slice *rest, size_t *literal, size_t nonsync_max, struct buf *out,
                    bool *out_waits)
{
    const char *end = rest->n > 0 ? memmem(rest->p, rest->n, "\r\n", 2) : NULL;
    struct slice line = end ? slice_of(rest->p, (size_t)(end - rest->p)) : *rest;
    size_t at;

    *out_waits = false;
    if (slice_has(line, '\n') || slice_has(line, '\r') || slice_has(line, '\0'))
        return -1;
    if (!end) {
        *rest = slice_of(NULL, 0);
        return buf_put(out, line);
    }
    *rest = slice_sub(*rest, line.n + 2, rest->n);
    if (!announces(line, literal, &at) || *literal > rest->n)
        return -1;
    *out_waits = *literal > nonsync_max;
    if (buf_put(out, slice_sub(line, 0, at)) < 0)
        return -1;
    return write_literal_header(out, *literal, *out_waits);
}

int link_cut(struct slice *rest, size_t *literal, size_t nonsync_max, struct buf *out)
{
    bool waits = false;

    for (;;) {
        if (buf_put(out, slice_sub(*rest, 0, *literal)) < 0)
            return -1;
        *rest = slice_sub(*rest, *literal, rest->n);
        *literal = 0;
        if (rest->n == 0)
            return 0;
        if (cut_line(rest, literal, nonsync_max, out, &waits) < 0)
            return -1;
        if (waits)
            return 1;
    }
}

/* --- words ------------------------------------------------------------------------------------ */

const char *link_words(struct slice said, char out[LINK_WORDS])
{
    size_t n = 0;

    while (said.n > 0 && n < LINK_WORDS - 1) {
        unsigned char c = (unsigned char)*said.p;

        out[n++] = c < ' ' || c == 0x7f ? ' ' : *said.p;
        said = slice_sub(said, 1, said.n);
    }
    out[n] = '\0';
    return out;
}

static bool is_one_of(struct slice code, const char *const *codes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (slice_ieq(code, slice_str(codes[i])))
            return true;
    }
    return false;
}

bool link_is_busy_word(struct slice said)
{
    /* RFC 5530, RFC 9051 section 7.1. OVERQUOTA is Gmail's word for too much traffic: a login
     * stores nothing. */
    static const char *const busy[] = {"UNAVAILABLE", "LIMIT", "INUSE", "THROTTLED", "OVERQUOTA"};
    /* Whatever the text says: who tries again and again with a wrong password is locked out. */
    static const char *const plain[] = {"AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "EXPIRED",
                                        "PRIVACYREQUIRED", "CONTACTADMIN"};
    /* What those say who have no code for it: Courier, Exchange, Gmail and their like. */
    static const char *const words[] = {"too many",    "maximum number of",  "connection limit",
                                        "rate limit",  "limits exceeded",    "try again later",
                                        "try later",   "temporar",           "server is busy",
                                        "server busy", "server unavailable", "service unavailable"};
    struct slice code, arguments;
    char text[LINK_WORDS];

    if (response_code(said, &code, &arguments)) {
        if (is_one_of(code, busy, sizeof busy / sizeof *busy))
            return true;
        if (is_one_of(code, plain, sizeof plain / sizeof *plain))
            return false;
    }
    link_words(said, text);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcasestr(text, words[i]))
            return true;
    }
    return false;
}
