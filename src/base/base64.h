/* Base 64 as SASL uses it (RFC 4648 section 4): padded, no line breaks, strict when decoding. */
#ifndef USHER_BASE_BASE64_H
#define USHER_BASE_BASE64_H

#include "base/slice.h"

#include <stddef.h>

/* Bytes that the encoding of `n` bytes takes. */
#define BASE64_LEN(n) (((n) + 2) / 3 * 4)

/* Writes BASE64_LEN(in.n) bytes to `out`; no NUL. */
void base64_encode(struct slice in, char *out);

/* Decodes all of `in` into `out`, which has room for in.n / 4 * 3 bytes. Returns the number of
 * bytes, or -1 when `in` is not canonical: a foreign byte, a wrong length, padding elsewhere, or
 * spare bits set. */
long base64_decode(struct slice in, char *out);

#endif
