/* The sandbox with sanitizers or coverage: their run time reads /proc, maps what it likes, stops
 * and traces the process from a thread to look for leaks, and writes counts to files at the end. So
 * files stay open to them, and what is tested is that the calls of usher itself are on the list. */
#include "proc/build.h"

#include <seccomp.h>
#include <sys/ioctl.h>
#include <termios.h>

static const struct sandbox_call more[] = {
    /* a fault, or a leak, is told with names; coverage is counted in files */
    CALL(openat, FOR_ALL, "/proc/self/maps, the program, counts"),
    CALL(open, FOR_ALL, "the same, as the run time calls the kernel by itself"),
    CALL(newfstatat, FOR_ALL, "files"),
    CALL(stat, FOR_ALL, "files"),
    CALL(fstat, FOR_ALL, "files"),
    CALL(readlink, FOR_ALL, "/proc/self/exe"),
    CALL(ioctl, FOR_ALL, "is a report read on a terminal?", INT(1, TCGETS)),
    CALL(sched_getaffinity, FOR_ALL, "where the stack is, before what does not return"),
    CALL(fcntl, FOR_ALL, "locks on counts"),
    CALL(ftruncate, FOR_ALL, "counts"),
    CALL(mkdir, FOR_ALL, "folders of counts"),
    CALL(rt_sigaction, FOR_ALL, "handlers of the run time"),

    /* the search for leaks, from a thread that stops and traces all others */
    CALL(clone, FOR_ALL, "the thread"),
    CALL(prctl, FOR_ALL, "who may trace whom"),
    CALL(ptrace, FOR_ALL, "registers of the others"),
    CALL(wait4, FOR_ALL, "until they have stopped, or the thread has ended"),
    CALL(getppid, FOR_ALL, "whose thread it is"),
    CALL(getdents, FOR_ALL, "/proc/self/task"),
    CALL(getdents64, FOR_ALL, "/proc/self/task, by other versions"),
    CALL(sched_yield, FOR_ALL, "locks"),
    CALL(sigaltstack, FOR_ALL, "the thread's handlers"),
};

const struct sandbox_build sandbox_build = {
    .more = more, .more_n = sizeof more / sizeof *more, .is_dumpable = true};
