/* Acts that may end the process: done in a forked child, whose end is looked at. */
#ifndef USHER_TESTS_UNIT_DYING_H
#define USHER_TESTS_UNIT_DYING_H

#include "cm.h"

#include <regex.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

struct end {
    pid_t pid;
    int status; /* of waitpid() */
    char said[16384];
};

/* Does `act` in a child that ends with 0 if nothing else ends it. What it writes to `log`, which
 * the act is given, and to stderr comes to said[]. */
static inline struct end end_of(void (*act)(int log, const void *arg), const void *arg)
{
    void (*volatile call)(int log, const void *arg) = act; /* not inlined: it has a frame */
    struct end end = {0};
    size_t n = 0;
    ssize_t got;
    int fds[2];

    assert_int_equal(pipe(fds), 0);
    fflush(NULL);
    end.pid = fork();
    assert_true(end.pid >= 0);
    if (end.pid == 0) {
        close(fds[0]);
        dup2(fds[1], STDERR_FILENO);
        /* cmocka would take the fault for the test's, and go on with the next one. */
        for (int i = 1; i < NSIG; i++)
            signal(i, SIG_DFL);
        call(fds[1], arg);
        _exit(0);
    }
    close(fds[1]);
    while (n < sizeof end.said - 1 &&
           (got = read(fds[0], end.said + n, sizeof end.said - 1 - n)) > 0)
        n += (size_t)got;
    close(fds[0]);
    assert_int_equal(waitpid(end.pid, &end.status, 0), end.pid);
    return end;
}

static inline bool is_killed_by(const struct end *end, int signal)
{
    return WIFSIGNALED(end->status) && WTERMSIG(end->status) == signal;
}

static inline bool is_well(const struct end *end)
{
    return WIFEXITED(end->status) && WEXITSTATUS(end->status) == 0;
}

/* Whether `text` has a place that matches the extended regular expression. */
static inline bool matches(const char *text, const char *pattern)
{
    regex_t regex;
    int no_match;

    assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    no_match = regexec(&regex, text, 0, NULL, 0);
    regfree(&regex);
    return !no_match;
}

/* One line of the log, and nothing else, as every other line is. */
static inline bool is_log_line(const char *text)
{
    return matches(text, "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z "
                         "(debug|info|notice|warning|error) [a-z_]+"
                         "( [a-z_]+=(\"([^\"\\]|\\\\.)*\"|[^] =\\\"[]+))*\n$");
}

#endif
