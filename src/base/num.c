/* Numbers from text. */
#include "base/num.h"

bool num_parse(struct slice s, uint64_t max, uint64_t *out_value)
{
    uint64_t v = 0;

    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned digit = (unsigned)(unsigned char)s.p[i] - '0';

        if (digit > 9 || digit > max || v > max / 10 || v * 10 > max - digit)
            return false;
        v = v * 10 + digit;
    }
    *out_value = v;
    return true;
}
