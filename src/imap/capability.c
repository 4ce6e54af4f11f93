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

size_t capability_without(struct slice list, struct slice left_out, char *to)
{
    size_t n = 0;
    bool is_first = true;
    const char *space;

    do {
        struct slice word = list;

        space = list.n > 0 ? memchr(list.p, ' ', list.n) : NULL;
        if (space) {
            word.n = (size_t)(space - list.p);
            list = slice_sub(list, word.n + 1, list.n);
        }
        if (capability_has(left_out, word))
            continue;
        if (!is_first)
            to[n++] = ' ';
        is_first = false;
        if (word.n > 0)
            memmove(to + n, word.p, word.n);
        n += word.n;
    } while (space);
    return n;
}

bool capability_in_text(struct slice text, struct slice *out_list)
{
    struct slice code, list;

    if (!response_code(text, &code, &list) || !slice_ieq(code, SLICE("CAPABILITY")))
        return false;
    *out_list = list;
    return true;
}
