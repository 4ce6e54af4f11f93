/* Servers to be probed: each a thread with a listening socket, one connection at a time, that acts
 * by a small script or a function of its own. */
#ifndef USHER_TESTS_UNIT_PROBE_PEERS_H
#define USHER_TESTS_UNIT_PROBE_PEERS_H

#include "certs.h"

#include "base/addr.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

/* What is answered to a line that holds `asked`. "%" stands for the line's first word, IMAP's tag.
 * STARTTLS: TLS begins behind the answer. */
struct exchange {
    const char *asked, *answer;
    bool starts_tls;
};

enum { TAKES_V1 = 1, TAKES_V2 = 2 };

struct peer;

/* One connection from the server's side. */
struct side {
    const struct peer *peer;
    int fd;
    SSL *tls;
    unsigned number; /* from 1 */
    bool is_tls_first_done;
};

struct peer {
    /* The script. */
    const char *greeting;             /* NULL: none */
    const struct exchange *exchanges; /* up to one without `asked`, whose answer is for all else */
    unsigned header;                  /* TAKES_*: who sends another, or none, is dropped */
    const char *to_nonsense;          /* who is dropped is told this before */
    bool is_tls;                      /* from the first byte */
    unsigned late_ms;                 /* greets so much later */
    unsigned late_first;              /* only the first so many connections; 0: all */
    SSL_CTX *tls;
    void (*serve)(struct side *s); /* in place of the script */

    /* What came of it: to be read after peer_stop(). */
    unsigned connections;
    unsigned truths;  /* headers that told the addresses of their connections */
    char heard[8192]; /* all lines, of all connections */

    int listener;
    struct addr addr;
    pthread_t thread;
};

static inline bool side_write(struct side *s, const void *p, size_t n)
{
    if (s->tls)
        return SSL_write(s->tls, p, (int)n) == (int)n;
    return send(s->fd, p, n, MSG_NOSIGNAL) == (ssize_t)n;
}

static inline bool side_say(struct side *s, const char *words)
{
    return words[0] == '\0' || side_write(s, words, strlen(words));
}

/* Exactly so many bytes. */
static inline bool side_read(struct side *s, void *p, size_t n)
{
    for (size_t at = 0; at < n;) {
        char *to = (char *)p + at;
        ssize_t got = s->tls ? SSL_read(s->tls, to, (int)(n - at)) : read(s->fd, to, n - at);

        if (got <= 0)
            return false;
        at += (size_t)got;
    }
    return true;
}

/* With its end, as a string. */
static inline bool side_line(struct side *s, char *line, size_t cap)
{
    size_t n = 0;

    while (n + 1 < cap) {
        if (!side_read(s, line + n, 1))
            return false;
        if (line[n++] == '\n') {
            line[n] = '\0';
            return true;
        }
    }
    return false;
}

static inline bool side_shake(struct side *s)
{
    s->tls = SSL_new(s->peer->tls);
    SSL_set_fd(s->tls, s->fd);
    return SSL_accept(s->tls) == 1;
}

/* Until the other side closes. */
static inline void side_drain(struct side *s)
{
    char c;

    while (side_read(s, &c, 1))
        ;
}

/* Closes so that the other side is told of a reset. */
static inline void side_reset(struct side *s)
{
    struct linger at_once = {.l_onoff = 1};

    setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

static inline bool tells_truth(const struct side *s, const char *header)
{
    struct sockaddr_in from, to;
    socklen_t n = sizeof from;
    char expected[108], a[INET_ADDRSTRLEN], b[INET_ADDRSTRLEN];

    getpeername(s->fd, (struct sockaddr *)&from, &n);
    getsockname(s->fd, (struct sockaddr *)&to, &n);
    snprintf(expected, sizeof expected, "PROXY TCP4 %s %s %u %u\r\n",
             inet_ntop(AF_INET, &from.sin_addr, a, sizeof a),
             inet_ntop(AF_INET, &to.sin_addr, b, sizeof b), ntohs(from.sin_port),
             ntohs(to.sin_port));
    return strcmp(header, expected) == 0;
}

/* Section numbers are those of HAProxy's doc/proxy-protocol.txt. Both versions as a line of version
 * 1; false: it is none that is taken. */
static inline bool side_header(struct side *s, char line[108])
{
    static const char signature[] = "\r\n\r\n\0\r\nQUIT\n";
    unsigned char head[16], body[12];
    char a[INET_ADDRSTRLEN], b[INET_ADDRSTRLEN];

    if (!side_read(s, head, 12))
        return false;
    if (memcmp(head, "PROXY ", 6) == 0) {
        memcpy(line, head, 12);
        return side_line(s, line + 12, 96) && s->peer->header & TAKES_V1;
    }
    if (memcmp(head, signature, 12) != 0 || !side_read(s, head + 12, 4) || head[12] != 0x21 ||
        head[13] != 0x11 || head[15] != 12 || !side_read(s, body, 12))
        return false;
    snprintf(line, 108, "PROXY TCP4 %s %s %u %u\r\n", inet_ntop(AF_INET, body, a, sizeof a),
             inet_ntop(AF_INET, body + 4, b, sizeof b), body[8] << 8 | body[9],
             body[10] << 8 | body[11]);
    return s->peer->header & TAKES_V2;
}

static inline bool side_answer(struct side *s, const char *line)
{
    const struct exchange *e = s->peer->exchanges;
    size_t tag = strcspn(line, " \r\n");

    while (e->asked && !strcasestr(line, e->asked))
        e++;
    for (const char *p = e->answer; *p; p++) {
        if (!side_write(s, *p == '%' ? line : p, *p == '%' ? tag : 1))
            return false;
    }
    return !e->starts_tls || side_shake(s);
}

/* Waits as long as it is to greet late; early words are left lying. False: the other side has gone.
 */
static inline bool side_is_late(struct side *s)
{
    const struct peer *p = s->peer;
    struct pollfd gone = {.fd = s->fd, .events = POLLRDHUP};

    return p->late_ms == 0 || (p->late_first && s->number > p->late_first) ||
           poll(&gone, 1, (int)p->late_ms) == 0;
}

static inline void side_script(struct side *s)
{
    struct peer *p = (struct peer *)s->peer;
    char line[1024], header[108] = "";

    if (p->header && !side_header(s, header)) {
        if (p->to_nonsense)
            (void)side_say(s, p->to_nonsense);
        return;
    }
    p->truths += p->header && tells_truth(s, header);
    if (p->is_tls && !side_shake(s))
        return;
    if (!side_is_late(s) || (p->greeting && !side_say(s, p->greeting)))
        return;
    while (p->exchanges && side_line(s, line, sizeof line)) {
        strncat(p->heard, line, sizeof p->heard - strlen(p->heard) - 1);
        if (!side_answer(s, line))
            return;
    }
    if (!p->exchanges)
        side_drain(s);
}

static inline void *peer_run(void *arg)
{
    struct peer *p = arg;

    for (;;) {
        struct side s = {.peer = p, .fd = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC)};

        if (s.fd < 0)
            return NULL;
        s.number = ++p->connections;
        (p->serve ? p->serve : side_script)(&s);
        SSL_free(s.tls);
        ERR_clear_error();
        close(s.fd);
    }
}

static inline void peer_start(struct peer *p)
{
    socklen_t n = sizeof p->addr.in;

    p->addr.in =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(p->listener, &p->addr.sa, n), 0);
    assert_int_equal(listen(p->listener, 16), 0);
    assert_int_equal(getsockname(p->listener, &p->addr.sa, &n), 0);
    assert_int_equal(pthread_create(&p->thread, NULL, peer_run, p), 0);
}

static inline void peer_stop(struct peer *p)
{
    shutdown(p->listener, SHUT_RDWR);
    assert_int_equal(pthread_join(p->thread, NULL), 0);
    close(p->listener);
}

/* A server's side of TLS with this certificate. */
static inline SSL_CTX *peer_tls(const struct cert *c)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    assert_int_equal(SSL_CTX_use_certificate(ctx, c->x509), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(ctx, c->key), 1);
    SSL_CTX_set_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
    return ctx;
}

#endif
