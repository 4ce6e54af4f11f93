/* usher sync: where passwords come from. */
#include "cli/sync_password.h"

#include "base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const names[2] = {"FROM", "TO"};

/* --- the environment -------------------------------------------------------------------------- */

static int read_variable(struct sync_account *a, struct err *err)
{
    const char *value = getenv(a->word);
    const size_t n = value ? strlen(value) : 0;
    char *copy;

    if (n == 0)
        return err_set(err, 0, "%s is %s", a->word, value ? "empty" : "not set");
    if (n >= LOGIN_PASSWORD_MAX)
        return err_set(err, 0, "%s is longer than %d bytes", a->word, LOGIN_PASSWORD_MAX - 1);
    copy = secret_alloc(LOGIN_PASSWORD_MAX);
    if (!copy)
        return err_set(err, ENOMEM, "no memory for the password");
    memcpy(copy, value, n);
    a->password = slice_of(copy, n);
    return 0;
}

/* Where it stood, so that /proc/PID/environ and the commands that we run have it no longer. */
static void wipe_variable(const char *name)
{
    char *value = getenv(name);

    if (value)
        wipe(value, strlen(value));
    unsetenv(name);
}

/* --- commands --------------------------------------------------------------------------------- */

static int start(const char *command, int to, pid_t *out_pid, struct err *err)
{
    char *const argv[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c",
                          (char *)(uintptr_t)command, NULL};
    posix_spawn_file_actions_t actions;
    int failure = posix_spawn_file_actions_init(&actions);

    if (failure != 0)
        return err_sys(err, failure, "cannot run it");
    failure = posix_spawn_file_actions_adddup2(&actions, to, STDOUT_FILENO);
    if (failure == 0)
        failure = posix_spawn(out_pid, "/bin/sh", &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return failure ? err_sys(err, failure, "cannot run it") : 0;
}

/* What else it prints is nobody's business; it would die of a pipe that is closed. */
static void drain(int fd)
{
    char rest[512];
    ssize_t n;

    do
        n = read(fd, rest, sizeof rest);
    while (n > 0 || (n < 0 && errno == EINTR));
    wipe(rest, sizeof rest);
}

static int end(pid_t pid, struct err *err)
{
    int status;

    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return err_sys(err, errno, "waiting for it");
    if (WIFSIGNALED(status))
        return err_set(err, 0, "it was ended by signal %d", WTERMSIG(status));
    if (WEXITSTATUS(status) != 0)
        return err_set(err, 0, "it ended with status %d", WEXITSTATUS(status));
    return 0;
}

/* Its own words are on standard error; that it failed counts for more than what it printed. */
static int run_command(struct sync_account *a, struct err *err)
{
    struct err failure;
    int fds[2], done;
    pid_t pid = -1;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_sys(err, errno, "a pipe");
    done = start(a->word, fds[1], &pid, err);
    close(fds[1]);
    if (done == 0) {
        done = password_read_fd(fds[0], &a->password, err);
        drain(fds[0]);
        if (end(pid, &failure) < 0) {
            *err = failure;
            done = -1;
        }
    }
    close(fds[0]);
    return done;
}

/* --- all -------------------------------------------------------------------------------------- */

static int ask(struct sync_account *a, size_t i, struct err *err)
{
    char prompt[SYNC_URL_USER + SYNC_URL_HOST + 32];
    const char *user = a->authuser[0] ? a->authuser : a->user;

    if (!isatty(STDIN_FILENO))
        return err_set(
            err, 0,
            "there is no terminal to ask for the password: write --password-file%zu FILE, "
            "--password-env%zu NAME or --password-command%zu COMMAND",
            i + 1, i + 1, i + 1);
    snprintf(prompt, sizeof prompt, "Password of %s at %s (%s): ", user, a->host, names[i]);
    return password_read(NULL, prompt, &a->password, err);
}

static int read_one(struct sync_account *a, size_t i, struct err *err)
{
    switch (a->password_from) {
    case PASSWORD_ENV:
    case PASSWORD_GIVEN:
        return 0;
    case PASSWORD_FILE:
        return password_read(a->word, NULL, &a->password, err);
    case PASSWORD_COMMAND:
        return run_command(a, err) < 0 ? err_prefix(err, "--password-command%zu", i + 1) : 0;
    case PASSWORD_ASKED:
        return ask(a, i, err);
    }
    return -1;
}

/* Both before either is wiped: it may be the same. */
static int read_variables(struct sync_options *o, struct err *err)
{
    for (size_t i = 0; i < 2; i++) {
        struct sync_account *a = &o->accounts[i];

        if (a->password_from == PASSWORD_ENV && read_variable(a, err) < 0)
            return err_prefix(err, "--password-env%zu", i + 1);
    }
    for (size_t i = 0; i < 2; i++)
        if (o->accounts[i].password_from == PASSWORD_ENV)
            wipe_variable(o->accounts[i].word);
    return 0;
}

int sync_passwords_read(struct sync_options *o, struct err *err)
{
    if (read_variables(o, err) < 0)
        return -1;
    for (size_t i = 0; i < 2; i++)
        if (read_one(&o->accounts[i], i, err) < 0)
            return err_prefix(err, "%s", names[i]);
    o->params.from.password = o->accounts[0].password;
    o->params.to.password = o->accounts[1].password;
    return 0;
}
