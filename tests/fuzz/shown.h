/* What every text must be that is shown: UTF-8, no control characters, nothing that turns the
 * writing direction, with its NUL within its room. */
#ifndef USHER_TESTS_FUZZ_SHOWN_H
#define USHER_TESTS_FUZZ_SHOWN_H

#include "base/err.h"
#include "base/slice.h"
#include "base/utf8.h"

static inline void check_shown(const char *text, size_t cap)
{
    size_t n = strnlen(text, cap);

    INSIST(n < cap);
    while (n > 0) {
        size_t size = utf8_char(slice_of(text, n));
        const unsigned char *p = (const unsigned char *)text;

        INSIST(size > 0 && p[0] >= ' ' && p[0] != 0x7f);
        INSIST(!(size == 2 && p[0] == 0xc2 && p[1] < 0xa0));
        INSIST(!(size == 3 && memcmp(p, "\xe2\x80\xae", 3) == 0));
        text += size;
        n -= size;
    }
}

/* Words with one blank between. */
static inline void check_words(const char *list)
{
    size_t n = strlen(list);

    INSIST(n == 0 || (list[0] != ' ' && list[n - 1] != ' ' && !strstr(list, "  ")));
}

#endif
