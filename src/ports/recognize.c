/* Whose greeting it is, by its first line; see ports/probe.h. Pure. */
#include "ports/probe_parts.h"

#include <ctype.h>

static const struct {
    const char *name, *key;
} names[SPEAKS_COUNT] = {
    [SPEAKS_NOTHING] = {"nothing", "nothing"},
    [SPEAKS_UNKNOWN] = {"unknown", "unknown"},
    [SPEAKS_IMAP] = {"IMAP", "imap"},
    [SPEAKS_POP3] = {"POP3", "pop3"},
    [SPEAKS_SMTP] = {"SMTP", "smtp"},
    [SPEAKS_LMTP] = {"LMTP", "lmtp"},
    [SPEAKS_SIEVE] = {"ManageSieve", "sieve"},
    [SPEAKS_ADMIND] = {"Mirapoint administration", "admind"},
    [SPEAKS_HTTP] = {"HTTP", "http"},
    [SPEAKS_SSH] = {"SSH", "ssh"},
    [SPEAKS_FTP] = {"FTP", "ftp"},
    [SPEAKS_NNTP] = {"NNTP", "nntp"},
    [SPEAKS_TLS] = {"TLS", "tls"},
};

const char *speaks_name(enum speaks speaks)
{
    INSIST((size_t)speaks < SPEAKS_COUNT);
    return names[speaks].name;
}

const char *speaks_key(enum speaks speaks)
{
    INSIST((size_t)speaks < SPEAKS_COUNT);
    return names[speaks].key;
}

/* ---- words ---- */

/* Takes the next word off *rest, without punctuation around it; false: there is none. */
static bool next_word(struct slice *rest, struct slice *out_word)
{
    size_t from = 0, to, end;

    while (from < rest->n && !isalnum((unsigned char)rest->p[from]))
        from++;
    for (to = from; to < rest->n && !isspace((unsigned char)rest->p[to]); to++)
        ;
    for (end = to; end > from && !isalnum((unsigned char)rest->p[end - 1]); end--)
        ;
    *out_word = slice_sub(*rest, from, end);
    *rest = slice_sub(*rest, to, rest->n);
    return out_word->n > 0;
}

static bool holds(struct slice s, struct slice part)
{
    for (size_t i = 0; i + part.n <= s.n; i++)
        if (slice_istarts(slice_sub(s, i, s.n), part))
            return true;
    return false;
}

/* A name that says what its machine does, not what speaks here: "ftp.example.org", "smtp". Of the
 * short ones only the first word can be one. */
static bool is_host(struct slice word, bool is_first)
{
    if (slice_has(word, '.'))
        return true;
    for (size_t i = 0; i < word.n; i++)
        if (isupper((unsigned char)word.p[i]))
            return false;
    return is_first;
}

/* Whether one of the words that are no names of hosts holds `part`, or is it. */
static bool has_word(struct slice line, struct slice part, bool whole)
{
    struct slice word;
    bool is_first = true;

    while (next_word(&line, &word)) {
        if (!is_host(word, is_first) && (whole ? slice_ieq(word, part) : holds(word, part)))
            return true;
        is_first = false;
    }
    return false;
}

/* ---- what has numbers: SMTP, LMTP, FTP, NNTP ---- */

static bool is_code(struct slice line)
{
    return line.n >= 3 && isdigit((unsigned char)line.p[0]) && isdigit((unsigned char)line.p[1]) &&
           isdigit((unsigned char)line.p[2]) &&
           (line.n == 3 || line.p[3] == ' ' || line.p[3] == '-');
}

static bool is_news(struct slice text)
{
    return has_word(text, SLICE("NNTP"), false) || has_word(text, SLICE("NNRP"), false) ||
           has_word(text, SLICE("news"), false) || has_word(text, SLICE("INN"), true) ||
           has_word(text, SLICE("posting"), true) || has_word(text, SLICE("post"), true);
}

static enum speaks by_code(struct slice line)
{
    struct slice code = slice_sub(line, 0, 3), text = slice_sub(line, 4, line.n);

    if (is_news(text) && !slice_eq(code, SLICE("220")))
        return SPEAKS_NNTP;
    if (has_word(text, SLICE("LMTP"), false))
        return SPEAKS_LMTP;
    if (has_word(text, SLICE("SMTP"), false))
        return SPEAKS_SMTP;
    if (has_word(text, SLICE("FTP"), false) || has_word(text, SLICE("FileZilla"), false) ||
        slice_eq(code, SLICE("120")) || slice_eq(code, SLICE("530")))
        return SPEAKS_FTP;
    if (slice_eq(code, SLICE("220")) || slice_eq(code, SLICE("421")) ||
        slice_eq(code, SLICE("521")) || slice_eq(code, SLICE("554")))
        return SPEAKS_SMTP;
    return SPEAKS_UNKNOWN;
}

/* ---- what begins with words ---- */

static const struct start {
    struct slice start;
    enum speaks speaks;
    bool is_word; /* a blank or the end of the line is behind it */
} starts[] = {
    {SLICE("* OK"), SPEAKS_IMAP, true},
    {SLICE("* PREAUTH"), SPEAKS_IMAP, true},
    {SLICE("* BYE"), SPEAKS_IMAP, true},
    {SLICE("* BAD"), SPEAKS_IMAP, true},
    {SLICE("* NO"), SPEAKS_IMAP, true},
    {SLICE("+OK"), SPEAKS_POP3, true},
    {SLICE("-ERR"), SPEAKS_POP3, true},
    {SLICE("SSH-"), SPEAKS_SSH, false},
    {SLICE("HTTP/"), SPEAKS_HTTP, false},
    /* RFC 5804 section 1.7 leaves the order of capabilities open. */
    {SLICE("\"IMPLEMENTATION\""), SPEAKS_SIEVE, true},
    {SLICE("\"SIEVE\""), SPEAKS_SIEVE, true},
    {SLICE("\"SASL\""), SPEAKS_SIEVE, true},
    {SLICE("\"STARTTLS\""), SPEAKS_SIEVE, true},
    {SLICE("\"VERSION\""), SPEAKS_SIEVE, true},
    {SLICE("\"NOTIFY\""), SPEAKS_SIEVE, true},
    {SLICE("\"MAXREDIRECTS\""), SPEAKS_SIEVE, true},
    {SLICE("BYE \""), SPEAKS_SIEVE, false},
    {SLICE("BYE ("), SPEAKS_SIEVE, false},
    {SLICE("\x15\x03"), SPEAKS_TLS, false},
    {SLICE("\x16\x03"), SPEAKS_TLS, false},
};

static bool begins(struct slice line, const struct start *s)
{
    return slice_istarts(line, s->start) &&
           (!s->is_word || line.n == s->start.n || line.p[s->start.n] == ' ');
}

/* Its administration protocol has IMAP's manners: "* OK mail.example.org admind 3.8 server ready".
 */
static bool is_admind(struct slice line)
{
    return has_word(slice_sub(line, 4, line.n), SLICE("admind"), true) &&
           !holds(line, SLICE("[CAPABILITY"));
}

static enum speaks recognize_line(struct slice line)
{
    if (is_code(line))
        return by_code(line);
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        if (!begins(line, &starts[i]))
            continue;
        return starts[i].speaks == SPEAKS_IMAP && is_admind(line) ? SPEAKS_ADMIND
                                                                  : starts[i].speaks;
    }
    return SPEAKS_UNKNOWN;
}

enum speaks speaks_recognize(struct slice greeting, bool is_end)
{
    struct slice line = slice_sub(greeting, 0, PROBE_TEXT);
    const char *end = line.n > 0 ? memchr(line.p, '\n', line.n) : NULL;

    if (line.n == 0 || (!end && !is_end && line.n < PROBE_TEXT))
        return SPEAKS_NOTHING;
    if (end)
        line.n = (size_t)(end - line.p);
    if (line.n > 0 && line.p[line.n - 1] == '\r')
        line.n--;
    return recognize_line(line);
}

/* ---- answers to what we said first ---- */

int tls_recognize(struct slice s)
{
    enum { ALERT = 21, HANDSHAKE = 22, SERVER_HELLO = 2, ALERT_SIZE = 2 };
    const unsigned char *p = (const unsigned char *)s.p;

    if (s.n == 0)
        return 0;
    if ((p[0] != ALERT && p[0] != HANDSHAKE) || (s.n > 1 && p[1] != 3) || (s.n > 2 && p[2] > 4))
        return -1;
    if (s.n < 6)
        return 0;
    if (p[0] == ALERT)
        return p[3] == 0 && p[4] == ALERT_SIZE ? 1 : -1;
    return p[5] == SERVER_HELLO ? 1 : -1;
}

bool is_complaint(struct slice line)
{
    static const struct slice complaints[] = {SLICE("* BAD"), SLICE("* NO"), SLICE("-ERR"),
                                              SLICE("NO"),    SLICE("BAD"),  SLICE("HTTP/"),
                                              SLICE("ERR"),   SLICE("error")};

    for (size_t i = 0; i < sizeof complaints / sizeof complaints[0]; i++)
        if (slice_istarts(line, complaints[i]))
            return true;
    /* 554, 521 and 421 refuse a client at once, whatever it says. */
    if (is_code(line) && line.p[0] == '5')
        return !slice_istarts(line, SLICE("554")) && !slice_istarts(line, SLICE("521"));
    return holds(line, SLICE("PROXY ")) && !is_welcome(line); /* "IMAP4 proxy ready" */
}

bool is_welcome(struct slice line)
{
    static const struct slice welcomes[] = {SLICE("* OK"), SLICE("* PREAUTH"), SLICE("+OK"),
                                            SLICE("SSH-"), SLICE("220"),       SLICE("\"")};

    for (size_t i = 0; i < sizeof welcomes / sizeof welcomes[0]; i++)
        if (slice_istarts(line, welcomes[i]))
            return speaks_recognize(line, true) != SPEAKS_UNKNOWN;
    return false;
}
