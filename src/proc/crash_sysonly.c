/* Sanitizers tell of all faults but a system call that the sandbox does not allow, and on a stack
 * of their own, which they free at the end. */
#include "proc/build.h"

#include <signal.h>

static const int signals[] = {SIGSYS};

const struct crash_build crash_build = {.signals = signals, .signals_n = 1, .has_own_stack = false};
