/* Names in modified UTF-7: what is decoded is a name that is encoded to the same bytes, and the
 * other way round. */
#include "cut.h"

#include "base/utf8.h"
#include "imap/utf7.h"

enum { MAX_INPUT = 4096, MAX_NAME = 8 * MAX_INPUT };

static bool is_ascii(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if ((unsigned char)s.p[i] > 127)
            return false;
    }
    return true;
}

/* UTF-8 that a mailbox may be called. */
static void check_name(struct slice s)
{
    size_t n;

    INSIST(!slice_has(s, '\0') && !slice_has(s, '\r') && !slice_has(s, '\n'));
    for (size_t i = 0; i < s.n; i += n) {
        n = utf8_char(slice_sub(s, i, s.n));
        INSIST(n > 0);
    }
}

static void check_wire(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        INSIST(s.p[i] >= ' ' && s.p[i] <= '~');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct slice in = slice_of(data, size);
    struct buf once, twice;

    if (size > MAX_INPUT)
        return 0;
    buf_init(&once, MAX_NAME, false);
    buf_init(&twice, MAX_NAME, false);
    if (utf7_decode(in, &once)) {
        check_name(buf_slice(&once));
        INSIST(utf7_encode(buf_slice(&once), &twice));
        INSIST(slice_eq(buf_slice(is_ascii(in) ? &twice : &once), in));
    } else {
        INSIST(buf_len(&once) == 0);
    }
    buf_take(&once, buf_len(&once));
    buf_take(&twice, buf_len(&twice));
    if (utf7_encode(in, &once)) {
        check_name(in);
        check_wire(buf_slice(&once));
        INSIST(utf7_decode(buf_slice(&once), &twice));
        INSIST(slice_eq(buf_slice(&twice), in));
    } else {
        INSIST(buf_len(&once) == 0);
    }
    buf_release(&once);
    buf_release(&twice);
    return 0;
}
