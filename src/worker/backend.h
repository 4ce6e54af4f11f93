/* What sessions and probes have in common towards a backend: how it is known by its certificate,
 * what it is told by the PROXY header, limits, and whose fault it is. Private to worker/, and to
 * `usher login`, which does as they do.
 */
#ifndef USHER_WORKER_BACKEND_H
#define USHER_WORKER_BACKEND_H

#include "base/err.h"
#include "ipc/message.h"
#include "net/stream.h"

#include <stdbool.h>

struct conf_backend;
struct imapc;
struct proxy_info;

enum {
    /* A backend's line; a capability list of a large server has 1 to 2 KiB. */
    BACKEND_LINE_MAX = 16 * 1024,
    BACKEND_UNTAGGED_MAX = 16 * 1024
};

/* The name that its certificate must have: b's own text, or written into `out`. */
enum { BACKEND_NAME = 256 };
const char *backend_tls_name(const struct conf_backend *b, char out[BACKEND_NAME]);

/* After the handshake: -1 when there are pins (tls_pin) and none is that of the key that the
 * backend has shown. */
int backend_check_pin(const struct conf_backend *b, const struct stream *s,
                      struct err *err) MUST_CHECK;

/* Sends the PROXY header in the version that the backend is to have, if any. To be called first. */
int backend_send_proxy(const struct conf_backend *b, const struct proxy_info *info,
                       struct stream *s, struct err *err) MUST_CHECK;

/* Sends what lies in the dialogue's output, as far as it goes now, and has the stream call for what
 * is to come next. IO_OK, or IO_FAILED: stream_error(). */
enum io backend_flush(struct loop *loop, struct stream *s, struct imapc *imapc);

/* Reads a piece into the dialogue's input. IO_OK, IO_AGAIN; with IO_EOF, which the dialogue is told
 * of, and IO_FAILED the words tell. */
enum io backend_read(struct stream *s, struct imapc *imapc, struct err *err);

/* The commonest mistake between a proxy and port 10143: one side wants a PROXY header and the other
 * does not send it, or the other way round. The one hangs or hangs up, the other answers rubbish.
 * For the log, behind the words of a failure; "" where that cannot be it. `imapc`: the dialogue
 * that has failed; NULL: it had not begun, or was in the middle of a handshake. */
const char *backend_proxy_hint(const struct conf_backend *b, const struct imapc *imapc);

/* Whose fault an error of dialling, of a stream or of memory is: ours are want of descriptors or
 * memory, and source addresses that cannot be used. */
enum fault backend_fault(const struct err *err);

#endif
