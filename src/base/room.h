/* Room in arrays that grow by one element after the other. */
#ifndef USHER_BASE_ROOM_H
#define USHER_BASE_ROOM_H

#include "base/err.h"

#include <stddef.h>

/* `all`, which holds `n` elements of `size` bytes and has room for *cap, with room for one more; it
 * doubles when it is full. It may move, so the caller keeps what is returned. NULL: no memory, and
 * `all` and *cap are as they were. */
void *room_for_one(void *all, size_t n, size_t *cap, size_t size) MUST_CHECK;

#endif
