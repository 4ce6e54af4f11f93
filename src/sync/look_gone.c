/* Which of the messages that are known have gone; see sync/look.h.
 *
 *     known    3   5   6   9  12          after "5:9":     3   5   6   9  12
 *     next     0   1   2   3   4   5                       0   4   4   4   4   5
 *
 * Each that has not gone points at itself, each that has at one further on, by way of which the
 * next that is there is found; ways are shortened as they are gone. So what was taken is not looked
 * at again, however often a server tells of it.
 */
#include "sync/look.h"

#include "imap/set.h"
#include "sync/look_parts.h"

#include <errno.h>
#include <stdlib.h>

void look_gone_clear(struct look_gone *gone)
{
    for (size_t i = 0; i <= gone->n; i++)
        gone->next[i] = (uint32_t)i;
}

int look_gone_init(struct look_gone *gone, const uint32_t *known, size_t n, struct err *err)
{
    *gone = (struct look_gone){.known = known, .n = n, .next = calloc(n + 1, sizeof *gone->next)};
    if (!gone->next)
        return err_sys(err, ENOMEM, "cannot keep what has gone");
    look_gone_clear(gone);
    return 0;
}

void look_gone_free(struct look_gone *gone)
{
    free(gone->next);
    *gone = (struct look_gone){0};
}

bool look_is_gone(const struct look_gone *gone, size_t i)
{
    return gone->next[i] != i;
}

/* The first from i on that has not gone; gone->n: none. */
static size_t next_there(struct look_gone *gone, size_t i)
{
    while (gone->next[i] != i) {
        gone->next[i] = gone->next[gone->next[i]];
        i = gone->next[i];
    }
    return i;
}

/* Where the first UID that is not below lies. */
static size_t place_of(const struct look_gone *gone, uint32_t uid)
{
    size_t from = 0, to = gone->n;

    while (from < to) {
        size_t middle = from + (to - from) / 2;

        if (gone->known[middle] < uid)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

void look_gone_take(struct look_gone *gone, struct slice set)
{
    struct set_range range;

    while (set_next(&set, 0, &range)) {
        size_t i = next_there(gone, place_of(gone, range.first));

        while (i < gone->n && gone->known[i] <= range.last) {
            gone->next[i] = (uint32_t)i + 1;
            i = next_there(gone, i + 1);
        }
    }
}
