/* What is told of a server: failures, and its own words as far as they may be logged; see
 * imapc/state.h. */
#include "imapc/state.h"

#include "base/base64.h"
#include "sasl/plain.h"

#include <stdint.h>
#include <stdio.h>

static bool holds(struct slice s, struct slice part)
{
    return part.n > 0 && s.n >= part.n && memmem(s.p, s.n, part.p, part.n) != NULL;
}

/* Whether `s` holds `secret` in base 64; also without its padding, which some would cut. */
static bool holds_base64(struct slice s, struct slice secret)
{
    struct buf base64;
    char *room;
    bool is_there = true; /* when memory is out */

    buf_init(&base64, BASE64_LEN(secret.n), true);
    room = buf_room(&base64, BASE64_LEN(secret.n));
    if (room) {
        base64_encode(secret, room);
        buf_added(&base64, BASE64_LEN(secret.n) - (3 - secret.n % 3) % 3);
        is_there = holds(s, buf_slice(&base64));
    }
    buf_release(&base64);
    return is_there;
}

/* As it stands within quotes. */
static bool holds_escaped(struct slice s, struct slice secret)
{
    struct buf escaped;
    bool is_there = true, fits = true;

    buf_init(&escaped, 2 * secret.n, true);
    for (size_t i = 0; i < secret.n && fits; i++) {
        if (secret.p[i] == '"' || secret.p[i] == '\\')
            fits = buf_puts(&escaped, "\\") == 0;
        fits = fits && buf_put(&escaped, slice_sub(secret, i, i + 1)) == 0;
    }
    if (fits)
        is_there = holds(s, buf_slice(&escaped));
    buf_release(&escaped);
    return is_there;
}

static bool holds_plain(const struct imapc *c, struct slice s)
{
    const struct sasl_identity me = {c->params.user, c->params.authzid, c->params.password};
    struct buf message;
    bool is_there = true;

    buf_init(&message, INT32_MAX, true);
    if (sasl_plain.client_step(&me, 0, (struct slice){0}, &message) == SASL_DONE)
        is_there = holds_base64(s, buf_slice(&message));
    buf_release(&message);
    return is_there;
}

/* In any form in which a server may have got it. */
static bool holds_password(const struct imapc *c, struct slice s)
{
    struct slice password = c->params.password;

    if (s.n == 0 || password.n == 0)
        return false;
    return holds(s, password) || holds_escaped(s, password) || holds_base64(s, password) ||
           holds_plain(c, s);
}

struct slice imapc_without_password(const struct imapc *c, struct slice said)
{
    return holds_password(c, said) ? SLICE("(words that hold the password)") : said;
}

static struct slice without_end(struct slice line)
{
    while (line.n > 0 && (line.p[line.n - 1] == '\n' || line.p[line.n - 1] == '\r'))
        line.n--;
    return line;
}

void imapc_put_words(char to[IMAPC_MAX_FAILURE], const char *words, struct slice said)
{
    said = without_end(said);
    snprintf(to, IMAPC_MAX_FAILURE, "%s%s%.*s%s", words, said.n > 0 ? ": " : "",
             (int)(said.n < IMAPC_MAX_SAID ? said.n : IMAPC_MAX_SAID), said.n > 0 ? said.p : "",
             said.n > IMAPC_MAX_SAID ? "..." : "");
}

void imapc_fail(struct imapc *c, const char *words, struct slice said)
{
    if (c->phase == PHASE_FAILED)
        return;
    c->phase = PHASE_FAILED;
    imapc_put_words(c->failure, words, imapc_without_password(c, without_end(said)));
}

void imapc_fail_about_login(struct imapc *c, const char *words, struct slice said)
{
    c->is_about_login |= c->phase != PHASE_FAILED;
    imapc_fail(c, words, said);
}

void imapc_fail_memory(struct imapc *c)
{
    c->lacks_memory |= c->phase != PHASE_FAILED;
    imapc_fail(c, "memory is out", (struct slice){0});
}

void imapc_fail_foreign(struct imapc *c, struct slice line)
{
    static const struct {
        struct slice start;
        const char *words;
    } others[] = {
        {SLICE("HTTP/"), "the greeting is not IMAP but HTTP"},
        {SLICE("220"), "the greeting is not IMAP but SMTP"}, /* or FTP, whose codes are alike */
        {SLICE("421"), "the greeting is not IMAP but SMTP"},
        {SLICE("554"), "the greeting is not IMAP but SMTP"},
        {SLICE("+OK"), "the greeting is not IMAP but POP3"},
        {SLICE("-ERR"), "the greeting is not IMAP but POP3"},
        {SLICE("SSH-"), "the greeting is not IMAP but SSH"},
        {SLICE("\"IMPLEMENTATION\""), "the greeting is not IMAP but ManageSieve"},
        {SLICE("PROXY "), "the greeting is a PROXY header"},
    };

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (slice_istarts(line, others[i].start)) {
            imapc_fail(c, others[i].words, line);
            return;
        }
    }
    imapc_fail(c, "the greeting is not IMAP", line);
}

const char *imapc_failure(const struct imapc *c)
{
    INSIST(c->phase == PHASE_FAILED);
    return c->failure;
}

bool imapc_is_bye(const struct imapc *c)
{
    INSIST(c->phase == PHASE_FAILED);
    return c->is_bye;
}

bool imapc_lacks_memory(const struct imapc *c)
{
    INSIST(c->phase == PHASE_FAILED);
    return c->lacks_memory;
}

bool imapc_is_about_login(const struct imapc *c)
{
    INSIST(c->phase == PHASE_FAILED);
    return c->is_about_login;
}
