/* Becoming another program in the same process, and going on where the one before has ended. */
#include "base/log.h"
#include "parent/change.h"
#include "parent/handover.h"
#include "parent/internal.h"
#include "proc/crash.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How long the log's reader may take what is to be read of us, before it is lost. */
enum { LOG_DRAIN_MS = 1000 };

static void keep(int fd)
{
    if (fd >= 0)
        (void)fcntl(fd, F_SETFD, 0);
}

static void keep_no_more(int fd)
{
    if (fd >= 0)
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
}

int upgrade_execute(struct parent *p, struct err *err)
{
    char number[16];
    char *argv[] = {(char *)(uintptr_t) "usher: parent", (char *)(uintptr_t) "--state", number,
                    NULL};
    int state_fd;

    if (handover_print(p, &state_fd, err) < 0)
        return -1;
    log_drain(LOG_DRAIN_MS);
    snprintf(number, sizeof number, "%d", state_fd);
    handover_each_fd(p, keep);
    keep(state_fd);
    execveat(p->next->program_fd, "", argv, environ, AT_EMPTY_PATH);
    err_sys(err, errno, "cannot execute %s", p->program);
    handover_each_fd(p, keep_no_more);
    close(state_fd);
    return -1;
}

static char *read_state(int fd, size_t *out_n, struct err *err)
{
    off_t size = lseek(fd, 0, SEEK_END);
    char *text = size < 0 ? NULL : malloc((size_t)size + 1);

    if (!text || pread(fd, text, (size_t)size, 0) != size) {
        free(text);
        err_set(err, EINVAL, "cannot read the state that usher has left");
        return NULL;
    }
    *out_n = (size_t)size;
    return text;
}

int upgrade_resume(struct parent *p, int state_fd, struct err *err)
{
    char *socket;
    size_t n;
    char *text = read_state(state_fd, &n, err);
    int done;

    close(state_fd);
    if (!text)
        return -1;
    done = handover_read(p, slice_of(text, n), false, err);
    wipe(text, n);
    free(text);
    if (done < 0)
        return -1;
    log_open(p->log_fd, LEVEL_INFO);
    crash_begin(role_name(ROLE_PARENT), p->log_fd);
    p->is_ready = true;
    socket = p->service.socket;
    p->service.socket = NULL;
    service_resume(p, socket, p->service.watchdog_ms);
    free(socket);
    if (!p->next || !p->change)
        return err_set(err, EINVAL, "the state has no candidates");
    return change_load(p->next->rules_fd, &p->conf, err);
}

static void hear(struct process *pr, void *ignored)
{
    (void)ignored;
    watchdog_started(pr);
}

void upgrade_finish(struct parent *p)
{
    sigset_t none;
    struct err err;

    processes_each(p, hear, NULL);
    if (change_commit(p, &err) < 0) {
        log_detail(LOG_FATAL, "%s", err.text);
        parent_stop(p, true);
    }
    /* Who has ended while we became another program is acted on from the loop. */
    kill(getpid(), SIGCHLD);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}
