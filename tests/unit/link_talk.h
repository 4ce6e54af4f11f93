/* Servers for test_link_*.c that let us in and then act by a function of their own, and what they
 * and the tests say and hear. */
#ifndef USHER_TESTS_UNIT_LINK_TALK_H
#define USHER_TESTS_UNIT_LINK_TALK_H

#include "link_world.h"

#include <netinet/tcp.h>

/* Greets, and takes the login; within TLS if it is meant to be. */
static inline bool let_in(struct side *s, const char *capabilities)
{
    char line[256];
    int on = 1;

    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (s->peer->is_tls && !side_shake(s))
        return false;
    return side_say(s, HI) && side_line(s, line, sizeof line) && side_line(s, line, sizeof line) &&
           side_say(s, "U1 OK\r\nU2 OK [CAPABILITY IMAP4rev1 ") && side_say(s, capabilities) &&
           side_say(s, "] In\r\n");
}

/* The tag of a command, as a string; false: the other side has gone. */
static inline bool side_command(struct side *s, char *line, size_t cap, char tag[16])
{
    if (!side_line(s, line, cap))
        return false;
    snprintf(tag, 16, "%.*s", (int)strcspn(line, " \r\n"), line);
    return true;
}

static inline void answer_tag(struct side *s, const char *tag, const char *text)
{
    char answer[128];

    snprintf(answer, sizeof answer, "%s %s\r\n", tag, text);
    (void)side_say(s, answer);
}

static SSL_CTX *server;
static struct tls_context *context;

static inline int make_tls(void **state)
{
    const struct tls_client_params params = {.verifies = false};
    struct cert cert = cert_make("mail.example.org", "DNS:mail.example.org", NULL, 10, NULL);
    struct err err;

    (void)state;
    server = peer_tls(&cert);
    cert_free(&cert);
    return tls_client_new(&params, &context, &err);
}

static inline int free_tls(void **state)
{
    (void)state;
    tls_context_free(&context);
    SSL_CTX_free(server);
    return 0;
}

static inline void begin(struct world *w, struct peer *p, void (*serve)(struct side *s))
{
    p->serve = serve;
    p->tls = server;
    peer_start(p);
    world_begin(w, p, LONG_MS);
    w->side.tls = p->is_tls ? SYNC_TLS_IMPLICIT : SYNC_TLS_OFF;
    w->side.tls_context = context;
    assert_open(w);
}

static inline void end(struct world *w, struct peer *p)
{
    world_end(w);
    peer_stop(p);
}

/* --- what is said and heard ------------------------------------------------------------------- */

static inline char *with_literal(const char *before, size_t n, const char *after)
{
    char *text = malloc(strlen(before) + n + strlen(after) + 32), *at = text;

    at += sprintf(at, "%s{%zu}\r\n", before, n);
    memset(at, 'x', n);
    strcpy(at + n, after);
    return text;
}

/* All that comes, as one text. */
struct told {
    char text[1024];
    uint64_t bytes, sum;
};

static inline void add_text(struct told *t, struct slice s)
{
    size_t n = strlen(t->text);

    snprintf(t->text + n, sizeof t->text - n, "%.*s", SLICE_ARG(s));
}

static inline int tell(void *arg, struct pipeline *p, enum pipeline_event event, struct err *err)
{
    struct told *t = arg;
    struct slice bytes;

    (void)err;
    switch (event) {
    case PIPELINE_DATA:
        add_text(t, pipeline_response(p)->word);
        add_text(t, SLICE(":"));
        add_text(t, pipeline_response(p)->text);
        add_text(t, SLICE(";"));
        return 0;
    case PIPELINE_BODY:
        add_text(t, SLICE("<"));
        return 0;
    case PIPELINE_BYTES:
        bytes = pipeline_bytes(p);
        if (bytes.n < 64)
            add_text(t, bytes);
        t->bytes += bytes.n;
        for (size_t i = 0; i < bytes.n; i++)
            t->sum = t->sum * 31 + (unsigned char)bytes.p[i];
        return 0;
    case PIPELINE_BODY_END:
        add_text(t, SLICE(">"));
        return 0;
    case PIPELINE_PLUS:
    case PIPELINE_TAGGED:
    case PIPELINE_MORE:
    case PIPELINE_FAILED:
        break;
    }
    fail_msg("event %d", (int)event);
    return -1;
}

#endif
