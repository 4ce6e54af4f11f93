/* Answers of SMTP, POP3, ManageSieve and HTTP servers, line by line: they come to an end, and what
 * is taken from them can be shown. The first byte chooses the protocol. */
#include "shown.h"

#include "net/conn.h"
#include "ports/probe_parts.h"

#include <stdint.h>

enum { KINDS = REPLY_HTTP + 1 };

static void check(const struct reply *r)
{
    INSIST(r->lines <= REPLY_LINES + 1 && r->code < 1000);
    check_shown(r->text, sizeof r->text);
    check_shown(r->server, sizeof r->server);
    check_shown(r->caps, sizeof r->caps);
    check_words(r->caps);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest;
    struct reply r;

    if (size == 0 || size > CONN_IN)
        return 0;
    rest = slice_of(data + 1, size - 1);
    reply_start(&r, (enum reply_kind)(data[0] % KINDS));
    while (rest.n > 0) {
        const char *end = memchr(rest.p, '\n', rest.n);
        size_t n = end ? (size_t)(end + 1 - rest.p) : rest.n;
        enum reply_result result = reply_line(&r, slice_sub(rest, 0, n));

        check(&r);
        INSIST(result != REPLY_WHOLE || r.lines <= REPLY_LINES);
        if (result != REPLY_MORE)
            reply_start(&r, r.kind);
        rest = slice_sub(rest, n, rest.n);
    }
    return 0;
}
