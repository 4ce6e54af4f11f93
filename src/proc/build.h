/* What depends on the way usher is built. Meson tells it by choosing a file of each pair, so that
 * the rest of the code has no conditions:
 *
 *     sandbox_strict.c   what is installed
 *     sandbox_wide.c     with sanitizers or coverage, whose run time opens files and traces us
 *     crash_all.c        every fault is told
 *     crash_sysonly.c    with sanitizers, which tell of faults themselves
 */
#ifndef USHER_PROC_BUILD_H
#define USHER_PROC_BUILD_H

#include "proc/sandbox_calls.h"

#include <stdbool.h>
#include <stddef.h>

struct sandbox_build {
    const struct sandbox_call *more; /* calls beside sandbox_calls */
    size_t more_n;
    bool closes_files; /* by Landlock */
    bool is_dumpable;  /* which being traced by one's own child takes */
};

struct crash_build {
    const int *signals;
    size_t signals_n;
    bool has_own_stack; /* the handler brings its stack */
};

extern const struct sandbox_build sandbox_build;
extern const struct crash_build crash_build;

#endif
