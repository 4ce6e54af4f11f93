/* A PROXY header from a stranger: what is found does not depend on how the bytes came, lies in the
 * header, and comes back when it is written and read again. Of version 2 also with the right length
 * and checksum, which nobody finds by chance. */
#include "net/proxy.h"

#include "base/err.h"

#include <stdlib.h>
#include <string.h>

static void check_text(struct slice s, struct slice header, size_t most)
{
    INSIST(s.n <= most);
    INSIST(s.n == 0 || (s.p >= header.p && s.p + s.n <= header.p + header.n));
}

static void check_info(const struct proxy_info *info, struct slice header)
{
    check_text(info->alpn, header, PROXY_TEXT);
    check_text(info->authority, header, PROXY_TEXT);
    check_text(info->unique_id, header, PROXY_UNIQUE_ID);
    check_text(info->tls_version, header, PROXY_TEXT);
    check_text(info->tls_cn, header, PROXY_TEXT);
    check_text(info->tls_cipher, header, PROXY_TEXT);
    INSIST(addr_is_set(&info->source) == addr_is_set(&info->destination));
    INSIST(!info->is_local || (!addr_is_set(&info->source) && !info->has_tls));
    INSIST(info->has_tls || (!info->is_tls_verified && info->tls_version.n + info->tls_cn.n == 0));
}

static bool same_address(const struct addr *a, const struct addr *b)
{
    char x[ADDR_TEXT], y[ADDR_TEXT];

    return strcmp(addr_format(a, x), addr_format(b, y)) == 0;
}

static void write_and_read(const struct proxy_info *info)
{
    struct proxy_info back;
    struct buf out;
    size_t used;

    buf_init(&out, 1500, false);
    INSIST(proxy_write_v2(&out, info) == 0);
    INSIST(proxy_parse(buf_slice(&out), &back, &used, NULL) == PROXY_OK);
    INSIST(used == buf_len(&out) && back.is_local == !addr_is_set(&info->source));
    if (!back.is_local) {
        INSIST(same_address(&back.source, &info->source));
        INSIST(same_address(&back.destination, &info->destination));
        INSIST(slice_eq(back.alpn, info->alpn) && slice_eq(back.authority, info->authority));
        INSIST(slice_eq(back.unique_id, info->unique_id) && slice_eq(back.tls_cn, info->tls_cn));
        INSIST(slice_eq(back.tls_version, info->tls_version));
        INSIST(slice_eq(back.tls_cipher, info->tls_cipher));
        INSIST(back.has_tls == info->has_tls && back.is_tls_verified == info->is_tls_verified);
        INSIST(back.has_checksum == info->has_checksum);
    }
    buf_release(&out);
    buf_init(&out, PROXY_V1_MOST, false);
    INSIST(proxy_write_v1(&out, &info->source, &info->destination) == 0);
    INSIST(proxy_parse(buf_slice(&out), &back, &used, NULL) == PROXY_OK);
    INSIST(used == buf_len(&out) && same_address(&back.source, &info->source) &&
           same_address(&back.destination, &info->destination));
    buf_release(&out);
}

/* `n` of the input's bytes, in memory that ends with them. */
static enum proxy_result parse_first(const uint8_t *data, size_t n, size_t *out_used,
                                     struct err *err)
{
    char *copy = malloc(n ? n : 1);
    struct slice in = slice_of(copy, n);
    enum proxy_result result;
    struct proxy_info info;

    INSIST(copy);
    if (n)
        memcpy(copy, data, n);
    *out_used = 0;
    err->text[0] = '\0';
    result = proxy_parse(in, &info, out_used, err);
    if (result == PROXY_OK) {
        INSIST(*out_used >= 15 && *out_used <= n && *out_used <= PROXY_MOST);
        check_info(&info, slice_sub(in, 0, *out_used));
        write_and_read(&info);
    }
    INSIST((result == PROXY_BAD) == (err->text[0] != '\0'));
    INSIST(result != PROXY_MORE || n < PROXY_MOST);
    free(copy);
    return result;
}

static void check_cuts(const uint8_t *data, size_t size)
{
    struct err whole_err, err;
    size_t whole_used, used;
    enum proxy_result whole = parse_first(data, size, &whole_used, &whole_err), result;

    /* Bytes one by one up to a verdict: it is the same one. Long inputs jump in their middle. */
    for (size_t n = 0; n <= size; n += n < 300 || n + 300 > size ? 1 : 97) {
        result = parse_first(data, n, &used, &err);
        if (result == PROXY_MORE)
            continue;
        INSIST(result == whole && used == whole_used);
        INSIST(result == PROXY_OK || strcmp(err.text, whole_err.text) == 0);
        break;
    }
}

/* ---- A header that is made right ---- */

enum { FIXED = 16, LENGTH = 14, FAMILY = 13, TCP4 = 0x11, TCP6 = 0x21, CRC32C = 3 };

static void put_number(uint8_t *to, size_t bytes, uint32_t value)
{
    while (bytes > 0) {
        to[--bytes] = (uint8_t)value;
        value >>= 8;
    }
}

/* Where the value of the checksum's TLV lies; 0: there is none. */
static size_t find_checksum(const uint8_t *h, size_t n)
{
    size_t at = FIXED + (h[FAMILY] == TCP4 ? 12 : h[FAMILY] == TCP6 ? 36 : n);

    while (at + 3 <= n) {
        size_t length = (size_t)h[at + 1] << 8 | h[at + 2];

        if (h[at] == CRC32C && length == 4 && at + 7 <= n)
            return at + 3;
        at += 3 + length;
    }
    return 0;
}

static void mend(uint8_t *h, size_t n)
{
    size_t at = find_checksum(h, n);

    put_number(h + LENGTH, 2, (uint32_t)(n - FIXED));
    if (at > 0) {
        put_number(h + at, 4, 0);
        put_number(h + at, 4, proxy_crc32c(0, slice_of(h, n)));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_cuts(data, size);
    if (size >= FIXED && size <= PROXY_MOST && data[0] == '\r') {
        uint8_t *copy = malloc(size);

        INSIST(copy);
        memcpy(copy, data, size);
        mend(copy, size);
        check_cuts(copy, size);
        free(copy);
    }
    return 0;
}
