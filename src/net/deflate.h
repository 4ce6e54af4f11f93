/* COMPRESS=DEFLATE (RFC 4978): both directions of a connection, between its bytes and ours. zlib,
 * seen by deflate.c alone: raw deflate, windows of 32 KiB. Never touches a socket. */
#ifndef USHER_NET_DEFLATE_H
#define USHER_NET_DEFLATE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>

struct deflate;

/* NULL when memory is out (some 300 KiB). */
struct deflate *deflate_new(void);

/* Clears *d; harmless when it is NULL. */
void deflate_free(struct deflate **d);

/* What the peer has sent becomes bytes behind `to`, as far as it has room (buf_left): *out_used
 * says how many of `wire` were used. Call again with the rest when there is room; with an empty
 * `wire` too, until nothing comes any more: zlib may hold back what did not fit. -1: it is no
 * deflate, its end (which RFC 4978 does not know), or memory. */
int deflate_read(struct deflate *d, struct slice wire, size_t *out_used, struct buf *to,
                 struct err *err) MUST_CHECK;

/* Ours become bytes for the wire behind `to`, as far as it has room; *out_used of `plain` were
 * taken. `is_all`: nothing follows for now, so all that was taken must reach the peer (a sync
 * flush); *out_is_flushed says whether it has, else call again when `to` has room. */
int deflate_write(struct deflate *d, struct slice plain, bool is_all, size_t *out_used,
                  bool *out_is_flushed, struct buf *to, struct err *err) MUST_CHECK;

#endif
