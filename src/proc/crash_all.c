/* Every fault is told by us. */
#include "proc/build.h"

#include <signal.h>

static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS};

const struct crash_build crash_build = {
    .signals = signals, .signals_n = sizeof signals / sizeof *signals, .has_own_stack = true};
