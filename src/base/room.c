/* Room in arrays; see base/room.h. */
#include "base/room.h"

#include <stdint.h>
#include <stdlib.h>

enum { FIRST = 16 };

void *room_for_one(void *all, size_t n, size_t *cap, size_t size)
{
    size_t wanted = *cap > 0 ? *cap * 2 : FIRST;
    void *more;

    if (n < *cap)
        return all;
    more = *cap <= SIZE_MAX / 2 ? reallocarray(all, wanted, size) : NULL;
    if (more)
        *cap = wanted;
    return more;
}
