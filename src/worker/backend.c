/* What sessions and probes have in common towards a backend. */
#include "worker/backend.h"

#include "base/addr.h"
#include "base/base64.h"
#include "base/buf.h"
#include "conf/conf.h"
#include "imapc/imapc.h"
#include "net/dial.h"
#include "net/proxy.h"

#include <errno.h>
#include <string.h>

/* At a time. */
enum { READ_LEAST = 1024 };

const char *backend_tls_name(const struct conf_backend *b, char out[BACKEND_NAME])
{
    struct slice host;
    uint16_t port;

    if (b->tls_name[0])
        return b->tls_name;
    /* The parent has checked the configuration. */
    INSIST(addr_split(slice_str(b->address), &host, &port, NULL) == 0 && host.n < BACKEND_NAME);
    memcpy(out, host.p, host.n);
    out[host.n] = '\0';
    return out;
}

int backend_check_pin(const struct conf_backend *b, const struct stream *s, struct err *err)
{
    const struct conf_list *pins = &b->tls_pin;
    char shown[BASE64_LEN(32)];
    unsigned char digest[32];

    if (pins->n == 0)
        return 0;
    if (!stream_tls_key(s, digest))
        return err_set(err, 0, "the backend shows no certificate");
    base64_encode(slice_of(digest, sizeof digest), shown);
    for (size_t i = 0; i < pins->n; i++) {
        if (slice_eq(slice_str(pins->items[i]), slice_of(shown, sizeof shown)))
            return 0;
    }
    return err_set(err, 0, "the backend's key is %.*s, which is not in tls_pin", (int)sizeof shown,
                   shown);
}

static int write_header(const struct conf_backend *b, const struct proxy_info *info,
                        struct buf *out)
{
    if (b->proxy == BACKEND_PROXY_V1)
        return proxy_write_v1(out, &info->source, &info->destination);
    return proxy_write_v2(out, info);
}

int backend_send_proxy(const struct conf_backend *b, const struct proxy_info *info,
                       struct stream *s, struct err *err)
{
    struct buf out;
    size_t n = 0;
    int done = 0;

    if (b->proxy == BACKEND_PROXY_OFF)
        return 0;
    buf_init(&out, PROXY_MOST, false);
    if (write_header(b, info, &out) < 0)
        done = err_set(err, ENOMEM, "out of memory");
    /* Some hundred bytes, the first of a connection: the socket takes them at once. */
    else if (stream_write(s, buf_slice(&out), &n) != IO_OK || n != buf_len(&out))
        done = err_set(err, 0, "the PROXY header could not be sent");
    buf_release(&out);
    return done;
}

enum io backend_flush(struct loop *loop, struct stream *s, struct imapc *imapc)
{
    struct buf *out = imapc_out(imapc);
    enum io io = IO_OK;

    while (buf_len(out) > 0 && io == IO_OK) {
        size_t n;

        io = stream_write(s, buf_slice(out), &n);
        if (io == IO_OK)
            buf_take(out, n);
    }
    if (io != IO_OK && io != IO_AGAIN)
        return IO_FAILED;
    stream_want(loop, s, buf_len(out) > 0 ? LOOP_READ | LOOP_WRITE : LOOP_READ);
    return IO_OK;
}

enum io backend_read(struct stream *s, struct imapc *imapc, struct err *err)
{
    struct buf *in = imapc_in(imapc);
    size_t want, n;
    char *room = buf_room_some(in, READ_LEAST, &want);
    enum io io;

    if (!room) {
        err_set(err, ENOMEM, "out of memory");
        return IO_FAILED;
    }
    io = stream_read(s, room, want, &n);
    if (io == IO_OK) {
        buf_added(in, n);
    } else if (io == IO_FAILED) {
        stream_error(s, err);
    } else if (io == IO_EOF) {
        imapc_closed(imapc);
        err_set(err, 0, "%s", imapc_failure(imapc));
    }
    return io;
}

const char *backend_proxy_hint(const struct conf_backend *b, const struct imapc *imapc)
{
    enum imapc_stage stage = imapc ? imapc_stage(imapc) : IMAPC_STAGE_AFTER_LOGIN;

    if (b->proxy != BACKEND_PROXY_OFF && stage < IMAPC_STAGE_AFTER_LOGIN)
        return "; it was sent a PROXY header: if it does not expect one, write proxy = off";
    if (b->proxy == BACKEND_PROXY_OFF && imapc && imapc_is_unheard(imapc))
        return "; if it waits for a PROXY header, write proxy = v2 or v1";
    return "";
}

enum fault backend_fault(const struct err *err)
{
    return dial_is_ours(err->code) ? FAULT_OURS : FAULT_BACKEND;
}
