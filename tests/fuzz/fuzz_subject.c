/* Subjects of any bytes: what comes out is UTF-8 without control characters, and a shorter room
 * only cuts it. */
#include "cut.h"

#include "base/utf8.h"
#include "sync/look.h"

#include <stdlib.h>

enum { MAX_INPUT = 1 << 14, CAP = 1 << 16 };

static void check_shown(struct slice s)
{
    for (size_t i = 0, n; i < s.n; i += n) {
        n = utf8_char(slice_sub(s, i, s.n));
        INSIST(n > 0 && (unsigned char)s.p[i] >= ' ' && s.p[i] != 0x7f);
    }
    INSIST(s.n == 0 || (s.p[0] != ' ' && s.p[s.n - 1] != ' '));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in;
    char *whole, *part;
    size_t cap;

    if (size > MAX_INPUT || !fuzz_input_read(&in, data, size))
        return 0;
    cap = (size_t)in.flags * 4 + 1;
    whole = malloc(CAP * 4);
    part = malloc(cap);
    INSIST(whole && part);
    look_subject_decode(in.bytes, whole, CAP * 4);
    look_subject_decode(in.bytes, part, cap);
    check_shown(slice_str(whole));
    check_shown(slice_str(part));
    INSIST(strlen(part) < cap && memcmp(part, whole, strlen(part)) == 0);
    free(whole);
    free(part);
    return 0;
}
