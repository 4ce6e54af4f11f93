/* What stream.c and tls*.c share. stream.c calls these for a stream that has TLS; everything that
 * knows OpenSSL is behind them. Nobody else includes this.
 */
#ifndef USHER_NET_TLS_INTERNAL_H
#define USHER_NET_TLS_INTERNAL_H

#include "base/err.h"
#include "base/slice.h"
#include "net/stream.h"

#include <stdbool.h>
#include <stddef.h>

/* stream.tls_needs, bits: what the last call of each kind must wait for against its nature. */
enum {
    TLS_NEEDS_WRITE_TO_READ = 1,
    TLS_NEEDS_READ_TO_WRITE = 2,
    TLS_NEEDS_READ_TO_SHAKE = 4,
    TLS_NEEDS_WRITE_TO_SHAKE = 8,
    TLS_NEEDS_SHAKE = TLS_NEEDS_READ_TO_SHAKE | TLS_NEEDS_WRITE_TO_SHAKE
};

/* Each sets s->tls_needs and, with IO_FAILED, s->error; the contracts are those of stream.h. */
enum io tls_stream_read(struct stream *s, void *p, size_t cap, size_t *out_n);
enum io tls_stream_write(struct stream *s, struct slice data, size_t *out_n);
enum io tls_stream_handshake(struct stream *s, bool reads);

/* Whether anything lies inside TLS, be it only a part of a record. */
bool tls_stream_holds_bytes(const struct stream *s);

/* Sends close_notify if it can go now. */
void tls_stream_finish(struct stream *s);

const char *tls_stream_version(const struct stream *s);

/* Frees s->tls. */
void tls_stream_free(struct stream *s);

/* The words for s->error, which is OpenSSL's. */
void tls_stream_error(const struct stream *s, struct err *err);

/* Fills `err` with OpenSSL's reason for packed code `code` behind the text, and returns -1. */
int tls_error(struct err *err, unsigned long code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Takes OpenSSL's oldest pending error, the closest to the cause, and forgets the others. */
unsigned long tls_take_error(void);

#endif
