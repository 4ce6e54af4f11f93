/* Fork and exec: how a child comes to be, with the descriptors that it keeps and no others. */
#include "parent/internal.h"

#include "base/log.h"
#include "proc/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* Beside those that a child keeps; closed as it is executed. */
enum { CHILD_FD_PROGRAM = CHILD_FD_LOG + 1 };

/* Moves `fd` to `to` where the new program expects it. */
static int place_fd(int fd, int to)
{
    if (fd == to)
        return fcntl(fd, F_SETFD, 0);
    return dup2(fd, to);
}

/* A line of its own, past what waits in the log's memory: those lines are the parent's to write. */
static _Noreturn void cannot_become(const char *what, int status)
{
    struct log_line l;
    struct err err;

    err_sys(&err, errno, "%s", what);
    log_begin(&l, LOG_FATAL);
    log_str(&l, "detail", err.text);
    l.text[l.len++] = '\n';
    (void)!write(STDERR_FILENO, l.text, l.len);
    _exit(status);
}

/* In the forked child, which leaves the parent's loop, channels and lines of the log alone. */
static _Noreturn void become(const struct process *pr, int channel, int log, int null)
{
    const int program_fd = pr->generation->program_fd;
    static const char *const titles[ROLE_COUNT] = {
        "usher: parent", "usher: control", "usher: worker", "usher: lookup", "usher: prepare"};
    char *argv[] = {(char *)(uintptr_t)titles[pr->role], (char *)(uintptr_t) "--role",
                    (char *)(uintptr_t)role_name(pr->role), NULL};
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    /* All above what they are moved to, so that no move covers another. */
    null = fcntl(null, F_DUPFD, CHILD_FD_PROGRAM + 1);
    channel = fcntl(channel, F_DUPFD, CHILD_FD_PROGRAM + 1);
    log = fcntl(log, F_DUPFD, CHILD_FD_PROGRAM + 1);
    if (program_fd >= 0 && dup3(program_fd, CHILD_FD_PROGRAM, O_CLOEXEC) < 0 &&
        program_fd != CHILD_FD_PROGRAM)
        cannot_become("cannot hand over descriptors", 126);
    /* What libraries say goes to our description of the log, which appends: by another one, a file
     * of the log could be written over. */
    if (place_fd(null, STDIN_FILENO) < 0 || place_fd(null, STDOUT_FILENO) < 0 ||
        place_fd(log, STDERR_FILENO) < 0 || place_fd(channel, CHILD_FD_PARENT) < 0 ||
        place_fd(log, CHILD_FD_LOG) < 0)
        cannot_become("cannot hand over descriptors", 126);
    /* Also where the host denies close_range(), which containers' hosts once did. */
    closefrom(program_fd >= 0 ? CHILD_FD_PROGRAM + 1 : CHILD_FD_PROGRAM);
    /* A function that is looked up when it is first called has the vector registers put aside on
     * the stack, with the piece of a password that copying may have left in one. */
    setenv("LD_BIND_NOW", "1", 1);
    if (program_fd >= 0)
        execveat(CHILD_FD_PROGRAM, "", argv, environ, AT_EMPTY_PATH);
    else
        execv("/proc/self/exe", argv);
    cannot_become(
        program_fd >= 0 ? "cannot execute the new program" : "cannot execute /proc/self/exe", 127);
}

int process_fork(const struct process *pr, int channel, pid_t *out_pid, struct err *err)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    pid_t pid;

    if (null < 0)
        return err_sys(err, errno, "cannot open /dev/null");
    pid = fork();
    if (pid == 0)
        become(pr, channel, pr->parent->log_fd, null);
    close(null);
    if (pid < 0)
        return err_sys(err, errno, "cannot fork");
    *out_pid = pid;
    return 0;
}
