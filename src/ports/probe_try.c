/* One question to a port: a connection, and what is found by it; see ports/probe_parts.h. */
#include "ports/probe_parts.h"

#include "base/addr.h"

#include <errno.h>
#include <stdio.h>

static void set_trouble(struct attempt *a, const char *words)
{
    text_set(a->report.trouble, sizeof a->report.trouble, slice_str(words));
}

/* The peer has not said a word, or not to the end of the first. */
static void end_without_a_word(struct probe *p, struct attempt *a)
{
    a->answer = p->conn.last == HEARD_SILENCE ? ANSWER_SILENCE : ANSWER_GONE;
    if (p->conn.last == HEARD_END)
        set_trouble(a, "the peer closes the connection without a word");
    else if (p->conn.last == HEARD_BROKEN)
        set_trouble(a, p->conn.trouble.text);
}

/* Puts down the first line of `s` and what it tells. */
static void take_down(struct attempt *a, struct slice s)
{
    const char *end = s.n > 0 ? memchr(s.p, '\n', s.n) : NULL;
    struct slice line = slice_sub(s, 0, end ? (size_t)(end - s.p) : s.n);

    if (line.n > 0 && line.p[line.n - 1] == '\r')
        line.n--;
    a->report.speaks = speaks_recognize(s, true);
    a->is_complaint = is_complaint(line);
    a->is_welcome = is_welcome(line);
    text_set(a->report.greeting, sizeof a->report.greeting, line);
}

/* Waits for a first line, or what is taken for one. False: there was nothing at all. */
static bool hear(struct probe *p, struct attempt *a, uint32_t wait_ms)
{
    conn_step(&p->conn, wait_ms + 2 * p->params->silence_ms);
    while (speaks_recognize(buf_slice(&p->conn.in), false) == SPEAKS_NOTHING) {
        if (conn_read(&p->conn, &p->conn.in, wait_ms) != HEARD_BYTES)
            break;
        wait_ms = p->params->silence_ms;
    }
    if (buf_len(&p->conn.in) == 0) {
        end_without_a_word(p, a);
        return false;
    }
    take_down(a, buf_slice(&p->conn.in));
    return true;
}

/* Only a greeting that is whole is answered. */
static void talk_on(struct probe *p, const struct question *q, struct attempt *a)
{
    struct slice s = buf_slice(&p->conn.in);

    a->answer = ANSWER_GREETING;
    if (memchr(s.p, '\n', s.n))
        a->is_refused = !talk(p, &a->report, q->is_tls, q->wants_starttls);
}

static void ask_for_greeting(struct probe *p, const struct question *q, struct attempt *a)
{
    if (hear(p, a, q->wait_ms))
        talk_on(p, q, a);
}

/* A name goes into the request if it can be one of a host. */
static bool is_host_name(const char *name)
{
    return name && name[0] &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") ==
               strlen(name) &&
           strlen(name) < TLS_NAME_TEXT;
}

static void ask_for_http(struct probe *p, const struct question *q, struct attempt *a)
{
    char request[TLS_NAME_TEXT + 128], address[ADDR_TEXT];
    const char *name =
        is_host_name(p->params->name) ? p->params->name : addr_format(&p->params->addr, address);

    snprintf(request, sizeof request,
             "HEAD / HTTP/1.1\r\nHost: %s\r\nUser-Agent: usher\r\nConnection: close\r\n\r\n", name);
    if (!conn_write(&p->conn, slice_str(request))) {
        end_without_a_word(p, a);
        return;
    }
    if (!hear(p, a, q->wait_ms))
        return;
    if (a->report.speaks == SPEAKS_HTTP)
        talk_on(p, q, a);
    else
        a->answer = ANSWER_FOREIGN;
}

/* False: no TLS, and the answer is set. */
static bool shake(struct probe *p, struct attempt *a)
{
    char said[PROBE_TEXT];
    size_t n;

    conn_step(&p->conn, step_ms(p));
    switch (probe_shake(p, said, &n)) {
    case SHAKEN_OK:
        a->has_tls = a->report.is_implicit_tls = true;
        talk_look_at_tls(p, &a->report);
        return true;
    case SHAKEN_FAILED:
        a->has_tls = a->report.is_implicit_tls = true;
        a->report.speaks = SPEAKS_TLS;
        a->answer = ANSWER_GREETING;
        set_trouble(a, p->conn.trouble.text);
        return false;
    case SHAKEN_NOT_TLS:
        a->answer = ANSWER_FOREIGN;
        take_down(a, slice_of(said, n));
        return false;
    case SHAKEN_NOTHING:
        end_without_a_word(p, a);
        return false;
    }
    INSIST(false);
}

void attempt_run(struct probe *p, const struct question *q, struct attempt *a)
{
    memset(a, 0, sizeof *a);
    if (!probe_connect(p)) {
        set_trouble(a, p->conn.trouble.text);
        /* A refusal has another code: who resets at once has accepted before. */
        if (p->conn.trouble.code == ECONNRESET && !p->conn.has_failed) {
            a->report.is_connected = true;
            a->answer = ANSWER_GONE;
        }
        return;
    }
    a->report.is_connected = true;
    conn_step(&p->conn, step_ms(p));
    if (q->proxy && !conn_write_header(&p->conn, q->proxy))
        end_without_a_word(p, a);
    else if (!q->is_tls || shake(p, a))
        (q->is_http ? ask_for_http : ask_for_greeting)(p, q, a);
    conn_close(&p->conn);
}
