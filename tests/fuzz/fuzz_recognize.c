/* First words of a server: whose they are does not change with what comes behind the first line,
 * and whatever they are, they can be shown. */
#include "shown.h"

#include "ports/probe_parts.h"

#include <stdint.h>
#include <stdlib.h>

enum { MAX_INPUT = 1024 };

/* Byte by byte: undecided, then decided for good. */
static void check_growing(struct slice s)
{
    enum speaks so_far = SPEAKS_NOTHING;
    int tls_so_far = 0;

    for (size_t n = 0; n <= s.n; n++) {
        enum speaks speaks = speaks_recognize(slice_sub(s, 0, n), false);
        int tls = tls_recognize(slice_sub(s, 0, n));

        INSIST(so_far == SPEAKS_NOTHING || speaks == so_far);
        INSIST(tls_so_far == 0 || tls == tls_so_far);
        INSIST((speaks_recognize(slice_sub(s, 0, n), true) == SPEAKS_NOTHING) == (n == 0));
        so_far = speaks;
        tls_so_far = tls;
    }
    INSIST(s.n < PROBE_TEXT || so_far != SPEAKS_NOTHING);
    INSIST(so_far == SPEAKS_NOTHING || so_far == speaks_recognize(s, true));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice s = slice_of(data, size);
    char text[64], list[64] = "";

    if (size > MAX_INPUT)
        return 0;
    check_growing(s);
    INSIST(!is_welcome(s) || !is_complaint(s));
    INSIST(!is_welcome(s) || speaks_recognize(s, true) > SPEAKS_UNKNOWN);
    for (size_t cap = 1; cap <= sizeof text; cap += 7) {
        text_set(text, cap, s);
        check_shown(text, cap);
    }
    text_add_words(list, sizeof list, s);
    check_shown(list, sizeof list);
    check_words(list);
    return 0;
}
