/* Netstrings: taking them apart and writing them. */
#include "directory/netstring.h"

#include <stdio.h>

/* Digits of the longest length, and ":". */
enum { HEAD_MOST = 21 };

enum netstring netstring_parse(struct slice in, size_t max, struct slice *out_text,
                               size_t *out_used, struct err *err)
{
    size_t n = 0, at = 0;

    for (; at < in.n && in.p[at] >= '0' && in.p[at] <= '9'; at++) {
        const size_t digit = (size_t)(in.p[at] - '0');

        if (at == 1 && n == 0) {
            (void)err_set(err, 0, "a length begins with 0");
            return NETSTRING_BAD;
        }
        if (digit > max || n > (max - digit) / 10) {
            (void)err_set(err, 0, "more than %zu bytes", max);
            return NETSTRING_BAD;
        }
        n = n * 10 + digit;
    }
    if (at == in.n)
        return NETSTRING_MORE;
    if (at == 0 || in.p[at] != ':') {
        (void)err_set(err, 0, "no netstring: there is no length");
        return NETSTRING_BAD;
    }
    at++;
    if (in.n - at <= n)
        return NETSTRING_MORE;
    if (in.p[at + n] != ',') {
        (void)err_set(err, 0, "no netstring: there is no comma behind it");
        return NETSTRING_BAD;
    }
    *out_text = slice_sub(in, at, at + n);
    *out_used = at + n + 1;
    return NETSTRING_OK;
}

int netstring_put(struct buf *out, const struct slice *parts, size_t n)
{
    char head[HEAD_MOST + 1];
    size_t total = 0;
    int head_n;

    for (size_t i = 0; i < n; i++)
        total += parts[i].n;
    head_n = snprintf(head, sizeof head, "%zu:", total);
    if (!buf_room(out, (size_t)head_n + total + 1))
        return -1;
    /* There is room now. */
    INSIST(buf_put(out, slice_of(head, (size_t)head_n)) == 0);
    for (size_t i = 0; i < n; i++)
        INSIST(buf_put(out, parts[i]) == 0);
    return buf_put(out, SLICE(","));
}
