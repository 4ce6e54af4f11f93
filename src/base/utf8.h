/* UTF-8 (RFC 3629): finding where a character ends, and whether it is one. */
#ifndef USHER_BASE_UTF8_H
#define USHER_BASE_UTF8_H

#include "base/slice.h"

#include <stddef.h>

/* Bytes of the well-formed character at the start of `s` (1 to 4), or 0 when there is none:
 * overlong, a surrogate, above U+10FFFF, cut off, or empty. */
size_t utf8_char(struct slice s);

#endif
