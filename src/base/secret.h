/* Memory for passwords: locked into RAM (mlock), left out of cores (MADV_DONTDUMP) and of forked
 * children (MADV_WIPEONFORK), and wiped before it is given back or used again. One arena of fixed
 * size a process, taken once, between pages that nobody may touch; blocks in classes of powers of
 * two from 64 bytes on.
 *
 * RLIMIT_MEMLOCK is 8 MiB by default and for the arena alone. Blocks come from the heap when the
 * arena is full or was never begun (unit tests, small programs), when they are larger than 128 KiB,
 * and those above 1 KiB already when half of it is in use: wiped all the same, but they might be
 * swapped. Struct buf takes its memory here when it is secret.
 *
 * Threads may take and give back at the same time; secret_begin() and secret_end() are for when
 * there is one only.
 *
 * The address sanitizer sees blocks of the arena as it sees those of the heap.
 */
#ifndef USHER_BASE_SECRET_H
#define USHER_BASE_SECRET_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

/* The most that secret_begin() takes: half of what may be locked by default. */
enum { SECRET_ARENA = 4 * 1024 * 1024 };

/* Takes the arena. -1 when it could not be locked, and is used all the same, or when there is none
 * to be had; the words are for the log, and secret_alloc() works in any case. Once a process. */
int secret_begin(struct err *err) MUST_CHECK;

/* Gives the arena back. Insists that every block was freed by then: leak checkers do not see them.
 */
void secret_end(void);

/* `n` bytes (at least 1), aligned for anything, not cleared. NULL when memory is out. */
void *secret_alloc(size_t n);

/* Wipes and frees; `p` may be NULL. `n` is what was asked for. */
void secret_free(void *p, size_t n);

/* Bytes of the arena in use, as blocks take them; and what went to the heap. For tests and
 * counters. */
size_t secret_used(void);
size_t secret_on_heap(void);

#endif
