/* The dialogues behind a greeting: what a server can do, in clear and within TLS. Nobody logs in.
 * See ports/probe_parts.h. */
#include "ports/probe_parts.h"

#include "imap/id.h"
#include "imap/lex.h"
#include "imapc/imapc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* How long a server that was told good-bye may take to close. */
enum { GOODBYE_MS = 200 };

/* What a dialogue is about. */
struct talking {
    struct probe *p;
    struct probe_report *report;
    bool is_tls;         /* by now */
    bool wants_starttls; /* still to be done */
    bool is_refused;
    struct reply reply;
};

static void trouble(struct talking *t, const char *what, struct slice words)
{
    text_set(t->report->trouble, sizeof t->report->trouble, slice_str(what));
    text_add(t->report->trouble, sizeof t->report->trouble, words);
}

/* Why nothing more has come. */
static void no_answer(struct talking *t)
{
    switch (t->p->conn.last) {
    case HEARD_SILENCE:
        trouble(t, "no answer in time", SLICE(""));
        break;
    case HEARD_END:
        trouble(t, "the server closed the connection", SLICE(""));
        break;
    case HEARD_BYTES:
    case HEARD_BROKEN:
        trouble(t, "", slice_str(t->p->conn.trouble.text));
        break;
    }
}

void talk_look_at_tls(struct probe *p, struct probe_report *r)
{
    char name[PROBE_TEXT];
    struct stream *s = &p->conn.stream;

    text_set(r->tls_version, sizeof r->tls_version, slice_str(stream_tls_version(s)));
    text_set(r->tls_cipher, sizeof r->tls_cipher, slice_str(stream_tls_cipher(s)));
    r->has_certificate = stream_tls_facts(s, &r->certificate);
    if (!r->has_certificate)
        return;
    if (stream_tls_subject(s, name, sizeof name))
        text_set(r->subject, sizeof r->subject, slice_str(name));
    if (stream_tls_issuer(s, name, sizeof name))
        text_set(r->issuer, sizeof r->issuer, slice_str(name));
    if (p->params->ca_pem.n > 0)
        stream_tls_distrust(s, r->untrusted, sizeof r->untrusted);
}

/* Begins TLS where the server has said that it is ready. */
static bool begin_tls(struct talking *t)
{
    char said[PROBE_TEXT];
    size_t n;

    if (buf_len(&t->p->conn.in) > 0) {
        trouble(t, "bytes in clear lie behind the answer to STARTTLS", SLICE(""));
        return false;
    }
    switch (probe_shake(t->p, said, &n)) {
    case SHAKEN_OK:
        t->is_tls = true;
        t->wants_starttls = false;
        talk_look_at_tls(t->p, t->report);
        return true;
    case SHAKEN_NOT_TLS:
        trouble(t, "after STARTTLS the server does not speak TLS: ", slice_of(said, n));
        return false;
    case SHAKEN_FAILED:
        trouble(t, "", slice_str(t->p->conn.trouble.text));
        return false;
    case SHAKEN_NOTHING:
        no_answer(t);
        return false;
    }
    INSIST(false);
}

static void keep_caps(struct talking *t, struct slice caps)
{
    char *to = t->is_tls ? t->report->caps_tls : t->report->caps_clear;

    to[0] = '\0';
    text_add_words(to, PROBE_CAPS, caps);
}

/* A server that is just left alone logs that. It is not waited for long. */
static void say_goodbye(struct talking *t, struct slice words)
{
    (void)conn_goodbye(&t->p->conn, words, GOODBYE_MS);
}

/* ---- lines ---- */

static bool read_reply(struct talking *t, enum reply_kind kind, uint32_t wait_ms)
{
    struct slice line;

    reply_start(&t->reply, kind);
    while (conn_line(&t->p->conn, wait_ms, &line)) {
        enum reply_result result = reply_line(&t->reply, line);

        if (result == REPLY_BAD)
            trouble(t, "an answer that is not understood: ", line);
        conn_used(&t->p->conn, line);
        if (result != REPLY_MORE)
            return result == REPLY_WHOLE;
    }
    no_answer(t);
    return false;
}

static bool ask(struct talking *t, const char *command, enum reply_kind kind)
{
    if (!conn_write(&t->p->conn, slice_str(command))) {
        no_answer(t);
        return false;
    }
    return read_reply(t, kind, t->p->params->silence_ms);
}

/* Asks for TLS, and begins it. */
static bool start_tls(struct talking *t, const char *command, enum reply_kind kind)
{
    if (!t->reply.has_starttls) {
        trouble(t, "STARTTLS is not offered", SLICE(""));
        return false;
    }
    if (!ask(t, command, kind))
        return false;
    if (!t->reply.is_ok) {
        trouble(t, "the server refuses STARTTLS: ", slice_str(t->reply.text));
        return false;
    }
    return begin_tls(t);
}

static void keep_reply(struct talking *t)
{
    keep_caps(t, slice_str(t->reply.caps));
    if (t->reply.server[0])
        text_set(t->report->server, sizeof t->report->server, slice_str(t->reply.server));
    if (!t->is_tls)
        t->report->offers_starttls = t->reply.has_starttls;
}

/* ---- SMTP and LMTP ---- */

static bool hello(struct talking *t, const char *verb)
{
    struct addr own = conn_own(&t->p->conn);
    char text[ADDR_TEXT], command[ADDR_TEXT + 32];
    const char *from;

    own.in6.sin6_scope_id = own.sa.sa_family == AF_INET6 ? 0 : own.in6.sin6_scope_id;
    addr_format(&own, text);
    from = text[0] == '[' ? text + 1 : text;
    /* An address literal, RFC 5321 section 4.1.3. */
    snprintf(command, sizeof command, "%s [%s%.*s]\r\n", verb, text[0] == '[' ? "IPv6:" : "",
             (int)strcspn(from, text[0] == '[' ? "]" : ":"), from);
    return ask(t, command, REPLY_SMTP);
}

/* A greeting need not say whether it is SMTP's or LMTP's, or FTP's; the answers do. False: the
 * dialogue has broken off, or it is none of them. */
static bool say_hello(struct talking *t)
{
    bool is_lmtp = t->report->speaks == SPEAKS_LMTP;
    unsigned code;

    if (!hello(t, is_lmtp ? "LHLO" : "EHLO"))
        return false;
    if (t->reply.is_ok)
        return true;
    t->is_refused = true;
    code = t->reply.code;
    if (!hello(t, is_lmtp ? "EHLO" : "LHLO"))
        return false;
    if (t->reply.is_ok) {
        t->report->speaks = is_lmtp ? SPEAKS_SMTP : SPEAKS_LMTP;
        return true;
    }
    if (!hello(t, "HELO"))
        return false;
    if (t->reply.is_ok)
        return true;
    if (code == 530) /* log in first: FTP, RFC 959 section 4.2 */
        t->report->speaks = SPEAKS_FTP;
    else
        trouble(t, "the server refuses EHLO: ", slice_str(t->reply.text));
    return false;
}

static void talk_smtp(struct talking *t)
{
    /* postscreen(8) begins a greeting and ends it seconds later, to see who cannot wait. */
    conn_step(&t->p->conn, patience_ms(t->p));
    if (!read_reply(t, REPLY_SMTP, patience_ms(t->p)))
        return;
    conn_step(&t->p->conn, step_ms(t->p));
    if (!t->reply.is_ok) {
        trouble(t, "the server refuses us: ", slice_str(t->reply.text));
        return;
    }
    if (!say_hello(t))
        return;
    keep_reply(t);
    if (t->wants_starttls) {
        if (!start_tls(t, "STARTTLS\r\n", REPLY_SMTP) || !say_hello(t))
            return;
        keep_reply(t);
    }
    say_goodbye(t, SLICE("QUIT\r\n"));
}

/* ---- POP3 ---- */

static bool ask_capa(struct talking *t)
{
    if (!ask(t, "CAPA\r\n", REPLY_POP3_LIST))
        return false;
    /* RFC 1939 alone has no CAPA. */
    t->is_refused = !t->reply.is_ok;
    keep_reply(t);
    return true;
}

static void talk_pop3(struct talking *t)
{
    if (!read_reply(t, REPLY_POP3, t->p->params->silence_ms))
        return;
    if (!t->reply.is_ok) {
        trouble(t, "the server refuses us: ", slice_str(t->reply.text));
        return;
    }
    if (!ask_capa(t))
        return;
    if (t->wants_starttls && (!start_tls(t, "STLS\r\n", REPLY_POP3) || !ask_capa(t)))
        return;
    say_goodbye(t, SLICE("QUIT\r\n"));
}

/* ---- ManageSieve ---- */

static void talk_sieve(struct talking *t)
{
    uint32_t wait_ms = t->p->params->silence_ms;

    if (!read_reply(t, REPLY_SIEVE, wait_ms))
        return;
    if (!t->reply.is_ok) {
        trouble(t, "the server refuses us: ", slice_str(t->reply.text));
        return;
    }
    keep_reply(t);
    if (!ask(t, "CAPABILITY\r\n", REPLY_SIEVE))
        return;
    t->is_refused = !t->reply.is_ok;
    /* They are told anew by themselves then, RFC 5804 section 2.2. */
    if (t->wants_starttls) {
        if (!start_tls(t, "STARTTLS\r\n", REPLY_SIEVE) || !read_reply(t, REPLY_SIEVE, wait_ms))
            return;
        keep_reply(t);
    }
    say_goodbye(t, SLICE("LOGOUT\r\n"));
}

/* ---- IMAP ---- */

static struct slice value_of(const struct id_pair *pairs, size_t n, struct slice key)
{
    for (size_t i = 0; i < n; i++)
        if (slice_ieq(pairs[i].key, key))
            return pairs[i].value;
    return (struct slice){0};
}

static void keep_id(struct talking *t, struct slice list)
{
    struct lex l = lex_start(list);
    char *copy = list.n > 0 ? malloc(list.n) : NULL, *out = t->report->server;
    struct id_pair pairs[ID_PAIRS];
    size_t n = 0;

    if (copy && id_parse(&l, copy, pairs, &n) && n > 0) {
        struct slice version = value_of(pairs, n, SLICE("version"));

        text_set(out, PROBE_TEXT, value_of(pairs, n, SLICE("name")));
        text_add(out, PROBE_TEXT, out[0] && version.n > 0 ? SLICE(" ") : SLICE(""));
        text_add(out, PROBE_TEXT, version);
    }
    free(copy);
}

/* One step on. False: the dialogue is over. */
static bool imap_step(struct talking *t, struct imapc *c)
{
    enum imapc_outcome outcome = imapc_step(c);
    struct buf *out = imapc_out(c);

    if (buf_len(out) > 0 && !conn_write(&t->p->conn, buf_slice(out))) {
        no_answer(t);
        return false;
    }
    buf_take(out, buf_len(out));
    switch (outcome) {
    case IMAPC_MORE:
        switch (conn_read(&t->p->conn, imapc_in(c), t->p->params->silence_ms)) {
        case HEARD_BYTES:
            return true;
        case HEARD_END:
            imapc_closed(c);
            return true;
        case HEARD_SILENCE:
        case HEARD_BROKEN:
            no_answer(t);
            return false;
        }
        break;
    case IMAPC_STARTTLS:
        if (!begin_tls(t))
            return false;
        imapc_tls_started(c);
        return true;
    case IMAPC_DONE:
        return false;
    case IMAPC_FAILED:
        t->is_refused = imapc_stage(c) > IMAPC_STAGE_GREETING;
        trouble(t, "", slice_str(imapc_failure(c)));
        return false;
    }
    INSIST(false);
}

static void talk_imap(struct talking *t)
{
    static const struct id_pair us[] = {{SLICE("name"), SLICE("usher"), false}};
    const struct imapc_params params = {
        .only_looks = true,
        .wants_starttls = t->wants_starttls,
        .id = {us, 1},
        .max_line = CONN_IN,
        .max_untagged = CONN_IN,
    };
    struct imapc *c = imapc_new(&params);

    if (!c || buf_put(imapc_in(c), buf_slice(&t->p->conn.in)) < 0) {
        imapc_free(&c);
        conn_fail(&t->p->conn, ENOMEM, "an IMAP dialogue");
        return;
    }
    buf_take(&t->p->conn.in, buf_len(&t->p->conn.in));
    while (imap_step(t, c))
        ;
    keep_caps(t, imapc_capabilities(c));
    keep_id(t, imapc_id(c));
    if (!t->is_tls)
        t->report->offers_starttls = imapc_offers(c, "STARTTLS") && !imapc_is_preauth(c);
    if (imapc_step(c) == IMAPC_DONE)
        say_goodbye(t, SLICE("bye LOGOUT\r\n"));
    imapc_free(&c);
}

/* ---- HTTP ---- */

static void talk_http(struct talking *t)
{
    if (read_reply(t, REPLY_HTTP, t->p->params->silence_ms))
        keep_reply(t);
}

/* ---- all ---- */

bool talk(struct probe *p, struct probe_report *r, bool is_tls, bool wants_starttls)
{
    struct talking t = {.p = p, .report = r, .is_tls = is_tls, .wants_starttls = wants_starttls};

    conn_step(&p->conn, step_ms(p));
    switch (r->speaks) {
    case SPEAKS_IMAP:
        talk_imap(&t);
        break;
    case SPEAKS_POP3:
        talk_pop3(&t);
        break;
    case SPEAKS_SMTP:
    case SPEAKS_LMTP:
        talk_smtp(&t);
        break;
    case SPEAKS_SIEVE:
        talk_sieve(&t);
        break;
    case SPEAKS_HTTP:
        talk_http(&t);
        break;
    case SPEAKS_NOTHING:
    case SPEAKS_UNKNOWN:
    case SPEAKS_ADMIND:
    case SPEAKS_SSH:
    case SPEAKS_FTP:
    case SPEAKS_NNTP:
    case SPEAKS_TLS:
    case SPEAKS_COUNT:
        break;
    }
    return !t.is_refused;
}
