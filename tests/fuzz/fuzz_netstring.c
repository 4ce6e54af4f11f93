/* What a server of the socketmap protocol sends: netstrings, cut anywhere. What is found does not
 * depend on how the bytes came, lies in the input, is never waited for in vain, and comes back when
 * it is written and read again. */
#include "cut.h"

#include "directory/netstring.h"

#include <stdlib.h>

enum { LEAST = 8, MOST = 300, NEVER_MORE = 22 };

static void write_and_read(struct slice text, size_t used)
{
    const struct slice parts[] = {slice_sub(text, 0, text.n / 2),
                                  slice_sub(text, text.n / 2, text.n)};
    struct slice again;
    struct err err;
    struct buf out;
    size_t n;

    buf_init(&out, used, false);
    INSIST(netstring_put(&out, parts, 2) == 0);
    INSIST(buf_len(&out) == used && netstring_put(&out, parts, 2) < 0 && buf_len(&out) == used);
    INSIST(netstring_parse(buf_slice(&out), MOST, &again, &n, &err) == NETSTRING_OK);
    INSIST(n == used && slice_eq(again, text));
    buf_release(&out);
}

/* `n` of the input's bytes, in memory that ends with them. */
static enum netstring parse_first(struct slice all, size_t n, size_t max, size_t *out_used)
{
    char *copy = malloc(n ? n : 1);
    struct slice in = slice_of(copy, n), text;
    struct err err = {0};
    enum netstring result;

    INSIST(copy);
    if (n)
        memcpy(copy, all.p, n);
    *out_used = 0;
    result = netstring_parse(in, max, &text, out_used, &err);
    INSIST((result == NETSTRING_BAD) == (err.text[0] != '\0'));
    INSIST(result != NETSTRING_MORE || n < max + NEVER_MORE);
    if (result == NETSTRING_OK) {
        INSIST(text.n <= max && *out_used <= n && text.n + 3 <= *out_used);
        INSIST(lies_in(text, in));
        write_and_read(text, *out_used);
    }
    free(copy);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const size_t max = size % 2 ? LEAST : MOST;
    struct slice left = slice_of(data, size);

    /* One behind the other, as they come on a connection. */
    for (;;) {
        size_t used, cut_used;
        enum netstring whole = parse_first(left, left.n, max, &used), cut = NETSTRING_MORE;

        for (size_t n = 0; n <= left.n && cut == NETSTRING_MORE; n++)
            cut = parse_first(left, n, max, &cut_used);
        INSIST(cut == whole && cut_used == used);
        if (whole != NETSTRING_OK)
            return 0;
        left = slice_sub(left, used, left.n);
    }
}
