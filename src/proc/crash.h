/* What is said when a process dies of a fault: SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT (INSIST)
 * and SIGSYS (a system call that the sandbox does not allow).
 *
 * The handler is async-signal-safe: it allocates nothing, takes no lock, and writes one line in the
 * log's form to the log's descriptor, then ends the process by the same signal's default, without a
 * core. The line tells addresses within the program and its build-id, and nothing that lies in
 * memory. It runs on a stack of its own, so that a stack overflow is told too.
 *
 * A place in the program stands as addr2line takes it, one in a library as NAME+0x123; `?` is
 * neither, such as the target of a wild jump. The first is where the fault was, the others are
 * where calls would have returned to.
 */
#ifndef USHER_PROC_CRASH_H
#define USHER_PROC_CRASH_H

#include <stddef.h>

/* Once a process, before its first message; `role` is a text that lives for ever. The parent calls
 * it too. Builds with sanitizers, which tell of faults themselves, take SIGSYS only. */
void crash_begin(const char *role, int log_fd);

/* The names of system calls by their numbers, NULL where there is none, to tell which one was not
 * allowed. They must stay as they are. */
void crash_call_names(const char *const *names, size_t n);

/* The build-id of this program in hexadecimal; "" when it has none. After crash_begin(). */
const char *crash_build_id(void);

#endif
