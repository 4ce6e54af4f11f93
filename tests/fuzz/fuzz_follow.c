/* Following a conversation: the cursor of imap/follow.h says the same however the bytes are cut,
 * the same as a model that reads each command and response anew with every byte, and the same as
 * the framing of imap/frame.h.
 *
 * The input's bytes 0xff are not sent: they change the direction, which is the client's at first.
 */
#include "cut.h"

#include "imap/follow.h"
#include "imap/frame.h"
#include "imap/lex.h"

#include <setjmp.h>
#include <stdlib.h>

enum { MAX_INPUT = 1024, TURN = 0xff };

/* ---- The model: a grammar written down as one reads it ---- */

enum how { MORE = 1, WRONG, WAITS }; /* why reading has come to nothing; WAITS: for a "+" */

struct reader {
    struct slice s;
    size_t at;
    unsigned granted; /* synchronizing literals that the server has allowed */
    bool is_client;
    jmp_buf out;
};

_Noreturn static void fail(struct reader *r, enum how how)
{
    longjmp(r->out, (int)how);
}

static char next(struct reader *r)
{
    if (r->at == r->s.n)
        fail(r, MORE);
    return r->s.p[r->at++];
}

static void want(struct reader *r, char c)
{
    if (next(r) != c)
        fail(r, WRONG);
}

/* 1*ATOM-CHAR with the characters of `more` and without those of `less`; the byte behind it is
 * still to be read. */
static struct slice word(struct reader *r, const char *more, const char *less)
{
    size_t from = r->at;

    for (;;) {
        char c = next(r);

        if ((lex_is_atom_char(c) && !strchr(less, c)) || (c != '\0' && strchr(more, c)))
            continue;
        r->at--;
        if (r->at == from)
            fail(r, WRONG);
        return slice_sub(r->s, from, r->at);
    }
}

static bool is_one_of(struct slice w, const char *const *list)
{
    for (; *list; list++) {
        if (slice_ieq(w, slice_str(*list)))
            return true;
    }
    return false;
}

static char in_line(struct reader *r)
{
    char c = next(r);

    if (c == '\0' || c == '\n')
        fail(r, WRONG);
    return c;
}

/* 1*DIGIT of at most 2^63 - 1; *out_c is the byte behind it. */
static uint64_t number(struct reader *r, char *out_c)
{
    static const char most[] = "9223372036854775807";
    char digits[sizeof(most)] = "";
    size_t n = 0, from = r->at;
    char c;

    while ((c = next(r)) >= '0' && c <= '9') {
        if (n == 0 && c == '0')
            continue;
        digits[n++] = c;
        if (n == sizeof(most) - 1 && strcmp(digits, most) > 0)
            fail(r, WRONG);
        if (n == sizeof(most))
            fail(r, WRONG);
    }
    if (r->at - 1 == from)
        fail(r, WRONG);
    *out_c = c;
    return strtoull(digits, NULL, 10);
}

static void literal(struct reader *r)
{
    bool is_sync = true;
    char c;
    uint64_t n = number(r, &c);

    if (c == '+' && r->is_client) {
        is_sync = false;
        c = next(r);
    }
    if (c != '}')
        fail(r, WRONG);
    want(r, '\r');
    want(r, '\n');
    if (is_sync && r->is_client && r->granted-- == 0)
        fail(r, r->at == r->s.n ? WAITS : WRONG);
    if (n > r->s.n - r->at)
        fail(r, MORE);
    r->at += (size_t)n;
}

static void quoted(struct reader *r)
{
    char c;

    while ((c = in_line(r)) != '"') {
        if (c == '\\')
            c = in_line(r);
        if (c == '\r')
            fail(r, WRONG);
    }
}

/* The rest of a command or of data, with the line's end. `before`: the last byte read. */
static void arguments(struct reader *r, char before)
{
    char c;

    while ((c = in_line(r)) != '\r') {
        if (c == '"') {
            quoted(r);
        } else if (c == '{') {
            if (!strchr(" (~", before))
                fail(r, WRONG);
            literal(r);
            c = '}';
        }
        before = c;
    }
    want(r, '\n');
}

/* The rest of a status, with the line's end. */
static void text(struct reader *r)
{
    bool is_code = false;
    char c;

    for (size_t i = 0; (c = in_line(r)) != '\r'; i++) {
        if (i == 0 && c == '[')
            is_code = true;
        else if (c == ']')
            is_code = false;
    }
    if (is_code)
        fail(r, WRONG);
    want(r, '\n');
}

/* A word's end: a space, and then more to read, or the line's end. */
static bool goes_on(struct reader *r)
{
    char c = next(r);

    if (c == ' ')
        return true;
    if (c != '\r')
        fail(r, WRONG);
    return false;
}

struct response {
    bool is_plus, is_ok;
    struct slice tag;
};

static void response(struct reader *r, struct response *out)
{
    static const char *const texts[] = {"OK", "NO", "BAD", "BYE", "PREAUTH", NULL};
    static const char *const tagged[] = {"OK", "NO", "BAD", NULL};
    struct slice w;
    bool is_text;

    *out = (struct response){0};
    switch (next(r)) {
    case '+':
        out->is_plus = true;
        if (goes_on(r))
            text(r);
        else
            want(r, '\n');
        return;
    case '*':
        want(r, ' ');
        w = word(r, "", "[");
        is_text = is_one_of(w, texts);
        break;
    default:
        r->at--;
        out->tag = word(r, "]", "+");
        want(r, ' ');
        w = word(r, "", "[");
        is_text = true;
        out->is_ok = slice_ieq(w, SLICE("OK"));
        next(r);
        r->at--;
        if (!is_one_of(w, tagged))
            fail(r, WRONG);
        break;
    }
    if (!goes_on(r))
        want(r, '\n');
    else if (is_text)
        text(r);
    else
        arguments(r, ' ');
}

struct command {
    struct slice tag, name;
    bool has_name; /* and the byte behind it has been read */
};

static void command(struct reader *r, struct command *out)
{
    *out = (struct command){0};
    if (next(r) == '\r') {
        want(r, '\n');
        return;
    }
    r->at--;
    out->tag = word(r, "]", "+");
    if (!goes_on(r)) {
        want(r, '\n');
        return;
    }
    out->name = word(r, "", "");
    if (goes_on(r)) {
        out->has_name = true;
        arguments(r, ' ');
    } else {
        out->has_name = true;
        want(r, '\n');
    }
}

static void done(struct reader *r)
{
    struct slice w = word(r, "", "");

    want(r, '\r');
    if (!slice_ieq(w, SLICE("DONE")))
        fail(r, WRONG);
    want(r, '\n');
}

/* ---- The model: the conversation ---- */

struct unit {
    char bytes[MAX_INPUT];
    size_t n;
};

enum mode { COMMANDS, IDLING, SWITCHING };

struct model {
    struct unit server, client; /* what has come of the response and command that are not whole */
    struct unit tag;            /* of the last command that is whole */
    enum mode mode;
    unsigned granted;
    bool is_waiting;      /* for "+" or a refusal */
    bool owes_plus;       /* of an IDLE */
    bool is_last_an_idle; /* the last command, and no other has been begun */
    bool is_stopped, is_opaque, has_logout;
};

static void copy(struct unit *to, struct slice s)
{
    if (s.n > 0)
        memcpy(to->bytes, s.p, s.n);
    to->n = s.n;
}

static bool is_tag(const struct unit *u, struct slice tag)
{
    return slice_eq(slice_of(u->bytes, u->n), tag);
}

/* The tag of the command that waits for its literal. */
static bool is_tag_of_unit(const struct unit *u, struct slice tag)
{
    return u->n > tag.n && u->bytes[tag.n] == ' ' && memcmp(u->bytes, tag.p, tag.n) == 0;
}

static void model_plus(struct model *m)
{
    if (m->is_waiting) {
        m->is_waiting = false;
        m->granted++;
    } else if (m->owes_plus) {
        m->owes_plus = false;
    } else {
        m->is_opaque = true;
    }
}

static void model_tagged(struct model *m, struct slice tag, bool is_ok)
{
    if (m->is_last_an_idle && is_tag(&m->tag, tag))
        m->owes_plus = false;
    if (m->is_waiting && is_tag_of_unit(&m->client, tag)) {
        m->is_opaque = is_ok;
        m->is_waiting = false;
        m->granted = 0;
        m->client.n = 0;
    } else if (m->mode == SWITCHING && is_tag(&m->tag, tag)) {
        m->is_opaque = is_ok;
        m->mode = COMMANDS;
    } else if (m->mode == IDLING && m->client.n == 0 && is_tag(&m->tag, tag)) {
        m->mode = COMMANDS;
    }
}

static void model_server(struct model *m, char c)
{
    struct reader r = {0};
    struct response response_read;

    m->server.bytes[m->server.n++] = c;
    r.s = slice_of(m->server.bytes, m->server.n);
    switch (setjmp(r.out)) {
    case 0:
        response(&r, &response_read);
        INSIST(r.at == r.s.n);
        if (response_read.is_plus)
            model_plus(m);
        else if (response_read.tag.n > 0)
            model_tagged(m, response_read.tag, response_read.is_ok);
        m->server.n = 0;
        break;
    case WRONG:
        m->is_opaque = true;
        break;
    default:
        break;
    }
}

static void model_command(struct model *m, const struct command *c)
{
    static const char *const switches[] = {"COMPRESS", "STARTTLS", "AUTHENTICATE", NULL};

    copy(&m->tag, c->tag);
    m->granted = 0;
    m->client.n = 0;
    if (is_one_of(c->name, switches)) {
        m->mode = SWITCHING;
    } else if (slice_ieq(c->name, SLICE("IDLE"))) {
        m->is_opaque = m->owes_plus;
        m->owes_plus = m->is_last_an_idle = true;
        m->mode = IDLING;
    }
    m->has_logout |= slice_ieq(c->name, SLICE("LOGOUT"));
}

/* UNAUTHENTICATE with the byte behind it, and no more: told before that byte is taken. */
static bool says_unauthenticate(struct slice s)
{
    struct reader r = {.s = s, .is_client = true};
    static struct command c; /* not in a register that longjmp() would set back */

    c.has_name = false;
    if (setjmp(r.out) == 0)
        command(&r, &c);
    return c.has_name && slice_ieq(c.name, SLICE("UNAUTHENTICATE"));
}

/* False: the byte is not followed. */
static bool model_client(struct model *m, char c)
{
    struct reader r = {.granted = m->granted, .is_client = true};
    struct command read;

    if (m->is_stopped || m->is_waiting || m->mode == SWITCHING) {
        m->is_opaque = true;
        return true;
    }
    m->client.bytes[m->client.n++] = c;
    r.s = slice_of(m->client.bytes, m->client.n);
    if (m->mode == COMMANDS && says_unauthenticate(r.s)) {
        m->client.n--;
        m->is_stopped = true;
        return false;
    }
    if (m->mode == COMMANDS)
        m->is_last_an_idle = false;
    switch (setjmp(r.out)) {
    case 0:
        if (m->mode == IDLING) {
            done(&r);
            m->client.n = 0;
            m->mode = COMMANDS;
        } else {
            command(&r, &read);
            model_command(m, &read);
        }
        break;
    case WAITS:
        m->is_waiting = true;
        m->is_opaque = m->owes_plus;
        break;
    case WRONG:
        m->is_opaque = true;
        break;
    default:
        break;
    }
    return true;
}

/* ---- Running ---- */

/* What is seen behind each byte of the input. */
struct seen {
    bool is_boundary, is_opaque, has_logout, is_stop;
};

static struct seen look(const struct follow *f)
{
    return (struct seen){.is_boundary = follow_at_boundary(f),
                         .is_opaque = follow_is_opaque(f),
                         .has_logout = follow_has_logout(f)};
}

static bool is_same(const struct seen *a, const struct seen *b)
{
    return a->is_boundary == b->is_boundary && a->is_opaque == b->is_opaque &&
           a->has_logout == b->has_logout;
}

/* Byte by byte, beside the model. */
static void run_model(struct slice in, struct seen *seen)
{
    static struct model m;
    struct follow f;
    bool is_client = true;

    memset(&m, 0, sizeof(m));
    follow_init(&f);
    for (size_t i = 0; i < in.n; i++) {
        struct slice byte = slice_sub(in, i, i + 1);
        bool was_stopped = false;

        if ((uint8_t)in.p[i] == TURN) {
            is_client = !is_client;
        } else if (!is_client) {
            follow_server(&f, byte);
            if (!m.is_opaque)
                model_server(&m, in.p[i]);
        } else {
            was_stopped = follow_client(&f, byte) == 0;
            INSIST(was_stopped == (!m.is_opaque && !model_client(&m, in.p[i])));
        }
        seen[i] = look(&f);
        seen[i].is_stop = was_stopped;
        INSIST(follow_is_opaque(&f) == m.is_opaque);
        INSIST(follow_at_boundary(&f) == (!m.is_opaque && m.server.n == 0));
        INSIST(m.is_opaque || follow_has_logout(&f) == m.has_logout);
    }
}

/* In pieces, each of which must end where the bytes did. */
static void run_pieces(struct slice in, uint64_t seed, const struct seen *seen)
{
    struct follow f;
    bool is_client = true;
    size_t at = 0;

    follow_init(&f);
    while (at < in.n) {
        size_t to = at, most = in.n, n;

        if ((uint8_t)in.p[at] == TURN) {
            is_client = !is_client;
            at++;
            continue;
        }
        if (seed > 0) {
            seed = num_mix(seed) | 2;
            most = at + 1 + (seed >> 8 & 15);
        }
        while (to < in.n && to < most && (uint8_t)in.p[to] != TURN)
            to++;
        n = to - at;
        if (is_client)
            n = follow_client(&f, slice_sub(in, at, to));
        else
            follow_server(&f, slice_sub(in, at, to));
        INSIST(n <= to - at);
        if (n < to - at) {
            INSIST(seen[at + n].is_stop);
            to = at + n + 1;
        } else {
            INSIST(!seen[to - 1].is_stop);
        }
        at = to;
        { /* has the conversation come to the same? */
            struct seen now = look(&f);

            INSIST(is_same(&now, &seen[to - 1]));
        }
    }
}

/* The server's bytes alone: while they are followed, frames end where boundaries are. */
static void run_frames(struct slice in, const struct seen *seen)
{
    static char bytes[MAX_INPUT];
    struct frame f;
    size_t n = 0, from = 0;
    bool is_client = true;

    frame_start(&f, FRAME_RESPONSE, SIZE_MAX, INT64_MAX);
    for (size_t i = 0; i < in.n && !seen[i].is_opaque; i++) {
        enum frame_result result;

        if ((uint8_t)in.p[i] == TURN) {
            is_client = !is_client;
        } else if (!is_client) {
            bytes[n++] = in.p[i];
            result = frame_step(&f, slice_of(bytes + from, n - from));
            if (result == FRAME_LITERAL_LARGE)
                return;
            INSIST(result == (seen[i].is_boundary ? FRAME_WHOLE : FRAME_MORE));
            if (result == FRAME_WHOLE) {
                from = n;
                frame_start(&f, FRAME_RESPONSE, SIZE_MAX, INT64_MAX);
            }
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct seen seen[MAX_INPUT];
    struct fuzz_input in;

    if (size > MAX_INPUT || !fuzz_input_read(&in, data, size))
        return 0;
    run_model(in.bytes, seen);
    run_pieces(in.bytes, 0, seen);
    run_pieces(in.bytes, in.seed | 1U, seen);
    run_frames(in.bytes, seen);
    return 0;
}
