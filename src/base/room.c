/* Room in arrays; see base/room.h. */
#include "base/room.h"

#include <stdlib.h>

enum { FIRST = 16 };

void *room_for_one(void *all, size_t n, size_t *cap, size_t size)
{
    size_t wanted = *cap > 0 ? *cap * 2 : FIRST;

    if (n < *cap)
        return all;
    all = realloc(all, wanted * size); /* no overflow: half of it is there */
    if (all)
        *cap = wanted;
    return all;
}
