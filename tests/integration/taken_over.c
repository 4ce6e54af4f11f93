/* Stands for a client that has taken over its worker. Preloaded into all processes of usher, it
 * acts when a connection comes to the first worker that was started:
 *
 *     TAKEN_OVER       what to do, one of acts[]
 *     TAKEN_OVER_FREE  a file; the worker that removes it is the one
 */
#define _GNU_SOURCE
#include "ipc/message.h"
#include "proc/child.h"

#include <linux/filter.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SAY(text) ((void)!write(STDERR_FILENO, text, sizeof text - 1))

static void run_a_shell(void)
{
    char *argv[] = {(char *)"sh", (char *)"-c", (char *)"echo taken over >&2", NULL};

    execv("/bin/sh", argv);
}

static void execute(int listening)
{
    (void)listening;
    run_a_shell();
}

static void stay(int signal)
{
    (void)signal;
}

/* Would not be noticed. */
static void execute_in_silence(int listening)
{
    (void)listening;
    signal(SIGSYS, stay);
    run_a_shell();
    SAY("taken over\n");
}

/* All connections of the address to the first of its sockets. */
static void steer(int listening)
{
    struct sock_filter code[] = {{.code = BPF_RET | BPF_K}};
    struct sock_fprog program = {.len = 1, .filter = code};

    (void)setsockopt(listening, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program);
    SAY("taken over\n");
}

static void shut_down(int listening)
{
    (void)shutdown(listening, SHUT_RDWR);
    _exit(3);
}

static void disconnect(int listening)
{
    struct sockaddr none = {.sa_family = AF_UNSPEC};

    (void)connect(listening, &none, sizeof none);
    _exit(3);
}

static void overwrite(int listening)
{
    (void)listening;
    (void)lseek(STDERR_FILENO, 0, SEEK_SET);
    SAY("taken over\n");
}

/* Asks the parent for channels to control and lookup, again and again, and takes none. */
static void rejoin(int listening)
{
    struct {
        struct msg_head head;
        struct msg_rejoin body;
    } m = {.head = {.len = sizeof m, .type = MSG_REJOIN}};

    (void)listening;
    (void)poll(NULL, 0, 600); /* at once it would be taken for one that has not been told yet */
    for (unsigned i = 0; i < 20000; i++) {
        m.body.role = i % 2 ? ROLE_CONTROL : ROLE_LOOKUP;
        while (send(CHILD_FD_PARENT, &m, sizeof m, 0) < 0)
            (void)poll(&(struct pollfd){CHILD_FD_PARENT, POLLOUT, 0}, 1, -1);
    }
    SAY("taken over\n");
    for (;;)
        (void)poll(NULL, 0, -1);
}

static const struct {
    const char *name;
    void (*act)(int listening);
} acts[] = {
    {"execute", execute},       {"execute in silence", execute_in_silence},
    {"steer", steer},           {"shut down", shut_down},
    {"disconnect", disconnect}, {"overwrite", overwrite},
    {"rejoin", rejoin},
};

static void (*wanted)(int listening);

/* Before main(), when files may still be removed. */
__attribute__((constructor)) static void begin(int argc, char **argv)
{
    const char *name = getenv("TAKEN_OVER"), *file = getenv("TAKEN_OVER_FREE");

    if (!name || !file || argc != 3 || strcmp(argv[2], "worker") != 0 || unlink(file) != 0)
        return;
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
        if (strcmp(acts[i].name, name) == 0)
            wanted = acts[i].act;
    }
}

int accept4(int fd, struct sockaddr *addr, socklen_t *n, int flags)
{
    int accepted = (int)syscall(SYS_accept4, fd, addr, n, flags);
    void (*act)(int listening) = wanted;

    if (accepted >= 0 && act) {
        wanted = NULL;
        act(fd);
    }
    return accepted;
}
