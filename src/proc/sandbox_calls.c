/* The table of the sandbox. A row is added only for a call that was seen to be made, or that
 * reading the C library, OpenSSL, SQLite or c-ares shows to be; never for one that merely seems
 * harmless. */
#include "proc/sandbox_calls.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

/* A socket's type without the flags that go with it. */
enum { TYPE = ~(SOCK_NONBLOCK | SOCK_CLOEXEC) };

#define SOCKET(family, type, protocol) \
    INT(0, family), BITS(1, (uint32_t)TYPE, type), INT(2, protocol)

/* An option of a socket. By name, as others load programs and modules into the kernel: with
 * SO_ATTACH_REUSEPORT_CBPF one worker draws the connections of all to itself. */
#define OPTION(level, name) INT(1, level), INT(2, name)

/* What open() may want of a file that it only reads. */
#define READ_ONLY(index) LACKS(index, O_ACCMODE | O_CREAT | O_TRUNC)

enum { FOR_NET = FOR_WORKER | FOR_LOOKUP, FOR_DISK = FOR_LOOKUP | FOR_CONTROL };

const struct sandbox_call sandbox_calls[] = {
    /* the loop, channels, sockets */
    CALL(epoll_wait, FOR_ALL, "the loop"),
    CALL(epoll_pwait, FOR_ALL, "the loop, where epoll_wait is made of it"),
    CALL(epoll_ctl, FOR_ALL, "the loop"),
    CALL(epoll_create1, FOR_ALL, "libev begins anew after events of descriptors that are closed"),
    CALL(recvmsg, FOR_ALL, "channels, with descriptors; c-ares"),
    CALL(sendmsg, FOR_ALL, "channels"),
    CALL(read, FOR_ALL, "TLS, an eventfd, files of the state and of names"),
    CALL(write, FOR_ALL, "TLS, an eventfd, the log"),
    CALL(sendto, FOR_ALL, "sessions, DNS, the log if it is a socket"),
    CALL(recvfrom, FOR_NET, "sessions, DNS"),
    CALL(writev, FOR_ALL, "DNS by TCP; what the C library says before it aborts"),
    CALL(poll, FOR_ALL, "whether the log takes a line"),
    CALL(ppoll, FOR_ALL, "poll, where it is made of this"),
    CALL(close, FOR_ALL, "everything ends"),
    CALL(shutdown, FOR_ALL, "a session, or a channel that broke, ends"),
    CALL(accept4, FOR_WORKER | FOR_CONTROL,
         "on the sockets that it was given: no call makes another listen"),
    CALL(connect, FOR_NET, "backends, DNS servers, servers of directories"),
    CALL(socket, FOR_WORKER, "backends", SOCKET(AF_INET, SOCK_STREAM, 0)),
    CALL(socket, FOR_WORKER, "backends", SOCKET(AF_INET6, SOCK_STREAM, 0)),
    CALL(socket, FOR_LOOKUP, "DNS", SOCKET(AF_INET, SOCK_DGRAM, 0)),
    CALL(socket, FOR_LOOKUP, "DNS", SOCKET(AF_INET6, SOCK_DGRAM, 0)),
    CALL(socket, FOR_LOOKUP, "DNS, long answers; directories", SOCKET(AF_INET, SOCK_STREAM, 0)),
    CALL(socket, FOR_LOOKUP, "DNS, long answers; directories", SOCKET(AF_INET6, SOCK_STREAM, 0)),
    CALL(socket, FOR_LOOKUP, "c-ares sorts by route", SOCKET(AF_INET, SOCK_DGRAM, IPPROTO_UDP)),
    CALL(socket, FOR_LOOKUP, "c-ares sorts by route", SOCKET(AF_INET6, SOCK_DGRAM, IPPROTO_UDP)),
    CALL(bind, FOR_SOURCE, "the address to connect from"),
    CALL(getsockname, FOR_NET, "where a client came to; c-ares sorts by route"),
    CALL(getsockopt, FOR_NET, "was a connection made?", OPTION(SOL_SOCKET, SO_ERROR)),
    CALL(getsockopt, FOR_CONTROL, "who an operator is", OPTION(SOL_SOCKET, SO_PEERCRED)),
    CALL(getsockopt, FOR_CONTROL, "who an operator is", OPTION(SOL_SOCKET, SO_PEERGROUPS)),
    CALL(setsockopt, FOR_NET, "sessions; DNS by TCP", OPTION(IPPROTO_TCP, TCP_NODELAY)),
    CALL(setsockopt, FOR_NET, "sessions; directories", OPTION(SOL_SOCKET, SO_KEEPALIVE)),
    CALL(setsockopt, FOR_NET, "sessions; directories", OPTION(IPPROTO_TCP, TCP_KEEPIDLE)),
    CALL(setsockopt, FOR_NET, "sessions; directories", OPTION(IPPROTO_TCP, TCP_KEEPINTVL)),
    CALL(setsockopt, FOR_NET, "sessions; directories", OPTION(IPPROTO_TCP, TCP_KEEPCNT)),
    CALL(setsockopt, FOR_SOURCE, "before bind", OPTION(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT)),
    CALL(setsockopt, FOR_LOOKUP, "newer c-ares", OPTION(IPPROTO_TCP, TCP_FASTOPEN_CONNECT)),

    /* descriptors */
    CALL(fcntl, FOR_LOOKUP, "c-ares makes its sockets non-blocking", INT(1, F_GETFL)),
    CALL(fcntl, FOR_LOOKUP, "the same; the log, which is everybody's, stays so", INT(1, F_SETFL),
         BITS(2, O_NONBLOCK, O_NONBLOCK)),
    CALL(fcntl, FOR_DISK, "close-on-exec, by c-ares and SQLite", INT(1, F_SETFD)),
    CALL(fcntl, FOR_CONTROL, "close-on-exec, by SQLite", INT(1, F_GETFD)),
    CALL(fcntl, FOR_CONTROL, "seals the notes for its successor", INT(1, F_ADD_SEALS)),
    CALL(fcntl, FOR_CONTROL, "SQLite's locks", INT(1, F_SETLK)),
    CALL(fcntl, FOR_CONTROL, "SQLite's locks", INT(1, F_GETLK)),

    /* files; which ones, Landlock says */
    CALL(openat, FOR_LOOKUP, "/etc/hosts, for each question; maps", READ_ONLY(2)),
    CALL(openat, FOR_CONTROL, "SQLite: the state file, its journals and folder, /dev/urandom"),
    CALL(newfstatat, FOR_DISK, "SQLite; has a map changed? fstat() of the C library"),
    CALL(fstat, FOR_DISK, "fstat() of newer C libraries"),
    CALL(lseek, FOR_ALL, "the size of a file that was given; buffered reading"),
    CALL(pread64, FOR_WORKER | FOR_CONTROL, "a file that was given; SQLite"),
    CALL(pwrite64, FOR_CONTROL, "SQLite"),
    CALL(fdatasync, FOR_CONTROL, "SQLite"),
    CALL(fsync, FOR_CONTROL, "SQLite, after its folder was changed"),
    CALL(ftruncate, FOR_CONTROL, "SQLite's journals"),
    CALL(fchmod, FOR_CONTROL, "SQLite gives its journals the mode of the file"),
    CALL(unlink, FOR_CONTROL, "SQLite's journals at the end"),
    CALL(unlinkat, FOR_CONTROL, "unlink, where it is made of this"),
    CALL(access, FOR_CONTROL, "SQLite: is there a journal?"),
    CALL(faccessat, FOR_CONTROL, "access, where it is made of this"),
    CALL(clock_nanosleep, FOR_CONTROL, "SQLite waits for another's lock"),
    CALL(geteuid, FOR_CONTROL, "SQLite: would root have to give a file away?"),

    /* memory */
    CALL(brk, FOR_ALL, "malloc"),
    CALL(mmap, FOR_ALL, "malloc, shared memory", LACKS(2, PROT_EXEC)),
    CALL(mprotect, FOR_ALL, "malloc, guards of memory", LACKS(2, PROT_EXEC)),
    CALL(mremap, FOR_ALL, "realloc"),
    CALL(munmap, FOR_ALL, "free"),
    CALL(madvise, FOR_ALL, "free, shared memory"),

    /* the process itself */
    CALL(futex, FOR_ALL, "locks, and once-only beginnings, of libraries"),
    CALL(getpid, FOR_ALL, "OpenSSL: was there a fork? SQLite's locks"),
    CALL(gettid, FOR_ALL, "abort"),
    CALL(getrandom, FOR_ALL, "OpenSSL, hash tables"),
    CALL(clock_gettime, FOR_ALL, "where the kernel has no vDSO"),
    CALL(gettimeofday, FOR_ALL, "c-ares, SQLite, where the kernel has no vDSO"),
    CALL(time, FOR_ALL, "where the kernel has no vDSO"),
    CALL(sysinfo, FOR_ALL, "qsort asks how much memory there is"),
    CALL(prlimit64, FOR_ALL, "reading limits", SELF(0), NULL_POINTER(2)),
    CALL(prlimit64, FOR_ALL, "reading limits", INT(0, 0), NULL_POINTER(2)),
    CALL(restart_syscall, FOR_ALL, "waits that a debugger or a suspend interrupted"),
    CALL(exit_group, FOR_ALL, "the end"),
    CALL(exit, FOR_ALL, "the end of a thread"),

    /* telling of a crash */
    /* not of SIGSYS, else a call that is not allowed could be gone on from in silence */
    CALL(rt_sigaction, FOR_ALL, "abort, crash.c", INT(0, SIGABRT)),
    CALL(rt_sigaction, FOR_ALL, "crash.c", INT(0, SIGSEGV)),
    CALL(rt_sigaction, FOR_ALL, "crash.c", INT(0, SIGBUS)),
    CALL(rt_sigaction, FOR_ALL, "crash.c", INT(0, SIGILL)),
    CALL(rt_sigaction, FOR_ALL, "crash.c", INT(0, SIGFPE)),
    CALL(rt_sigprocmask, FOR_ALL, "abort, crash.c"),
    CALL(rt_sigreturn, FOR_ALL, "signals"),
    CALL(tgkill, FOR_ALL, "abort, crash.c", SELF(0)),
    CALL(prctl, FOR_ALL, "crash.c forbids a core", INT(0, PR_SET_DUMPABLE), INT(1, 0)),
};

const size_t sandbox_calls_n = sizeof sandbox_calls / sizeof *sandbox_calls;
