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

/* What the peer has sent becomes bytes behind `to`, as far as it has room (buf_left), however much
 * it would become: *out_used says how many of `wire` were used. If `to` is full then, call again
 * with the rest when there is room, with an empty one too, as zlib may hold back what did not fit;
 * if it is not, all of `wire` was used and nothing is held back. -1: it is no deflate, its end
 * (which RFC 4978 does not know), or memory; no byte can be read any more. */
int deflate_read(struct deflate *d, struct slice wire, size_t *out_used, struct buf *to,
                 struct err *err) MUST_CHECK;

/* Ours become bytes for the wire behind `to`, as far as it has room, DEFLATE_ROOM at least (with
 * less nothing is done); *out_used of `plain` were taken. `is_all`: nothing follows for now, so all
 * that was taken must reach the peer (a sync flush); *out_is_flushed says whether it has, else call
 * again with the rest, and `is_all`, when `to` has room. Where nothing was taken since the last
 * flush there is none. -1: memory. */
enum { DEFLATE_ROOM = 7 };
int deflate_write(struct deflate *d, struct slice plain, bool is_all, size_t *out_used,
                  bool *out_is_flushed, struct buf *to, struct err *err) MUST_CHECK;

#endif
