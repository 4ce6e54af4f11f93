/* The cursor of imap/follow.h: one small automaton for each direction, a byte at a time, so that it
 * cannot matter how the bytes are cut. skip() only hurries over those that change nothing. */
#include "imap/follow.h"

#include "base/err.h"
#include "imap/lex.h"

enum state {
    START, /* of a command or response */
    TAG,
    CR_SEEN, /* LF must follow, then it is over */

    /* strings and what is between them, in commands and in data */
    DATA,      /* no string may begin here, but a quoted one is let pass */
    FRESH,     /* a string may begin here: behind " ", "(" and "~" */
    QUOTE,     /* within "..." */
    ESCAPE,    /* and behind a backslash */
    BRACE,     /* behind "{" */
    DIGITS,    /* and at least one digit */
    PLUS,      /* client: behind "{n+" */
    CLOSED,    /* behind "}" */
    ANNOUNCED, /* and CR */
    LITERAL,   /* n bytes of it are to come */

    /* server */
    STAR,     /* behind "*" */
    UNTAGGED, /* in the word behind "* " */
    CONTINUE, /* behind "+" */
    TAGGED,   /* in the word behind a tag */
    TEXT_BEGIN,
    CODE, /* within "[...]" */
    TEXT,
    ENDED, /* behind the response; only server_end() sees it */

    /* client */
    WORD,    /* the name of a command */
    ASKED,   /* a literal of n bytes is announced, the server has not answered yet */
    IDLING,  /* IDLE has been sent, nothing of DONE yet */
    DONE,    /* in the line that should be DONE */
    DONE_CR, /* and behind its CR */
    SWITCH,  /* COMPRESS or its like has been sent, the server has not answered yet */
    STOPPED, /* at the end of the word UNAUTHENTICATE */

    LOST /* opaque; both sides are then */
};

enum kind {
    KIND_OTHER,
    KIND_PLUS,   /* server: "+" */
    KIND_OK,     /* server: tagged OK */
    KIND_NO,     /* server: tagged NO or BAD */
    KIND_STATUS, /* server: BYE or PREAUTH, which are never tagged */
    KIND_IDLE,   /* client: IDLE, until its line is over */
    KIND_IDLED,  /* client: and then, also while DONE is read, until the next command */
    KIND_SWITCH, /* client: what may change the stream behind its OK */
    KIND_DONE,   /* client: no command, but the line that ends IDLE */
    KIND_LOGOUT, /* client */
    KIND_UNAUTHENTICATE
};

/* A step takes one byte in the state that it is named after, and returns the next enum state. */
typedef uint8_t step_fn(struct follow_side *x, char c);

/* --- words --- */

struct word {
    const char *text;
    enum kind kind;
};

/* At most eight in one place, for their candidates are bits of one byte, and of at most 14 letters,
 * for `at` has four bits. */
static const struct word statuses[] = {
    {"OK", KIND_OK},      {"NO", KIND_NO},          {"BAD", KIND_NO},
    {"BYE", KIND_STATUS}, {"PREAUTH", KIND_STATUS}, {NULL, KIND_OTHER},
};

static const struct word commands[] = {
    {"COMPRESS", KIND_SWITCH},     {"STARTTLS", KIND_SWITCH},
    {"AUTHENTICATE", KIND_SWITCH}, {"UNAUTHENTICATE", KIND_UNAUTHENTICATE},
    {"IDLE", KIND_IDLE},           {"DONE", KIND_DONE},
    {"LOGOUT", KIND_LOGOUT},       {NULL, KIND_OTHER},
};

static void word_begin(struct follow_side *x)
{
    x->candidates = 0xff;
    x->at = 0;
}

/* One more byte of a word, never NUL, so that no candidate is read beyond its own. */
static void word_add(struct follow_side *x, const struct word *words, char c)
{
    unsigned left = 0;

    if (x->candidates == 0)
        return;
    if (c >= 'a' && c <= 'z')
        c = (char)(c - 'a' + 'A');
    for (unsigned i = 0; words[i].text; i++) {
        if (x->candidates >> i & 1 && words[i].text[x->at] == c)
            left |= 1U << i;
    }
    x->candidates = (uint8_t)left;
    x->at++;
}

/* Which word was read to its end. */
static uint8_t word_end(const struct follow_side *x, const struct word *words)
{
    unsigned i = 0;

    while (words[i].text && !(x->candidates >> i & 1 && words[i].text[x->at] == '\0'))
        i++;
    return (uint8_t)words[i].kind;
}

/* --- tags --- */

/* FNV-1a. Only tags that are out at one time could be mistaken for each other, and only while the
 * later of them waits: 2^-32, for a client that does not look for such two to deceive itself. */
static void tag_add(struct follow_side *x, char c)
{
    x->tag = (x->tag ^ (uint8_t)c) * 0x01000193U;
}

static void tag_begin(struct follow_side *x, char c)
{
    x->tag = 0x811c9dc5U;
    tag_add(x, c);
}

static bool is_tag_char(char c)
{
    return (lex_is_atom_char(c) || c == ']') && c != '+';
}

/* --- lines, strings, literals: both directions --- */

static bool is_never(char c)
{
    return c == '\r' || c == '\n' || c == '\0';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Where a string may begin behind `c`: RFC 9051 has strings only as whole words of lists. */
static bool comes_before_string(char c)
{
    return c == ' ' || c == '(' || c == '~';
}

static uint8_t on_data(struct follow_side *x, char c)
{
    (void)x;
    if (c == '"')
        return QUOTE;
    if (c == '\r')
        return CR_SEEN;
    if (is_never(c) || c == '{')
        return LOST;
    return comes_before_string(c) ? FRESH : DATA;
}

static uint8_t on_fresh(struct follow_side *x, char c)
{
    return c == '{' ? BRACE : on_data(x, c);
}

static uint8_t on_quote(struct follow_side *x, char c)
{
    (void)x;
    if (is_never(c))
        return LOST;
    if (c == '\\')
        return ESCAPE;
    return c == '"' ? DATA : QUOTE;
}

static uint8_t on_escape(struct follow_side *x, char c)
{
    (void)x;
    return is_never(c) ? LOST : QUOTE;
}

static uint8_t on_brace(struct follow_side *x, char c)
{
    if (!is_digit(c))
        return LOST;
    x->n = (uint64_t)(c - '0');
    x->is_sync = true;
    return DIGITS;
}

static uint8_t on_digits(struct follow_side *x, char c)
{
    if (c == '}')
        return CLOSED;
    if (!is_digit(c) || x->n > (INT64_MAX - (uint64_t)(c - '0')) / 10)
        return LOST;
    x->n = x->n * 10 + (uint64_t)(c - '0');
    return DIGITS;
}

static uint8_t on_closed(struct follow_side *x, char c)
{
    (void)x;
    return c == '\r' ? ANNOUNCED : LOST;
}

/* --- the server --- */

static uint8_t server_start(struct follow_side *x, char c)
{
    x->kind = KIND_OTHER;
    if (c == '*')
        return STAR;
    if (c == '+') {
        x->kind = KIND_PLUS;
        return CONTINUE;
    }
    if (!is_tag_char(c))
        return LOST;
    tag_begin(x, c);
    return TAG;
}

static uint8_t server_tag(struct follow_side *x, char c)
{
    if (is_tag_char(c)) {
        tag_add(x, c);
        return TAG;
    }
    word_begin(x);
    return c == ' ' ? TAGGED : LOST;
}

static uint8_t server_star(struct follow_side *x, char c)
{
    word_begin(x);
    return c == ' ' ? UNTAGGED : LOST;
}

static uint8_t server_continue(struct follow_side *x, char c)
{
    (void)x;
    if (c == '\r')
        return CR_SEEN;
    return c == ' ' ? TEXT_BEGIN : LOST;
}

/* A byte that goes on with the word of a response. "[" is an ATOM-CHAR, but "OK[ALERT" would be OK
 * to some. */
static bool is_response_char(char c)
{
    return lex_is_atom_char(c) && c != '[';
}

static uint8_t server_untagged(struct follow_side *x, char c)
{
    if (is_response_char(c)) {
        word_add(x, statuses, c);
        return UNTAGGED;
    }
    if (x->at == 0)
        return LOST;
    if (c == '\r')
        return CR_SEEN;
    if (c != ' ')
        return LOST;
    return word_end(x, statuses) == KIND_OTHER ? FRESH : TEXT_BEGIN;
}

static uint8_t server_tagged(struct follow_side *x, char c)
{
    if (is_response_char(c)) {
        word_add(x, statuses, c);
        return TAGGED;
    }
    x->kind = word_end(x, statuses);
    if (x->kind != KIND_OK && x->kind != KIND_NO)
        return LOST;
    if (c == '\r')
        return CR_SEEN;
    return c == ' ' ? TEXT_BEGIN : LOST;
}

static uint8_t server_text(struct follow_side *x, char c)
{
    (void)x;
    if (c == '\r')
        return CR_SEEN;
    return is_never(c) ? LOST : TEXT;
}

static uint8_t server_text_begin(struct follow_side *x, char c)
{
    return c == '[' ? CODE : server_text(x, c);
}

static uint8_t server_code(struct follow_side *x, char c)
{
    (void)x;
    if (is_never(c))
        return LOST;
    return c == ']' ? TEXT : CODE;
}

static uint8_t server_cr_seen(struct follow_side *x, char c)
{
    (void)x;
    return c == '\n' ? ENDED : LOST;
}

static uint8_t server_announced(struct follow_side *x, char c)
{
    (void)x;
    return c == '\n' ? LITERAL : LOST;
}

static step_fn *const server_steps[LOST] = {
    [START] = server_start,
    [TAG] = server_tag,
    [CR_SEEN] = server_cr_seen,
    [DATA] = on_data,
    [FRESH] = on_fresh,
    [QUOTE] = on_quote,
    [ESCAPE] = on_escape,
    [BRACE] = on_brace,
    [DIGITS] = on_digits,
    [CLOSED] = on_closed,
    [ANNOUNCED] = server_announced,
    [STAR] = server_star,
    [UNTAGGED] = server_untagged,
    [CONTINUE] = server_continue,
    [TAGGED] = server_tagged,
    [TEXT_BEGIN] = server_text_begin,
    [CODE] = server_code,
    [TEXT] = server_text,
};

/* --- the client --- */

static uint8_t client_start(struct follow_side *x, char c)
{
    x->kind = KIND_OTHER;
    if (c == '\r') /* an empty line; some clients end a literal with one too many */
        return CR_SEEN;
    if (!is_tag_char(c))
        return LOST;
    tag_begin(x, c);
    return TAG;
}

static uint8_t client_tag(struct follow_side *x, char c)
{
    if (is_tag_char(c)) {
        tag_add(x, c);
        return TAG;
    }
    if (c == '\r') /* DONE, when the backend ended the IDLE first */
        return CR_SEEN;
    word_begin(x);
    return c == ' ' ? WORD : LOST;
}

static uint8_t client_word(struct follow_side *x, char c)
{
    if (lex_is_atom_char(c)) {
        word_add(x, commands, c);
        return WORD;
    }
    if (x->at == 0 || (c != ' ' && c != '\r'))
        return LOST;
    x->kind = word_end(x, commands);
    if (x->kind == KIND_UNAUTHENTICATE)
        return STOPPED;
    return c == '\r' ? CR_SEEN : FRESH;
}

/* The end of a command. */
static uint8_t client_cr_seen(struct follow_side *x, char c)
{
    if (c != '\n')
        return LOST;
    if (x->kind == KIND_IDLE) {
        if (x->owes_plus)
            return LOST;
        x->owes_plus = true;
        x->kind = KIND_IDLED;
        return IDLING;
    }
    if (x->kind == KIND_LOGOUT)
        x->has_logout = true;
    return x->kind == KIND_SWITCH ? SWITCH : START;
}

static uint8_t client_digits(struct follow_side *x, char c)
{
    return c == '+' ? PLUS : on_digits(x, c);
}

static uint8_t client_plus(struct follow_side *x, char c)
{
    x->is_sync = false;
    return c == '}' ? CLOSED : LOST;
}

static uint8_t client_announced(struct follow_side *x, char c)
{
    if (c != '\n')
        return LOST;
    if (!x->is_sync)
        return LITERAL;
    return x->owes_plus ? LOST : ASKED;
}

static uint8_t client_done(struct follow_side *x, char c)
{
    if (lex_is_atom_char(c)) {
        word_add(x, commands, c);
        return DONE;
    }
    return c == '\r' && word_end(x, commands) == KIND_DONE ? DONE_CR : LOST;
}

static uint8_t client_idling(struct follow_side *x, char c)
{
    word_begin(x);
    return client_done(x, c);
}

static uint8_t client_done_cr(struct follow_side *x, char c)
{
    (void)x;
    return c == '\n' ? START : LOST;
}

/* Where the client has to wait, nothing may come; behind STOPPED nothing should. */
static uint8_t client_too_early(struct follow_side *x, char c)
{
    (void)x;
    (void)c;
    return LOST;
}

static step_fn *const client_steps[LOST] = {
    [START] = client_start,       [TAG] = client_tag,
    [CR_SEEN] = client_cr_seen,   [DATA] = on_data,
    [FRESH] = on_fresh,           [QUOTE] = on_quote,
    [ESCAPE] = on_escape,         [BRACE] = on_brace,
    [DIGITS] = client_digits,     [PLUS] = client_plus,
    [CLOSED] = on_closed,         [ANNOUNCED] = client_announced,
    [WORD] = client_word,         [ASKED] = client_too_early,
    [IDLING] = client_idling,     [DONE] = client_done,
    [DONE_CR] = client_done_cr,   [SWITCH] = client_too_early,
    [STOPPED] = client_too_early,
};

/* --- what a response of the server means to the client --- */

/* "+" allows the literal that waits for it, or begins an IDLE. It cannot be that both wait: then
 * the client was lost. */
static uint8_t end_continue(struct follow_side *client)
{
    if (client->state == ASKED)
        client->state = LITERAL;
    else if (client->owes_plus)
        client->owes_plus = false;
    else
        return LOST;
    return START;
}

/* The client's last command is answered. Its tag is whole wherever that matters here. */
static uint8_t end_tagged(struct follow_side *client, bool is_ok)
{
    if (client->kind == KIND_IDLED)
        client->owes_plus = false;
    if (client->state == IDLING) {
        client->state = START;
    } else if (client->state == ASKED || client->state == SWITCH) {
        if (is_ok)
            return LOST;
        client->state = START;
    }
    return START;
}

/* A response is over. */
static uint8_t server_end(struct follow *f)
{
    if (f->server.kind == KIND_PLUS)
        return end_continue(&f->client);
    if (f->server.kind != KIND_OTHER && f->server.tag == f->client.tag)
        return end_tagged(&f->client, f->server.kind == KIND_OK);
    return START;
}

/* --- both --- */

/* Which bytes end a run of those that change nothing. */
enum { STOPS_TEXT = 1, STOPS_DATA = 2, STOPS_QUOTE = 4, STOPS_ALL = 7 };

static const uint8_t stops[256] = {
    ['\0'] = STOPS_ALL,   ['\r'] = STOPS_ALL, ['\n'] = STOPS_ALL, ['"'] = STOPS_DATA | STOPS_QUOTE,
    ['\\'] = STOPS_QUOTE, ['{'] = STOPS_DATA,
};

static size_t run(struct slice s, uint8_t stop)
{
    size_t n = 0;

    while (n < s.n && !(stops[(uint8_t)s.p[n]] & stop))
        n++;
    return n;
}

/* How many bytes of `s` need no step; the state is then as if they had been taken one by one. */
static size_t skip(struct follow_side *x, struct slice s)
{
    size_t n = 0;

    if (x->state == LITERAL) {
        n = x->n < s.n ? (size_t)x->n : s.n;
        x->n -= n;
        if (x->n == 0)
            x->state = DATA;
    } else if (x->state == TEXT) {
        n = run(s, STOPS_TEXT);
    } else if (x->state == QUOTE) {
        n = run(s, STOPS_QUOTE);
    } else if (x->state == DATA || x->state == FRESH) {
        n = run(s, STOPS_DATA);
        if (n > 0)
            x->state = comes_before_string(s.p[n - 1]) ? FRESH : DATA;
    }
    return n;
}

void follow_init(struct follow *f)
{
    *f = (struct follow){0};
}

void follow_server(struct follow *f, struct slice s)
{
    struct follow_side *x = &f->server;
    size_t i = 0;

    while (i < s.n && x->state != LOST) {
        i += skip(x, slice_sub(s, i, s.n));
        if (i == s.n)
            break;
        INSIST(server_steps[x->state]);
        x->state = server_steps[x->state](x, s.p[i++]);
        if (x->state == ENDED)
            x->state = server_end(f);
        if (x->state == LOST)
            f->server.state = f->client.state = LOST;
    }
}

size_t follow_client(struct follow *f, struct slice s)
{
    struct follow_side *x = &f->client;
    size_t i = 0;

    while (i < s.n && x->state != LOST) {
        i += skip(x, slice_sub(s, i, s.n));
        if (i == s.n)
            break;
        INSIST(client_steps[x->state]);
        x->state = client_steps[x->state](x, s.p[i]);
        if (x->state == STOPPED)
            return i;
        if (x->state == LOST)
            f->server.state = f->client.state = LOST;
        i++;
    }
    return s.n;
}

bool follow_at_boundary(const struct follow *f)
{
    return f->server.state == START;
}

bool follow_is_opaque(const struct follow *f)
{
    return f->server.state == LOST;
}
