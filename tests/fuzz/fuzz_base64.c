/* Base 64: what is encoded is decoded to the same, and what is decoded has this one encoding. */
#include "base/base64.h"
#include "base/err.h"

#include <stdint.h>
#include <stdlib.h>

enum { MAX_INPUT = 1024 };

static char *encode(struct slice s)
{
    char *out = malloc(BASE64_LEN(s.n));

    INSIST(out);
    base64_encode(s, out);
    return out;
}

/* Decodes as forgivingly as can be; if even so the bytes do not encode to `s`, nothing does. */
static bool is_canonical(struct slice s)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char bytes[MAX_INPUT], *back;
    size_t n = 0, pad = 0;
    uint32_t held = 0;
    bool is_same;

    for (size_t i = 0; i < s.n / 4 * 4; i++) {
        const char *digit = s.p[i] ? strchr(digits, s.p[i]) : NULL;

        pad += s.p[i] == '=';
        held = held << 6 | (digit ? (uint32_t)(digit - digits) : 0);
        if (i % 4 != 3)
            continue;
        bytes[n++] = (char)(held >> 16 & 0xff);
        bytes[n++] = (char)(held >> 8 & 0xff);
        bytes[n++] = (char)(held & 0xff);
    }
    n -= pad < 2 ? pad : 2 < n ? 2 : n;
    back = encode(slice_of(bytes, n));
    is_same = slice_eq(slice_of(back, BASE64_LEN(n)), s);
    free(back);
    return is_same;
}

static void decode_and_encode(struct slice s)
{
    char *bytes = malloc(s.n / 4 * 3), *back;
    long n;

    INSIST(bytes);
    n = base64_decode(s, bytes);
    INSIST((n >= 0) == is_canonical(s));
    if (n >= 0) {
        INSIST((size_t)n <= s.n / 4 * 3);
        back = encode(slice_of(bytes, (size_t)n));
        INSIST(slice_eq(slice_of(back, BASE64_LEN((size_t)n)), s));
        free(back);
    }
    free(bytes);
}

static void encode_and_decode(struct slice s)
{
    char *text = encode(s), *back = malloc(BASE64_LEN(s.n) / 4 * 3);
    long n;

    INSIST(back);
    n = base64_decode(slice_of(text, BASE64_LEN(s.n)), back);
    INSIST(n >= 0 && slice_eq(slice_of(back, (size_t)n), s));
    free(text);
    free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > MAX_INPUT)
        return 0;
    decode_and_encode(slice_of(data, size));
    encode_and_decode(slice_of(data, size));
    return 0;
}
