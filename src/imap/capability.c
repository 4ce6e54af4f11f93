/* Capability lists; see imap/capability.h. */
#include "imap/capability.h"

#include "imap/response.h"

#include <string.h>

bool capability_has(struct slice list, struct slice word)
{
    while (list.n > 0) {
        const char *space = memchr(list.p, ' ', list.n);
        size_t n = space ? (size_t)(space - list.p) : list.n;

        if (slice_ieq(slice_sub(list, 0, n), word))
            return n > 0;
        list = slice_sub(list, n + 1, list.n);
    }
    return false;
}

bool capability_in_text(struct slice text, struct slice *out_list)
{
    struct slice code, list;

    if (!response_code(text, &code, &list) || !slice_ieq(code, SLICE("CAPABILITY")))
        return false;
    *out_list = list;
    return true;
}
