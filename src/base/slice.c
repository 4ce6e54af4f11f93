/* Slices: comparing, copying, wiping. */
#include "base/slice.h"

#include <stdlib.h>
#include <strings.h>

bool slice_ieq(struct slice a, struct slice b)
{
    return a.n == b.n && (a.n == 0 || strncasecmp(a.p, b.p, a.n) == 0);
}

bool slice_istarts(struct slice s, struct slice prefix)
{
    return s.n >= prefix.n && slice_ieq(slice_sub(s, 0, prefix.n), prefix);
}

bool slice_has(struct slice s, char c)
{
    return s.n > 0 && memchr(s.p, c, s.n) != NULL;
}

bool slice_eq_secret(struct slice a, struct slice b)
{
    unsigned diff = 0;

    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        diff |= (unsigned)(unsigned char)a.p[i] ^ (unsigned)(unsigned char)b.p[i];
    return diff == 0;
}

char *slice_dup(struct slice s)
{
    char *copy = malloc(s.n + 1);

    if (!copy)
        return NULL;
    if (s.n)
        memcpy(copy, s.p, s.n);
    copy[s.n] = '\0';
    return copy;
}

void wipe(void *p, size_t n)
{
    if (n)
        explicit_bzero(p, n);
}
