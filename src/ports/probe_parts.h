/* What the files of the probe share; see ports/probe.h.
 *
 *     probe.c         which questions are asked, in which order, and what follows from the answers
 *     probe_try.c     one of them, from connecting to what is found
 *     probe_conn.c    a connection (net/conn.h): its beginning, and TLS
 *     probe_talk.c    the dialogues behind a greeting
 *     probe_reply.c   what servers answer, line by line; pure
 *     probe_text.c    foreign bytes made fit to be shown; pure
 *     recognize.c     whose greeting it is; pure
 */
#ifndef USHER_PORTS_PROBE_PARTS_H
#define USHER_PORTS_PROBE_PARTS_H

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "net/conn.h"
#include "net/loop.h"
#include "ports/probe.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --- probe_text.c ----------------------------------------------------------------------------- */

/* Puts `s` behind the text in `out`, as term_escape() of base/term.h makes it readable, cut to
 * `cap` between characters. */
void text_add(char *out, size_t cap, struct slice s);

/* The same from the beginning. */
void text_set(char *out, size_t cap, struct slice s);

/* Puts each word of `s` behind the list in `out`, with one blank between; one that does not fit is
 * left out, with all behind it. */
void text_add_words(char *out, size_t cap, struct slice s);

/* Puts one word there that is made of parts: "SASL", "PLAIN LOGIN" become "SASL=PLAIN,LOGIN". */
void text_add_item(char *out, size_t cap, struct slice key, struct slice values);

/* --- probe_reply.c ---------------------------------------------------------------------------- */

enum reply_kind {
    REPLY_SMTP,      /* RFC 5321 section 4.2; of EHLO's, the extensions are kept */
    REPLY_POP3,      /* +OK or -ERR (RFC 1939 section 3) */
    REPLY_POP3_LIST, /* the same, with lines behind it up to "."; CAPA's (RFC 2449 section 5) */
    REPLY_SIEVE,     /* capabilities, if any, up to OK, NO or BYE (RFC 5804 section 1.7) */
    REPLY_HTTP,      /* the head of a response (RFC 9112 section 4) */
};

/* More lines in one answer than this are as none. */
enum { REPLY_LINES = 200 };

/* An answer while its lines come. Texts are fit to be shown. */
struct reply {
    enum reply_kind kind;
    unsigned lines;
    unsigned code; /* SMTP, HTTP */
    bool is_ok;    /* SMTP: 2xx; POP3: +OK; ManageSieve: OK; HTTP: always */
    bool has_starttls;
    char text[PROBE_TEXT];   /* the first line; ManageSieve: the last */
    char caps[PROBE_CAPS];   /* words; "KEY=VALUE,VALUE" where there are values */
    char server[PROBE_TEXT]; /* IMPLEMENTATION, or Server */
};

enum reply_result { REPLY_MORE, REPLY_WHOLE, REPLY_BAD };

void reply_start(struct reply *r, enum reply_kind kind);

/* The next line, with or without its end. After WHOLE or BAD the next call must be reply_start().
 */
enum reply_result reply_line(struct reply *r, struct slice line);

/* --- recognize.c ------------------------------------------------------------------------------ */

/* Whether the beginning of what was read from a peer that was greeted with TLS is TLS: an alert, or
 * a server's hello. An echo of our own hello is none. 0: more bytes are needed; 1: yes; -1: no. */
int tls_recognize(struct slice s);

/* Whether a first line complains: about a PROXY header, if that was sent before. */
bool is_complaint(struct slice line);

/* Whether it is how a server begins that likes its client, and not an answer. */
bool is_welcome(struct slice line);

/* --- probe_conn.c ----------------------------------------------------------------------------- */

/* A probe: what it is asked for, its loop, and its connection of the moment. */
struct probe {
    const struct probe_params *params;
    struct loop *loop;
    struct tls_context *tls; /* NULL until it is needed */
    unsigned connections;
    struct conn conn;
};

/* Within which a peer that answers has to come to an end. */
static inline uint32_t step_ms(const struct probe *p)
{
    return 3 * p->params->silence_ms;
}

/* For those who greet late: with 2 s of silence, the 6 s of postscreen(8) and a little. */
static inline uint32_t patience_ms(const struct probe *p)
{
    return p->params->silence_ms / 2 * 7;
}

/* Connects. False: p->conn.trouble tells why not, or we have failed. */
bool probe_connect(struct probe *p);

/* What came of a handshake. */
enum shaken {
    SHAKEN_OK,
    SHAKEN_NOT_TLS, /* the peer has answered something else: `out_said` is its first bytes, none
                       when they were there too early */
    SHAKEN_FAILED,  /* it speaks TLS, but not with us: p->conn.trouble */
    SHAKEN_NOTHING, /* no answer: p->conn.last says whether it is silent or has gone away */
};

/* `out_said` has room for PROBE_TEXT bytes. */
enum shaken probe_shake(struct probe *p, char *out_said, size_t *out_said_n);

/* --- probe_talk.c ----------------------------------------------------------------------------- */

/* Asks a server that has greeted as `r->speaks` what it can do. p->conn.in begins with the
 * greeting; of HTTP, whose question is out already, with the answer. With `wants_starttls` TLS is
 * begun first, and what is told within counts. Puts down what it finds: capabilities, the server's
 * name, whether STARTTLS is offered, what TLS tells; r->speaks when it turns out to be another;
 * r->trouble when the dialogue breaks off.
 *
 * `is_tls`: all of it is within TLS already. False: the first question was not understood, as when
 * something before it was taken for a question. */
bool talk(struct probe *p, struct probe_report *r, bool is_tls, bool wants_starttls);

/* Takes down what TLS tells, after a handshake. */
void talk_look_at_tls(struct probe *p, struct probe_report *r);

/* --- probe_try.c ------------------------------------------------------------------------------ */

/* A question: one connection. */
struct question {
    unsigned proxy; /* enum probe_proxy: the header that is sent first */
    bool is_tls;    /* TLS at once */
    bool is_http;   /* ask for HTTP, and do not wait for a greeting */
    bool wants_starttls;
    uint32_t wait_ms; /* for a greeting */
};

enum answer {
    ANSWER_NONE,     /* not connected, or no time left */
    ANSWER_SILENCE,  /* it waits for something else */
    ANSWER_GONE,     /* it has closed without a word */
    ANSWER_FOREIGN,  /* it has said something that is no answer to the question */
    ANSWER_GREETING, /* it has greeted, or answered what was asked: the report tells */
};

struct attempt {
    enum answer answer;
    bool has_tls;      /* TLS was spoken, also when nothing within it was */
    bool is_refused;   /* talk() was false */
    bool is_complaint; /* the first line is_complaint() */
    bool is_welcome;   /* the first line is_welcome() */
    struct probe_report
        report; /* FOREIGN: `greeting` was said, by `speaks` if it were a greeting */
};

/* Asks. `a->report` is all zero but for what was found. */
void attempt_run(struct probe *p, const struct question *q, struct attempt *a);

#endif
