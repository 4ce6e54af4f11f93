/* UTF-8 at each place of an input: a character is there when its bytes are the one shortest form of
 * a scalar value, as RFC 3629 writes it down, and nothing behind them is looked at. */
#include "base/err.h"
#include "base/utf8.h"

#include <stdint.h>
#include <stdlib.h>

enum { MAX_INPUT = 256 };

/* RFC 3629 section 3: the encoding of a number. */
static size_t encode(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

/* Takes the bits of `n` bytes for a number, and encodes it again. */
static bool is_character(struct slice s, size_t n)
{
    static const unsigned lead[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t c = (unsigned char)s.p[0] & lead[n];
    char again[4];

    for (size_t i = 1; i < n; i++)
        c = c << 6 | ((unsigned char)s.p[i] & 0x3f);
    if (c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return false;
    return encode(c, again) == n && memcmp(again, s.p, n) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > MAX_INPUT)
        return 0;
    for (size_t i = 0; i <= size; i++) {
        struct slice s = slice_of(data + i, size - i);
        size_t n = utf8_char(s), expected = 0;

        for (size_t k = 1; k <= 4 && k <= s.n; k++)
            expected = is_character(s, k) ? k : expected;
        INSIST(n == expected);
        for (size_t k = 0; k < n; k++) { /* cut off, in memory that ends there */
            char *part = slice_dup(slice_sub(s, 0, k));

            INSIST(part && utf8_char(slice_of(part, k)) == 0);
            free(part);
        }
    }
    return 0;
}
