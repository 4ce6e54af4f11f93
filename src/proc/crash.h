/* What is said when a process dies of a fault: SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT (INSIST)
 * and SIGSYS (a system call that the sandbox does not allow).
 *
 * The handler writes one line in the log's form to the log's descriptor, then ends the process by
 * the same signal's default, without a core. It allocates nothing and waits for no lock: what
 * would, such as loading the unwinder, is done beforehand. It runs on a stack of its own, so that a
 * stack overflow is told too (not with sanitizers).
 *
 * The line tells places in the program and its build-id. Of what lies in memory it has at most the
 * `address` at which memory was not to be had: a pointer that was written over is made of what it
 * was written over with.
 *
 * A place in the program stands as addr2line takes it, one in a library as NAME+0x123; `?` is
 * neither, such as the target of a wild jump. The first is where the fault was, the others are
 * where calls would have returned to; they are left out where the stack cannot be read.
 *
 * A call by a number of another architecture, or with SIGSYS blocked, ends the process without a
 * line, by the kernel: only the parent tells of it (process_ended, signal 31).
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
