/* usher login: where the password comes from. */
#include "cli/login_parts.h"

#include "base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

/* --- lines ------------------------------------------------------------------------------------ */

/* Up to the end of the first line, or of the file; `more`, if it is set, waits until there is
 * something, and says false when it is of no use to wait. */
struct reading {
    int fd;
    char *to; /* LOGIN_PASSWORD_MAX */
    size_t n;
};

enum read_result { READ_MORE, READ_LINE, READ_FAILED };

static enum read_result read_some(struct reading *r, struct err *err)
{
    const char *end;
    ssize_t n = read(r->fd, r->to + r->n, LOGIN_PASSWORD_MAX - r->n);

    if (n < 0 && errno == EINTR)
        return READ_MORE;
    if (n < 0) {
        (void)err_sys(err, errno, "the password cannot be read");
        return READ_FAILED;
    }
    r->n += (size_t)n;
    end = memchr(r->to, '\n', r->n);
    if (!end && n > 0 && r->n == LOGIN_PASSWORD_MAX) {
        (void)err_set(err, 0, "the password is longer than %d bytes", LOGIN_PASSWORD_MAX - 1);
        return READ_FAILED;
    }
    if (!end && n > 0)
        return READ_MORE;
    r->n = end ? (size_t)(end - r->to) : r->n;
    if (r->n > 0 && r->to[r->n - 1] == '\r')
        r->n--;
    return READ_LINE;
}

static int read_line(struct reading *r, struct err *err)
{
    enum read_result result;

    do
        result = read_some(r, err);
    while (result == READ_MORE);
    return result == READ_LINE ? 0 : -1;
}

/* --- the terminal ----------------------------------------------------------------------------- */

/* A terminal without echo, while signals that would leave it so wait at a descriptor. */
struct silent {
    struct termios before;
    sigset_t mask; /* as it was */
    int signals;   /* signalfd(2) */
};

static int fall_silent(struct silent *s, struct err *err)
{
    struct termios now;
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGQUIT);
    sigaddset(&set, SIGTSTP);
    if (tcgetattr(STDIN_FILENO, &s->before) < 0)
        return err_sys(err, errno, "the terminal");
    s->signals = signalfd(-1, &set, SFD_CLOEXEC);
    if (s->signals < 0)
        return err_sys(err, errno, "waiting for signals");
    sigprocmask(SIG_BLOCK, &set, &s->mask);
    now = s->before;
    now.c_lflag &= ~(tcflag_t)ECHO;
    now.c_lflag |= ECHONL;
    if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &now) == 0)
        return 0;
    (void)err_sys(err, errno, "the terminal");
    sigprocmask(SIG_SETMASK, &s->mask, NULL);
    close(s->signals);
    return -1;
}

static void speak_again(struct silent *s)
{
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &s->before);
    close(s->signals);
    sigprocmask(SIG_SETMASK, &s->mask, NULL);
}

/* Reads a line. READ_MORE: a signal has come, *out_signal. */
static enum read_result read_typed(struct reading *r, const struct silent *s, int *out_signal,
                                   struct err *err)
{
    struct pollfd fds[2] = {{.fd = s->signals, .events = POLLIN},
                            {.fd = STDIN_FILENO, .events = POLLIN}};
    struct signalfd_siginfo info;
    enum read_result result = READ_MORE;

    while (result == READ_MORE) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR) {
            (void)err_sys(err, errno, "waiting for the terminal");
            return READ_FAILED;
        }
        if (fds[0].revents && read(s->signals, &info, sizeof info) == sizeof info) {
            *out_signal = (int)info.ssi_signo;
            return READ_MORE;
        }
        if (fds[1].revents)
            result = read_some(r, err);
    }
    return result;
}

/* A signal does what it would have done, now that the terminal is as it was; whoever comes back
 * from it (SIGTSTP) is asked anew. */
static int ask(struct reading *r, const char *prompt, struct err *err)
{
    for (;;) {
        struct silent s;
        int number = 0;
        enum read_result result;

        if (fall_silent(&s, err) < 0)
            return -1;
        fprintf(stderr, "%s", prompt);
        fflush(stderr);
        result = read_typed(r, &s, &number, err);
        speak_again(&s);
        if (result != READ_MORE)
            return result == READ_LINE ? 0 : -1;
        wipe(r->to, LOGIN_PASSWORD_MAX);
        r->n = 0;
        fputc('\n', stderr);
        raise(number);
    }
}

/* --- all -------------------------------------------------------------------------------------- */

static int read_password(struct reading *r, const char *file, const char *prompt, struct err *err)
{
    int result;

    if (file) {
        r->fd = open(file, O_RDONLY | O_CLOEXEC);
        if (r->fd < 0)
            return err_sys(err, errno, "%s", file);
        result = read_line(r, err);
        close(r->fd);
    } else {
        r->fd = STDIN_FILENO;
        result = isatty(STDIN_FILENO) ? ask(r, prompt, err) : read_line(r, err);
    }
    if (result < 0)
        return file ? err_prefix(err, "%s", file) : -1;
    if (r->n == 0)
        return err_set(err, 0, "%s%sthe password is empty", file ? file : "", file ? ": " : "");
    return 0;
}

int password_read_fd(int fd, struct slice *out_password, struct err *err)
{
    struct reading r = {.fd = fd, .to = secret_alloc(LOGIN_PASSWORD_MAX)};
    int done;

    if (!r.to)
        return err_set(err, ENOMEM, "no memory for the password");
    done = read_line(&r, err);
    if (done == 0 && r.n == 0)
        done = err_set(err, 0, "the password is empty");
    if (done < 0)
        secret_free(r.to, LOGIN_PASSWORD_MAX);
    else
        *out_password = slice_of(r.to, r.n);
    return done;
}

int password_read(const char *file, const char *prompt, struct slice *out_password, struct err *err)
{
    struct reading r = {.to = secret_alloc(LOGIN_PASSWORD_MAX)};

    if (!r.to)
        return err_set(err, ENOMEM, "no memory for the password");
    if (read_password(&r, file, prompt, err) < 0) {
        secret_free(r.to, LOGIN_PASSWORD_MAX);
        return -1;
    }
    *out_password = slice_of(r.to, r.n);
    return 0;
}

void password_free(struct slice *password)
{
    if (password->p)
        secret_free((void *)(uintptr_t)password->p, LOGIN_PASSWORD_MAX);
    *password = (struct slice){0};
}
