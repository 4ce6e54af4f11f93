/* Base 64, strict. Not from OpenSSL: its decoder takes white space and cannot tell the length of
 * padding. */
#include "base/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct slice in, char *out)
{
    const unsigned char *p = (const unsigned char *)in.p;
    size_t n = in.n;

    for (; n >= 3; n -= 3, p += 3) {
        *out++ = alphabet[p[0] >> 2];
        *out++ = alphabet[(p[0] & 3) << 4 | p[1] >> 4];
        *out++ = alphabet[(p[1] & 15) << 2 | p[2] >> 6];
        *out++ = alphabet[p[2] & 63];
    }
    if (n == 0)
        return;
    *out++ = alphabet[p[0] >> 2];
    *out++ = alphabet[(p[0] & 3) << 4 | (n == 2 ? p[1] >> 4 : 0)];
    *out++ = n == 2 ? alphabet[(p[1] & 15) << 2] : '=';
    *out = '=';
}

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

long base64_decode(struct slice in, char *out)
{
    size_t pad = 0, digits;
    unsigned bits = 0, held = 0;
    char *at = out;

    if (in.n % 4 != 0)
        return -1;
    while (pad < 2 && pad < in.n && in.p[in.n - 1 - pad] == '=')
        pad++;
    digits = in.n - pad;
    for (size_t i = 0; i < digits; i++) {
        int v = value_of(in.p[i]);

        if (v < 0)
            return -1;
        bits = bits << 6 | (unsigned)v;
        held += 6;
        if (held >= 8) {
            held -= 8;
            *at++ = (char)(bits >> held & 0xff);
            bits &= (1U << held) - 1;
        }
    }
    return bits ? -1 : at - out;
}
