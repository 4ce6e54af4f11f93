/* A connected byte stream, in clear or TLS: the only way in which the rest reads from and writes to
 * peers.
 *
 * Non-blocking throughout. stream_want() says what the owner waits for, in its own terms; when TLS
 * needs the other direction to go on (a key update, a handshake), the stream watches for that and
 * calls the owner all the same, with the events that it wanted, who just tries again. Embedded in
 * its owner, small: one watch, a descriptor, a pointer.
 *
 * How to read, so that nothing is left lying and no system call is wasted:
 *
 *     do
 *         io = stream_read(s, room, cap, &n);         // io is IO_OK: use the n bytes
 *     while (io == IO_OK && there is room && stream_has_pending(s));
 *
 * Then wait. What lies in the kernel makes an event again; what lies in TLS makes none, so an owner
 * who stopped for want of room goes on with stream_read() as soon as there is room, not waiting for
 * an event, if stream_has_pending() is still true.
 *
 * TLS: an end of the connection without close_notify counts as an end like any other (IO_EOF), as
 * many mail programs just close. That is acceptable for IMAP, which frames itself: a command
 * without its CRLF or its whole literal is not executed, and an answer that lacks its tagged line
 * is known to be cut off. OpenSSL writes with write(2): SIGPIPE is ignored by the process,
 * loop_new() sees to it.
 */
#ifndef USHER_NET_STREAM_H
#define USHER_NET_STREAM_H

#include "base/err.h"
#include "base/slice.h"
#include "net/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ssl_st;
struct tls_context;
struct tls_facts;

enum io {
    IO_OK,    /* some bytes went */
    IO_AGAIN, /* none now: wait for the callback */
    IO_EOF,   /* the peer has finished sending (TLS: with close_notify, or by a bare end of the
                 connection); writing may go on */
    IO_FAILED /* broken: stream_error(), then nothing but stream_close(); but when it was a write,
                 stream_read() may still find what the peer has said before it closed */
};

/* All fields are the stream's own. */
struct stream {
    struct watch watch;
    void (*cb)(struct watch *w, unsigned events);
    struct ssl_st *tls; /* NULL: in clear */
    uint32_t error;     /* what broke last: an errno value, or OpenSSL's packed code */
    uint8_t wants;      /* LOOP_READ | LOOP_WRITE, the owner's terms */
    uint8_t tls_needs;  /* what TLS must wait for in place of that: TLS_NEEDS_* */
    uint8_t tls_reads;  /* how often this call may still read from the socket */
    bool is_open : 1;
    bool is_dry : 1; /* the last read took all that can be decrypted by now */
    bool error_is_tls : 1;
};

_Static_assert(sizeof(struct stream) <= 80, "budget of an idle session");

/* Takes over a connected, non-blocking descriptor; sets TCP_NODELAY and keepalive. cb as in struct
 * watch. */
void stream_init(struct stream *s, int fd, void (*cb)(struct watch *w, unsigned events));

static inline struct stream *stream_of(struct watch *w)
{
    return CONTAINER(w, struct stream, watch);
}

/* For asking the kernel about the connection; reading and writing are the stream's. */
static inline int stream_fd(const struct stream *s)
{
    return s->watch.io.fd;
}

/* What to be called for: LOOP_READ, LOOP_WRITE, both or 0. Costs nothing when that is so already.
 */
void stream_want(struct loop *loop, struct stream *s, unsigned events);

/* Up to `cap` bytes (at least 1) into `p`; TLS: of one record at most. *out_n is set with IO_OK
 * only. */
enum io stream_read(struct stream *s, void *p, size_t cap, size_t *out_n);

/* As stream_read, but the bytes stay where they are and are read again: in clear, or, where TLS was
 * begun but nothing of the peer's was read, what it answers to stream_hello(): it need not be TLS.
 */
enum io stream_peek(struct stream *s, void *p, size_t cap, size_t *out_n);

/* As much of `data` as goes now; *out_n is set with IO_OK only, and less than data.n means that the
 * peer takes no more for now. What did not go may be tried again from other memory and with more
 * bytes behind it, but not with fewer or different ones: TLS may have sealed them already. */
enum io stream_write(struct stream *s, struct slice data, size_t *out_n);

/* Whether bytes lie inside TLS for which no event will come: read before waiting. Always false
 * after a read that said other than IO_OK, even if a part of a record lies there. */
bool stream_has_pending(const struct stream *s);

/* We have finished sending: close_notify where TLS, then FIN. Reading goes on. For when all was
 * written; never blocks and never fails: at worst the peer sees a bare end. */
void stream_finish(struct stream *s);

/* Begins TLS on a stream that is in clear so far; then stream_handshake() until it says IO_OK.
 * Client side: `name` is verified and sent as SNI (addresses are only verified); NULL: no
 * verification of the name. A context that does not verify does not verify the name either. */
int stream_tls_accept(struct stream *s, struct tls_context *tls, struct err *err) MUST_CHECK;
int stream_tls_connect(struct stream *s, struct tls_context *tls, const char *name,
                       struct err *err) MUST_CHECK;

/* IO_OK: done. IO_AGAIN: wait for the callback (it comes for whatever the handshake needs, as long
 * as the owner wants any event). IO_FAILED, also when the peer goes away: the words tell. After
 * IO_OK, bytes may be pending that came right behind the handshake. */
enum io stream_handshake(struct stream *s);

/* A client's hello alone, in place of the first stream_handshake(): nothing is read, so
 * stream_peek() sees what the peer makes of it. IO_AGAIN: said, or to be tried again when there is
 * room. */
enum io stream_hello(struct stream *s);

/* SHA-256 of the peer's public key (its SubjectPublicKeyInfo, as RFC 7469 pins it), after the
 * handshake. False when the peer has shown no certificate. */
bool stream_tls_key(const struct stream *s, unsigned char out_digest[32]);

/* Whose certificate the peer has shown: its subject as RFC 2253 writes it, in printable ASCII, cut
 * to `cap` (at least 1). False, with `out` untouched, when it has shown none. A session that was
 * resumed has that of its full handshake. */
bool stream_tls_subject(const struct stream *s, char *out, size_t cap);

/* The same of who has issued it. */
bool stream_tls_issuer(const struct stream *s, char *out, size_t cap);

/* What the peer's certificate says of itself, be it good or not. False, with *out_facts untouched,
 * when it has shown none or its dates cannot be read. */
bool stream_tls_facts(const struct stream *s, struct tls_facts *out_facts);

/* Why a client that believes the context's CAs, and means the name that stream_tls_connect() was
 * given, refuses the peer's certificate: each reason in OpenSSL's words, with ", " between, cut to
 * `cap` (at least 1); "" when it does not. For a client whose context does not verify; one that
 * does has done so. After the handshake; not for a session that was resumed, which lacks the chain.
 */
void stream_tls_distrust(const struct stream *s, char *out, size_t cap);

/* After the handshake: whether it went on with an earlier session. */
bool stream_tls_is_resumed(const struct stream *s);

/* Whether TLS wipes what it has deciphered as soon as it was read, and whatever of it is left when
 * it gives its memory back. On for every new connection, as passwords come that way; meant to be
 * turned off when they are through, since it is of no use then and costs bulk. What is written
 * needs no such care: TLS enciphers its copy in place. Does nothing in clear. */
void stream_tls_cleanse(struct stream *s, bool on);

/* "TLSv1.3"; "" in clear. */
const char *stream_tls_version(const struct stream *s);

/* "TLS_AES_256_GCM_SHA384", "ECDHE-RSA-AES128-GCM-SHA256": OpenSSL's names. After the handshake; ""
 * in clear. */
const char *stream_tls_cipher(const struct stream *s);

/* Words for what broke last (errno's or OpenSSL's, with the reason of a failed verification); takes
 * it away. */
void stream_error(struct stream *s, struct err *err);

/* Whether the last IO_FAILED was TLS' doing, not the connection's. */
bool stream_error_is_tls(const struct stream *s);

/* Whether it was a handshake's, and what the peer has sent is none of TLS. */
bool stream_error_is_foreign(const struct stream *s);

/* Stops watching, frees TLS, closes; says no more to the peer than the kernel does (a FIN). With
 * bytes unread this resets the connection, as the kernel does. Harmless twice. */
void stream_close(struct loop *loop, struct stream *s);

#endif
