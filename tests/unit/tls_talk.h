/* Two streams in one process that speak TLS with each other, for tests of contexts. All of a
 * handshake happens at once, as on a socket pair everything is there when it was written. */
#ifndef USHER_TESTS_TLS_TALK_H
#define USHER_TESTS_TLS_TALK_H

#include "certs.h"
#include "net/loop.h"
#include "net/stream.h"
#include "net/tls.h"

#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

struct talk {
    struct loop *loop;
    struct stream s, c; /* server and client */
    enum io io_s, io_c; /* what the handshake came to */
};

static inline void talk_on_nothing(struct watch *w, unsigned events)
{
    (void)w;
    (void)events;
}

/* TLS begun. The contexts are not taken over. */
static inline void talk_begin(struct talk *t, struct tls_context *server,
                              struct tls_context *client, const char *name)
{
    struct err err;
    int fds[2];

    t->loop = loop_new(&err);
    assert_non_null(t->loop);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    stream_init(&t->s, fds[0], talk_on_nothing);
    stream_init(&t->c, fds[1], talk_on_nothing);
    assert_int_equal(stream_tls_accept(&t->s, server, &err), 0);
    assert_int_equal(stream_tls_connect(&t->c, client, name, &err), 0);
    t->io_s = t->io_c = IO_AGAIN;
}

static inline void talk_shake(struct talk *t)
{
    for (int i = 0; i < 10; i++) {
        if (t->io_c == IO_AGAIN)
            t->io_c = stream_handshake(&t->c);
        if (t->io_s == IO_AGAIN)
            t->io_s = stream_handshake(&t->s);
    }
}

static inline void talk_end(struct talk *t)
{
    stream_close(t->loop, &t->c);
    stream_close(t->loop, &t->s);
    loop_free(&t->loop);
}

static inline void assert_talks(const struct talk *t)
{
    assert_int_equal(t->io_c, IO_OK);
    assert_int_equal(t->io_s, IO_OK);
}

/* The words of a side that failed. */
static inline void assert_words(struct stream *s, const char *words)
{
    struct err err = {0};

    assert_true(stream_error_is_tls(s));
    stream_error(s, &err);
    if (!strstr(err.text, words))
        fail_msg("\"%s\" does not say \"%s\"", err.text, words);
}

/* A byte from one side to the other. */
static inline void assert_passes(struct stream *from, struct stream *to)
{
    char c = 0;
    size_t n;

    assert_int_equal(stream_write(from, SLICE("x"), &n), IO_OK);
    assert_int_equal(stream_read(to, &c, 1, &n), IO_OK);
    assert_int_equal(c, 'x');
}

/* An identity with texts of its own; `name` is `text` of the certificate's common name. */
struct owned_identity {
    char *cert, *key;
    struct tls_identity identity;
};

static inline struct owned_identity identity_of(const struct cert *c, const struct cert *chain,
                                                const char *name)
{
    struct owned_identity o = {.cert = cert_pem(c, chain), .key = key_pem(c, NULL)};

    o.identity = (struct tls_identity){name, slice_str(o.cert), slice_str(o.key)};
    return o;
}

static inline void identity_done(struct owned_identity *o)
{
    free(o->cert);
    free(o->key);
}

static inline struct tls_context *server_made(const struct tls_server_params *params)
{
    struct tls_context *ctx = NULL;
    struct err err = {0};

    if (tls_server_new(params, &ctx, &err) != 0)
        fail_msg("%s", err.text);
    return ctx;
}

static inline struct tls_context *client_made(const struct tls_client_params *params)
{
    struct tls_context *ctx = NULL;
    struct err err = {0};

    if (tls_client_new(params, &ctx, &err) != 0)
        fail_msg("%s", err.text);
    return ctx;
}

/* One that believes anybody. */
static inline struct tls_context *any_client(void)
{
    return client_made(&(struct tls_client_params){.verifies = false});
}

#endif
