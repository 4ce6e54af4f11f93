/* The state that a program leaves to the next in its process, read as a trial: whatever it says, it
 * is read or refused; and what was read is the same when it is handed over again. */
#include "parent/handover.h"
#include "parent/internal.h"

#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 32 * 1024 };

/* What the parent of a trial hands over; freed by the caller. */
static char *pass_on(const struct parent *p, size_t *out_n)
{
    struct err err;
    off_t size;
    char *text;
    int fd;

    INSIST(handover_print(p, &fd, &err) == 0);
    size = lseek(fd, 0, SEEK_END);
    INSIST(size > 0);
    text = malloc((size_t)size);
    INSIST(text && pread(fd, text, (size_t)size, 0) == size);
    close(fd);
    *out_n = (size_t)size;
    return text;
}

/* NULL when it is refused, with words that say why. */
static char *take(const void *text, size_t n, size_t *out_n)
{
    struct err err = {0};
    char *next = NULL;
    struct parent p;

    parent_init(&p);
    if (handover_read(&p, slice_of(text, n), true, &err) == 0)
        next = pass_on(&p, out_n);
    else
        INSIST(err.text[0]);
    parent_free(&p);
    return next;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *first, *second;
    size_t n, other_n;

    if (size > TEXT_MAX)
        return 0;
    first = take(data, size, &n);
    if (!first)
        return 0;
    second = take(first, n, &other_n);
    INSIST(second && n == other_n && memcmp(first, second, n) == 0);
    free(first);
    free(second);
    return 0;
}
